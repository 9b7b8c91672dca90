//! Figure 10: as Figure 2 for another family of models (Llama-3.2-1B in the paper); the title names the study's.
//! `cargo run -p examples --example figure_10_llama_sft_cohorts -- [STUDY [FOLDER]]`

use examples::figures::Shown;
use study::report::Figure;
use study::results::TrainingMethod;

fn main() -> Result<(), common::Error> {
    let study = Shown::open()?;
    let model = study.model();
    let panels = [
        (Figure::Cohorts, study.pick(TrainingMethod::Sft, 0, 0)),
        (Figure::Frequency, study.pick(TrainingMethod::Sft, 0, 0)),
    ];
    study.draw(
        "figure_10_llama_sft_cohorts",
        &format!("Figure 10. SFT of {model}: cohorts of new heads, and the heads"),
        &panels,
    )
}
