//! Beyond the paper: every intervention beside as many random heads of the same layers.
//! `cargo run -p examples --example figure_interventions_against_random -- [STUDY [FOLDER]]`

use examples::figures::Shown;
use study::report::{Figure, Pick};

fn main() -> Result<(), common::Error> {
    let study = Shown::open()?;
    let panels = [(Figure::Interventions, Pick::default())];
    study.draw("figure_interventions_against_random", "Heads changed, against random heads", &panels)
}
