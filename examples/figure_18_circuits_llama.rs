//! Figure 18: as Figure 16 for another family of models (Llama-3.2-1B in the paper); the title names the study's.
//! `cargo run -p examples --example figure_18_circuits_llama -- [STUDY [FOLDER]]`

use examples::figures::Shown;
use study::report::Figure;
use study::results::TrainingMethod;

fn main() -> Result<(), common::Error> {
    let study = Shown::open()?;
    let model = study.model();
    let panels = [
        (Figure::Circuit, study.pick(TrainingMethod::Sft, 0, 0)),
        (Figure::Circuit, study.pick(TrainingMethod::Grpo, 0, 0)),
    ];
    study.draw(
        "figure_18_circuits_llama",
        &format!("Figure 18. Circuits of {model} after SFT and after GRPO"),
        &panels,
    )
}
