//! Statistics for experiments on language models: confidence intervals, bootstrap, permutation and paired
//! tests, multiple testing, rank correlation, pass@k and power.
//!
//! | question | function |
//! |---|---|
//! | interval of a share, one sample a problem | [`wilson`] |
//! | interval of a mean of per-problem rates | [`clustered`] |
//! | interval of any other mean | [`bootstrap_mean`] |
//! | difference of two runs on the same problems | [`paired_bootstrap`], [`mcnemar`] |
//! | difference of two sets of score vectors, many features at once | [`ExchangeTest`], then [`benjamini_hochberg`] |
//! | monotone relation of two sets of values | [`spearman`] |
//! | relation of two series in time, at several lags | [`lagged_spearman`] |
//! | smallest difference that a suite detects | [`minimum_detectable_effect`] |
//! | samples of one problem | [`pass_at_k`], [`success_at_k`], [`majority`] |
//!
//! The unit of independence is the *problem* (or the pair of prompts), never the sample: sixty-four samples of
//! one problem are one cluster. Probabilities are fractions in `[0, 1]`, not percent. Every random draw is a
//! function of a seed.
//!
//! # Example
//! ```
//! // 81 of 263 problems solved (Newcombe 1998, table I).
//! let accuracy = stats::wilson(81, 263, 0.95);
//! assert!((accuracy.low - 0.2553).abs() < 1e-4 && (accuracy.high - 0.3662).abs() < 1e-4);
//!
//! let p_values = [0.001, 0.2, 0.012, 0.7];
//! assert_eq!(stats::benjamini_hochberg(&p_values, 0.05), [true, false, true, false]);
//! ```

mod bootstrap;
mod correlation;
mod exchange;
mod interval;
mod lagged;
mod multiple;
mod paired;
mod passk;
mod power;
mod quantile;

pub use bootstrap::bootstrap_mean;
pub use correlation::{Correlation, ranks, spearman};
pub use exchange::{ExchangeTest, pooled_p_values};
pub use interval::{Interval, clustered, wilson};
pub use lagged::{Lagged, LaggedCorrelation, lagged_spearman};
pub use multiple::{benjamini_hochberg, holm};
pub use paired::{Mcnemar, PairedBootstrap, mcnemar, paired_bootstrap};
pub use passk::{majority, pass_at_k, success_at_k};
pub use power::{detectable, minimum_detectable_effect, normal_p, unpaired_sd};
pub use quantile::quantile;
