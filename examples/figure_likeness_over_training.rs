//! Beyond the paper: how alike the circuits of a training's checkpoints are.
//! `cargo run -p examples --example figure_likeness_over_training -- [STUDY [FOLDER]]`

use examples::figures::Shown;
use study::report::Figure;
use study::results::TrainingMethod;

fn main() -> Result<(), common::Error> {
    let study = Shown::open()?;
    let panels = [
        (Figure::Similarity, study.pick(TrainingMethod::Sft, 0, 0)),
        (Figure::Similarity, study.pick(TrainingMethod::Grpo, 0, 0)),
    ];
    study.draw("figure_likeness_over_training", "Likeness of the circuits over training", &panels)
}
