//! Table 1: heads ablated in post-trained checkpoints.
//! `cargo run -p examples --example table_1_heads_ablated_after_training -- [STUDY [FOLDER]]`

use examples::figures::Shown;
use study::report::Figure;
use study::results::TrainingMethod;

fn main() -> Result<(), common::Error> {
    let study = Shown::open()?;
    let panels = [
        (Figure::Table1, study.pick(TrainingMethod::Sft, 0, 0)),
        (Figure::Table1, study.pick(TrainingMethod::Grpo, 0, 0)),
    ];
    study.draw(
        "table_1_heads_ablated_after_training",
        "Table 1. Heads ablated in post-trained checkpoints",
        &panels,
    )
}
