//! Figure 3: heads that GRPO adds, its reward, and how often each head is in a circuit.
//! `cargo run -p examples --example figure_03_grpo_cohorts_and_reward -- [STUDY [FOLDER]]`

use examples::figures::Shown;
use study::report::Figure;
use study::results::TrainingMethod;

fn main() -> Result<(), common::Error> {
    let study = Shown::open()?;
    let panels = [
        (Figure::Cohorts, study.pick(TrainingMethod::Grpo, 0, 0)),
        (Figure::Curve, study.pick(TrainingMethod::Grpo, 0, 0)),
        (Figure::Turnover, study.pick(TrainingMethod::Grpo, 0, 0)),
        (Figure::Frequency, study.pick(TrainingMethod::Grpo, 0, 0)),
    ];
    study.draw(
        "figure_03_grpo_cohorts_and_reward",
        "Figure 3. GRPO: cohorts of new heads, reward, and the heads",
        &panels,
    )
}
