//! Beyond the paper: what each head attends to, by measured attention, with OV and QK scores in the numbers.
//! `cargo run -p examples --example figure_head_roles -- [STUDY [FOLDER]]`

use examples::figures::Shown;
use study::report::{Figure, Pick};
use study::results::TrainingMethod;

fn main() -> Result<(), common::Error> {
    let study = Shown::open()?;
    let panels = [
        (Figure::Roles, Pick { at: Some(-1), ..study.first() }),
        (Figure::Roles, study.pick(TrainingMethod::Sft, 0, 0)),
        (Figure::Roles, study.pick(TrainingMethod::Grpo, 0, 0)),
    ];
    study.draw("figure_head_roles", "Roles of the heads", &panels)
}
