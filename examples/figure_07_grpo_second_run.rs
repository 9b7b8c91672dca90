//! Figure 7: as Figure 3 for the study's second GRPO run (on GSM8K in the paper).
//! `cargo run -p examples --example figure_07_grpo_second_run -- [STUDY [FOLDER]]`

use examples::figures::Shown;
use study::report::Figure;
use study::results::TrainingMethod;

fn main() -> Result<(), common::Error> {
    let study = Shown::open()?;
    let panels = [
        (Figure::Cohorts, study.pick(TrainingMethod::Grpo, 1, 0)),
        (Figure::Curve, study.pick(TrainingMethod::Grpo, 1, 0)),
        (Figure::Frequency, study.pick(TrainingMethod::Grpo, 1, 0)),
    ];
    study.draw(
        "figure_07_grpo_second_run",
        "Figure 7. The second GRPO run: cohorts, reward, and the heads",
        &panels,
    )
}
