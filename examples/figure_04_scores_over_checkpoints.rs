//! Figure 4: scores on the benchmarks over the checkpoints of GRPO, and of SFT beside it.
//! `cargo run -p examples --example figure_04_scores_over_checkpoints -- [STUDY [FOLDER]]`

use examples::figures::Shown;
use study::report::Figure;
use study::results::TrainingMethod;

fn main() -> Result<(), common::Error> {
    let study = Shown::open()?;
    let panels = [
        (Figure::Scores, study.pick(TrainingMethod::Grpo, 0, 0)),
        (Figure::Scores, study.pick(TrainingMethod::Sft, 0, 0)),
    ];
    study.draw("figure_04_scores_over_checkpoints", "Figure 4. Scores over checkpoints", &panels)
}
