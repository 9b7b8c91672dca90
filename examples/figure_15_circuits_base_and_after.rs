//! Figure 15: the circuit of the base, and that of the last checkpoint of the study's first training (a distilled model in the paper).
//! `cargo run -p examples --example figure_15_circuits_base_and_after -- [STUDY [FOLDER]]`

use examples::figures::Shown;
use study::report::{Figure, Pick};

fn main() -> Result<(), common::Error> {
    let study = Shown::open()?;
    let panels =
        [(Figure::Circuit, Pick { at: Some(-1), ..study.first() }), (Figure::Circuit, study.first())];
    study.draw(
        "figure_15_circuits_base_and_after",
        "Figure 15. The base's circuit, and the first training's",
        &panels,
    )
}
