//! Figure 13: the effect of each training on each head, mean over its checkpoints.
//! `cargo run -p examples --example figure_13_effect_maps -- [STUDY [FOLDER]]`

use examples::figures::Shown;
use study::report::Figure;
use study::results::TrainingMethod;

fn main() -> Result<(), common::Error> {
    let study = Shown::open()?;
    let panels = [
        (Figure::Effect, study.pick(TrainingMethod::Sft, 0, 0)),
        (Figure::Effect, study.pick(TrainingMethod::Grpo, 0, 0)),
    ];
    study.draw("figure_13_effect_maps", "Figure 13. Effect E on each head", &panels)
}
