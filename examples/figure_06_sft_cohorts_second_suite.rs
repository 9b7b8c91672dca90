//! Figure 6: as Figure 2, with circuits of the second suite of pairs (AMC in the paper).
//! `cargo run -p examples --example figure_06_sft_cohorts_second_suite -- [STUDY [FOLDER]]`

use examples::figures::Shown;
use study::report::Figure;
use study::results::TrainingMethod;

fn main() -> Result<(), common::Error> {
    let study = Shown::open()?;
    let panels = [
        (Figure::Cohorts, study.pick(TrainingMethod::Sft, 0, 1)),
        (Figure::Frequency, study.pick(TrainingMethod::Sft, 0, 1)),
    ];
    study.draw(
        "figure_06_sft_cohorts_second_suite",
        "Figure 6. SFT on the second suite: cohorts of new heads, and the heads",
        &panels,
    )
}
