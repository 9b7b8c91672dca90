//! Draws the report from SYNTHETIC results, to look at its design: `synthetic_report DIR [null|large]`.

#[path = "../tests/synthetic/mod.rs"]
mod synthetic;

use hooks::{KeyValue, Wiring};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().ok_or("expected a folder to write to")?;
    let large =
        Wiring { n_layers: 28, n_heads: 12, n_kv_heads: 2, d_model: 1536, key_value: KeyValue::Grouped };
    let results = match arguments.next().as_deref() {
        Some("null") => synthetic::results(1, 0.0),
        Some("large") => synthetic::results_of(large, 1, 0.5),
        _ => synthetic::results(1, 1.0),
    };
    study::write_report(&results, std::path::Path::new(&dir))?;
    Ok(())
}
