//! Figure 14: which training's circuits ever had a head that the base's had not.
//! `cargo run -p examples --example figure_14_new_heads_by_training -- [STUDY [FOLDER]]`

use examples::figures::Shown;
use study::report::{Figure, Pick};

fn main() -> Result<(), common::Error> {
    let study = Shown::open()?;
    let panels = [(Figure::Methods, Pick::default())];
    study.draw(
        "figure_14_new_heads_by_training",
        "Figure 14. New heads by training, over all suites and checkpoints",
        &panels,
    )
}
