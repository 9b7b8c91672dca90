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
