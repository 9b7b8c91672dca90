//! Figure 5: pass@k and success@k without thinking, with heads of that mode as they are, ablated and scaled.
//! `cargo run -p examples --example figure_05_think_pass_and_success -- [STUDY [FOLDER]]`

use examples::figures::Shown;
use study::report::{Figure, Pick};

fn main() -> Result<(), common::Error> {
    let study = Shown::open()?;
    let panels = [(Figure::Think, Pick::default())];
    study.draw(
        "figure_05_think_pass_and_success",
        "Figure 5. Thinking on and off: pass@k and success@k",
        &panels,
    )
}
