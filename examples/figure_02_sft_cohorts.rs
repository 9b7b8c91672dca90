//! Figure 2: heads that SFT adds, by the checkpoint of their first circuit, and how often each head is in a circuit.
//! `cargo run -p examples --example figure_02_sft_cohorts -- [STUDY [FOLDER]]`

use examples::figures::Shown;
use study::report::Figure;
use study::results::TrainingMethod;

fn main() -> Result<(), common::Error> {
    let study = Shown::open()?;
    let panels = [
        (Figure::Cohorts, study.pick(TrainingMethod::Sft, 0, 0)),
        (Figure::Frequency, study.pick(TrainingMethod::Sft, 0, 0)),
    ];
    study.draw("figure_02_sft_cohorts", "Figure 2. SFT: cohorts of new heads, and the heads", &panels)
}
