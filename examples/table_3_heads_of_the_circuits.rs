//! Table 3: heads of the base's circuit, and new heads after each training.
//! `cargo run -p examples --example table_3_heads_of_the_circuits -- [STUDY [FOLDER]]`

use examples::figures::Shown;
use study::report::{Figure, Pick};

fn main() -> Result<(), common::Error> {
    let study = Shown::open()?;
    let panels = [(Figure::Table3, Pick::default())];
    study.draw("table_3_heads_of_the_circuits", "Table 3. Heads in the circuits", &panels)
}
