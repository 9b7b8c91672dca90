//! What a model is asked: pairs of prompts, and the metric read from the logits.

mod metric;
mod pairs;

pub use metric::{Metric, Positions, Target};
pub use pairs::{Pair, Pairs};
