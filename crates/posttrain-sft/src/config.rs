//! Settings of supervised fine-tuning and of its data.

use posttrain::TrainerConfig;
use posttrain::config::check_ranges;
use serde::{Deserialize, Serialize};

use crate::{Columns, Error};

/// Supervised fine-tuning.
///
/// ```
/// use posttrain_sft::SftConfig;
///
/// let mut config = SftConfig::default();
/// config.trainer.train.steps = Some(100);
/// config.trainer.optimizer.lr = 1e-4;
/// config.check()?;
/// # Ok::<(), posttrain_sft::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SftConfig {
    /// Length, batch, optimiser, schedule, seed. Not a part of the serialised form: a configuration file has
    /// sections for it.
    #[serde(skip)]
    pub trainer: TrainerConfig,
    /// What a trained token adds to the loss.
    pub loss: LossKind,
    /// Share `e` of each target that is spread evenly over the vocabulary, in [`LossKind::Nll`]: a token adds
    /// `-(1 - e) log p(token) - e mean(log p)` (transformers' `LabelSmoother`).
    pub label_smoothing: f64,
}

/// What a trained token adds to the loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossKind {
    /// `-log p(token)`.
    #[default]
    Nll,
    /// `-p(token) log p(token)` with the first factor a constant: dynamic fine-tuning (Wu et al. 2025).
    Dft,
}

impl SftConfig {
    /// Checks the range of every value.
    ///
    /// # Errors
    /// The first value out of its range, with what was expected.
    pub fn check(&self) -> Result<(), Error> {
        self.trainer.check()?;
        if self.label_smoothing > 0.0 && self.loss == LossKind::Dft {
            return Err(Error::input("sft.label_smoothing has no effect with sft.loss = \"dft\""));
        }
        check_ranges(&[("sft.label_smoothing", self.label_smoothing, 0.0, 1.0, "from 0 to 1")])
    }
}

/// How examples share rows. Examples of one row do not see each other, and each begins at position 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Packing {
    /// One example a row.
    #[default]
    None,
    /// Rows of at most `max_length` tokens by best fit decreasing.
    Bfd,
    /// The same, with longer examples split into pieces in place of being cut.
    BfdSplit,
}

/// What happens to an example that is longer than `max_length`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truncation {
    /// Its end is cut off.
    #[default]
    KeepStart,
    /// Its beginning is cut off.
    KeepEnd,
    /// It is left out.
    Drop,
    /// It is an error.
    Error,
}

/// Which assistant messages of a conversation are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Turns {
    /// All: in one example, or, where the chat template rewrites earlier messages (Qwen3, R1), in one example
    /// for each with the messages before it as context.
    #[default]
    All,
    /// The last, with the messages before it as context.
    Last,
}

/// How examples are read from a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DataConfig {
    /// A new order in each epoch, from the seed; file order where false.
    pub shuffle: bool,
    /// How examples share rows.
    pub packing: Packing,
    /// Tokens of an example, or of a packed row, at most.
    pub max_length: usize,
    /// What happens to longer ones.
    pub truncation: Truncation,
    /// Which assistant messages are trained.
    pub turns: Turns,
    /// The columns that examples are made of, where their names are not the common ones.
    pub columns: Columns,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            shuffle: true,
            packing: Packing::None,
            max_length: 1024,
            truncation: Truncation::default(),
            turns: Turns::default(),
            columns: Columns::default(),
        }
    }
}

impl DataConfig {
    /// Checks the range of every value.
    ///
    /// # Errors
    /// The first value out of its range, with what was expected.
    pub fn check(&self) -> Result<(), Error> {
        check_ranges(&[("data.max_length", self.max_length as f64, 2.0, 1e9, "from 2")])
    }
}
