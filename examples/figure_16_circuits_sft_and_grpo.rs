//! Figure 16: the circuits after SFT and after GRPO.
//! `cargo run -p examples --example figure_16_circuits_sft_and_grpo -- [STUDY [FOLDER]]`

use examples::figures::Shown;
use study::report::Figure;
use study::results::TrainingMethod;

fn main() -> Result<(), common::Error> {
    let study = Shown::open()?;
    let panels = [
        (Figure::Circuit, study.pick(TrainingMethod::Sft, 0, 0)),
        (Figure::Circuit, study.pick(TrainingMethod::Grpo, 0, 0)),
    ];
    study.draw("figure_16_circuits_sft_and_grpo", "Figure 16. Circuits after SFT and after GRPO", &panels)
}
