//! Settings of supervised fine-tuning.

use posttrain::TrainerConfig;
use serde::{Deserialize, Serialize};

use crate::Error;

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
    /// Length, batch, optimiser, schedule, seed.
    pub trainer: TrainerConfig,
}

impl SftConfig {
    /// Checks the range of every value.
    ///
    /// # Errors
    /// The first value out of its range, with what was expected.
    pub fn check(&self) -> Result<(), Error> {
        self.trainer.check()
    }
}

/// How examples share rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Packing {
    /// One example a row.
    #[default]
    None,
    /// Best fit decreasing: not implemented yet.
    Bfd,
}

/// How examples are read from a file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DataConfig {
    /// A new order in each epoch, from the seed; file order where false.
    pub shuffle: bool,
    /// How examples share rows.
    pub packing: Packing,
    /// Tokens of an example; longer ones lose their end.
    pub max_length: usize,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self { shuffle: true, packing: Packing::None, max_length: 1024 }
    }
}

impl DataConfig {
    /// Checks the range of every value.
    ///
    /// # Errors
    /// The first value out of its range, with what was expected.
    pub fn check(&self) -> Result<(), Error> {
        if self.packing != Packing::None {
            return Err(Error::input("data.packing = \"bfd\" is not implemented yet, expected \"none\""));
        }
        posttrain::config::check_ranges(&[("data.max_length", self.max_length as f64, 2.0, 1e9, "from 2")])
    }
}
