//! Table 4: the same ablations in the base.
//! `cargo run -p examples --example table_4_heads_ablated_in_the_base -- [STUDY [FOLDER]]`

use examples::figures::Shown;
use study::report::{Figure, Pick};

fn main() -> Result<(), common::Error> {
    let study = Shown::open()?;
    let panels = [(Figure::Table4, Pick::default())];
    study.draw("table_4_heads_ablated_in_the_base", "Table 4. Heads ablated in the base", &panels)
}
