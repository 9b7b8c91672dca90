//! Table 5: heads of post-trained checkpoints ablated and scaled in the base.
//! `cargo run -p examples --example table_5_heads_changed_in_the_base -- [STUDY [FOLDER]]`

use examples::figures::Shown;
use study::report::{Figure, Pick};

fn main() -> Result<(), common::Error> {
    let study = Shown::open()?;
    let panels = [(Figure::Table5, Pick::default())];
    study.draw(
        "table_5_heads_changed_in_the_base",
        "Table 5. Heads of post-trained checkpoints changed in the base",
        &panels,
    )
}
