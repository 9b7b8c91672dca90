//! Figure 11: as Figure 3 for another family of models (Llama-3.2-1B in the paper); the title names the study's.
//! `cargo run -p examples --example figure_11_llama_grpo_cohorts -- [STUDY [FOLDER]]`

use examples::figures::Shown;
use study::report::Figure;
use study::results::TrainingMethod;

fn main() -> Result<(), common::Error> {
    let study = Shown::open()?;
    let model = study.model();
    let panels = [
        (Figure::Cohorts, study.pick(TrainingMethod::Grpo, 0, 0)),
        (Figure::Curve, study.pick(TrainingMethod::Grpo, 0, 0)),
        (Figure::Frequency, study.pick(TrainingMethod::Grpo, 0, 0)),
    ];
    study.draw(
        "figure_11_llama_grpo_cohorts",
        &format!("Figure 11. GRPO of {model}: cohorts, reward, and the heads"),
        &panels,
    )
}
