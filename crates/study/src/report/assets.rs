//! The scripts and styles that the page and the figures are made with. `vendor/` has the libraries as npm published
//! them; `vendor/vendor.toml` names versions, checksums and licences.

/// d3, which Plot needs.
pub(super) const D3: &str = include_str!("../../assets/vendor/d3.min.js");
/// Observable Plot: every chart.
pub(super) const PLOT: &str = include_str!("../../assets/vendor/plot.min.js");
/// dagre: the layered layout of circuits.
pub(super) const DAGRE: &str = include_str!("../../assets/vendor/dagre.min.js");
/// linkedom: a document outside a browser.
pub(super) const LINKEDOM: &str = include_str!("../../assets/vendor/linkedom.js");

/// The figures, in the order that they are read.
pub(super) const FIGURES: &[&str] = &[
    include_str!("../../assets/figures/base.js"),
    include_str!("../../assets/figures/scores.js"),
    include_str!("../../assets/figures/training.js"),
    include_str!("../../assets/figures/maps.js"),
    include_str!("../../assets/figures/circuit.js"),
    include_str!("../../assets/figures/structure.js"),
    include_str!("../../assets/figures/interventions.js"),
    include_str!("../../assets/figures/tables.js"),
];
/// Figures into files.
pub(super) const FILES: &str = include_str!("../../assets/figures/file.js");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_and_styles_have_one_palette() {
        let style = super::super::page::STYLE;
        let (light, dark) = style.split_once("prefers-color-scheme:dark").expect("two palettes");
        for (name, style) in [("const LIGHT = {", light), ("const DARK = {", dark)] {
            let (_, colours) = FIGURES[0].split_once(name).expect("the palette");
            let (colours, _) = colours.split_once('}').expect("its end");
            let pairs: Vec<(&str, &str)> =
                colours.split(',').filter_map(|entry| entry.trim().split_once(": ")).collect();
            assert_eq!(pairs.len(), 11);
            for (colour, value) in pairs {
                let css = format!("--{colour}:{}", value.trim_matches('"'));
                assert!(style.contains(&css), "{name} {css}");
            }
        }
    }
}
