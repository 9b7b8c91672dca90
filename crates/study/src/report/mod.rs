//! The report: one self-contained page and its figures, made from [`Results`] alone. Findings are computed from
//! the numbers in it; nothing is measured here. Only this module and `assets/` know colours.
//!
//! Every figure is drawn by the scripts of `assets/figures`, with Observable Plot: by the browser in the page, and
//! by [`Painter`] into files.

mod ablated;
mod assets;
mod by_noise;
mod cases;
mod circuit;
mod claims;
mod data;
mod draw;
mod evidence;
mod headline;
mod kinds;
mod live;
mod methods;
mod moved;
mod page;
mod repeated;
mod sections;
mod seeds;
mod signal;
mod summary;
mod tables;
mod terms;
mod verdict;
mod words;

use std::path::Path;

use crate::Error;
use crate::results::Results;
use common::write_whole;

pub(crate) use ablated::too_coarse;
pub use circuit::circuit_svg;
pub use draw::{Figure, Painter, Panel, Pick, Sheet};
pub(crate) use headline::think_anyway;
pub(crate) use kinds::few;
pub use live::live_page;
pub(crate) use signal::{NARROW, explains, gap, narrow, widest};
pub use summary::findings;
pub(crate) use summary::problems;
pub use verdict::{ClaimVerdict, Finding, Part};
pub(crate) use words::{amount, count, number, p_value, percent, points, range};

/// Writes into the folder `dir`, which it makes: `report.html` (no other file or network needed),
/// `results.json` and `figures/*.svg`.
///
/// # Errors
/// A number that is not finite, or a folder that cannot be made or written.
pub fn write_report(results: &Results, dir: &Path) -> Result<(), Error> {
    let json = results.to_json()?;
    let figures_dir = dir.join("figures");
    std::fs::create_dir_all(&figures_dir).map_err(|e| Error::io(&figures_dir, e))?;
    write_whole(dir.join("results.json"), json.as_bytes())?;
    for (name, sheet) in data::sheets(results)? {
        write_whole(figures_dir.join(format!("{name}.svg")), sheet.svg.as_bytes())?;
    }
    write_whole(dir.join("report.html"), page::render(results, json.len())?.as_bytes())
}
