//! `svg2png SCALE IN.svg…` writes IN.png beside each; SCALE is pixels for each unit of the drawing.

use std::error::Error;
use std::path::PathBuf;

use resvg::{tiny_skia, usvg};

/// Open Sans (SIL Open Font License, `fonts/OpenSans.LICENSE`).
const FONT: &[u8] = include_bytes!("../fonts/OpenSans-Regular.ttf");

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let scale = arguments.next().and_then(|s| s.to_str()?.parse::<f32>().ok()).filter(|s| *s > 0.0);
    let scale = scale.ok_or("expected a scale and SVG files")?;
    let mut options = usvg::Options { font_family: "Open Sans".into(), ..usvg::Options::default() };
    let fonts = options.fontdb_mut();
    fonts.load_font_data(FONT.to_vec());
    fonts.set_sans_serif_family("Open Sans");
    for file in arguments.map(PathBuf::from) {
        let within = |e: &dyn std::fmt::Display| format!("{}: {e}", file.display());
        let text = std::fs::read_to_string(&file).map_err(|e| within(&e))?;
        let tree = usvg::Tree::from_str(&text, &options).map_err(|e| within(&e))?;
        let size = tree.size().to_int_size().scale_by(scale).ok_or_else(|| within(&"an empty drawing"))?;
        let mut pixels = tiny_skia::Pixmap::new(size.width(), size.height()).ok_or_else(|| within(&"too large"))?;
        resvg::render(&tree, tiny_skia::Transform::from_scale(scale, scale), &mut pixels.as_mut());
        pixels.save_png(file.with_extension("png")).map_err(|e| within(&e))?;
    }
    Ok(())
}
