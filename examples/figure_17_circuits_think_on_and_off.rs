//! Figure 17: the circuits with thinking on and off.
//! `cargo run -p examples --example figure_17_circuits_think_on_and_off -- [STUDY [FOLDER]]`

use examples::figures::Shown;
use study::report::{Figure, Pick};
use study::results::ThinkMode;

fn main() -> Result<(), common::Error> {
    let study = Shown::open()?;
    let panels = [
        (Figure::ThinkCircuit, Pick { mode: Some(ThinkMode::On), ..Pick::default() }),
        (Figure::ThinkCircuit, Pick { mode: Some(ThinkMode::Off), ..Pick::default() }),
    ];
    study.draw("figure_17_circuits_think_on_and_off", "Figure 17. Circuits with thinking on and off", &panels)
}
