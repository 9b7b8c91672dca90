//! What a model is asked: pairs of prompts, their targets, and the metric read from the logits.

mod metric;
mod pairs;
mod read;
mod target;
mod task;
mod warning;

pub use metric::{CustomMetric, Metric};
pub use pairs::{Pair, Pairs};
pub use read::{Encode, IdsOnly, PairsReader};
pub use target::{Positions, Target};
pub use task::Task;
pub use warning::Warning;
