//! Beyond the paper: heads that the circuits of several suites have in common.
//! `cargo run -p examples --example figure_overlap_between_suites -- [STUDY [FOLDER]]`

use examples::figures::Shown;
use study::report::{Figure, Pick};
use study::results::TrainingMethod;

fn main() -> Result<(), common::Error> {
    let study = Shown::open()?;
    let panels = [
        (Figure::Overlap, Pick { suite: None, ..study.pick(TrainingMethod::Sft, 0, 0) }),
        (Figure::Overlap, Pick { suite: None, ..study.pick(TrainingMethod::Grpo, 0, 0) }),
    ];
    study.draw("figure_overlap_between_suites", "Overlap of heads between suites", &panels)
}
