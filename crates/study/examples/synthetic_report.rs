//! Draws the report from SYNTHETIC results, to look at its design: `synthetic_report DIR [null]`.

#[path = "../tests/synthetic/mod.rs"]
mod synthetic;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().ok_or("expected a folder to write to")?;
    let effect_size = if arguments.next().as_deref() == Some("null") { 0.0 } else { 1.0 };
    study::write_report(&synthetic::results(1, effect_size), std::path::Path::new(&dir))?;
    Ok(())
}
