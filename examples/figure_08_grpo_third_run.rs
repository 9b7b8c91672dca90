//! Figure 8: as Figure 3 for the study's third GRPO run (at learning rate 2e-5 in the paper).
//! `cargo run -p examples --example figure_08_grpo_third_run -- [STUDY [FOLDER]]`

use examples::figures::Shown;
use study::report::Figure;
use study::results::TrainingMethod;

fn main() -> Result<(), common::Error> {
    let study = Shown::open()?;
    let panels = [
        (Figure::Cohorts, study.pick(TrainingMethod::Grpo, 2, 0)),
        (Figure::Curve, study.pick(TrainingMethod::Grpo, 2, 0)),
        (Figure::Frequency, study.pick(TrainingMethod::Grpo, 2, 0)),
    ];
    study.draw(
        "figure_08_grpo_third_run",
        "Figure 8. The third GRPO run: cohorts, reward, and the heads",
        &panels,
    )
}
