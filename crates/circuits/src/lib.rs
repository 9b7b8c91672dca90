//! Select circuits from edge scores, prune them, measure their faithfulness, compare them between checkpoints.
//!
//! | task | here |
//! |---|---|
//! | select a circuit from scores, prune it | [`Circuit::select`], [`Circuit::pruned`] |
//! | measure its faithfulness | [`faithfulness`], [`curve`], against [`Circuit::null`] |
//! | compare scores with a known circuit | [`auroc`], [`mib_roc`] |
//! | compare checkpoints; test for emergent heads | [`compare`], [`Emergence`] |
//! | measure the complexity of heads | [`paths`], [`head_spectra`], [`attention_entropy`] |
//! | read and write files | [`ScoreFile`], [`read_mib`], [`dot`] |
//!
//! Scores are any [`hooks::EdgeMap`] of numbers; the crate `sparks-attribution` computes them. The [`tutorial`]
//! has examples of all of this that run.
//!
//! # Example
//! ```
//! use circuits::Circuit;
//! use hooks::{EdgeMap, KeyValue, Wiring};
//!
//! let wiring = Wiring { n_layers: 1, n_heads: 2, n_kv_heads: 2, d_model: 8, key_value: KeyValue::Ungrouped };
//! let mut scores = EdgeMap::filled(wiring, 0.0f32);
//! for (edge, score) in [("input->a0.h1<v>", 2.0), ("a0.h1->logits", -3.0), ("input->m0", 1.0)] {
//!     *scores.get_mut(edge.parse()?).unwrap() = score;
//! }
//! let circuit = Circuit::top(&scores, 3)?.pruned(); // input->m0 is on no path to the logits
//! assert_eq!(circuit.n_edges(), 2);
//! assert_eq!(circuit.heads().into_iter().next().unwrap().to_string(), "L0H1");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod circuit;
mod compare;
mod curve;
mod emergence;
mod faithfulness;
mod format;
mod heads;
mod merge;
mod mib;
mod null;
mod prune;
mod roc;
mod select;
#[doc = include_str!("../docs/tutorial.md")]
pub mod tutorial {}

pub use circuit::Circuit;
pub use common::Error;
pub use compare::{CircuitDiff, ImportanceChange, compare, effect, head_importance};
pub use curve::{Curve, MIB_SHARES, Point, Size, along, curve};
pub use emergence::{EdgeEmergence, Emergence, Fate, HeadEmergence, SplitNoise};
pub use faithfulness::{
    Faithfulness, Measured, PairFaithfulness, faithfulness, faithfulness_of, measure_batches,
};
pub use format::{PairMetric, PerPair, Provenance, ScoreFile, ScoreLevel, SelectionRecord, dot};
pub use heads::{
    Attended, AttentionEntropy, HeadPaths, Paths, Relation, Spectrum, TokenScores, attended,
    attention_entropy, head_spectra, paths, role, token_scores,
};
pub use merge::merge;
pub use mib::{MIB_PERCENTS, Submission, check_mib_name, mib_circuits, mib_importances, read_mib};
pub use null::{Null, random_scores};
pub use prune::PruneRule;
pub use roc::{RocCurve, RocPoint, auroc, mib_roc};
pub use select::{Rank, Selection, loss_scores};
