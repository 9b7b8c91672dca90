//! Beyond the paper: how large the circuits are against the accuracy of the checkpoints.
//! `cargo run -p examples --example figure_complexity_against_accuracy -- [STUDY [FOLDER]]`

use examples::figures::Shown;
use study::report::{Figure, Pick};

fn main() -> Result<(), common::Error> {
    let study = Shown::open()?;
    let panels = [(Figure::Complexity, Pick::default())];
    study.draw("figure_complexity_against_accuracy", "Size of the circuits against accuracy", &panels)
}
