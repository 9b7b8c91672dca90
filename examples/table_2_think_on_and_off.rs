//! Table 2: thinking on and off, with heads of the mode without thinking changed.
//! `cargo run -p examples --example table_2_think_on_and_off -- [STUDY [FOLDER]]`

use examples::figures::Shown;
use study::report::{Figure, Pick};

fn main() -> Result<(), common::Error> {
    let study = Shown::open()?;
    let panels = [(Figure::Table2, Pick::default())];
    study.draw("table_2_think_on_and_off", "Table 2. Thinking on and off", &panels)
}
