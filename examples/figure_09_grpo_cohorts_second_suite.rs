//! Figure 9: as Figure 3, with circuits of the second suite of pairs (AMC in the paper).
//! `cargo run -p examples --example figure_09_grpo_cohorts_second_suite -- [STUDY [FOLDER]]`

use examples::figures::Shown;
use study::report::Figure;
use study::results::TrainingMethod;

fn main() -> Result<(), common::Error> {
    let study = Shown::open()?;
    let panels = [
        (Figure::Cohorts, study.pick(TrainingMethod::Grpo, 0, 1)),
        (Figure::Curve, study.pick(TrainingMethod::Grpo, 0, 1)),
        (Figure::Frequency, study.pick(TrainingMethod::Grpo, 0, 1)),
    ];
    study.draw(
        "figure_09_grpo_cohorts_second_suite",
        "Figure 9. GRPO on the second suite: cohorts, reward, and the heads",
        &panels,
    )
}
