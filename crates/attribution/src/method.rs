//! The attribution methods and the settings of each.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Error;

/// Where on the line from corrupt (0) to clean (1) an integral is sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Endpoint {
    /// k/m for k = 0 … m−1: the corrupt end is in, the clean end is not. EAP-IG 2.0 and MIB.
    #[default]
    Left,
    /// k/m for k = 1 … m: equation 3 of Thinking Sparks, EAP-IG 0.1 and 0.2.
    Right,
    /// (k + ½)/m for k = 0 … m−1: the smallest error of the three.
    Midpoint,
}

impl Endpoint {
    /// The `m` sample points, as fractions of clean.
    pub fn points(self, m: usize) -> Vec<f64> {
        let at = |k: usize| match self {
            Endpoint::Left => k as f64,
            Endpoint::Right => (k + 1) as f64,
            Endpoint::Midpoint => k as f64 + 0.5,
        };
        (0..m).map(|k| at(k) / m as f64).collect()
    }
}

/// Where the gradient of a score is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Edge attribution patching: the gradient of the clean run (Syed et al. 2023).
    Eap,
    /// The gradient averaged over embeddings between corrupt and clean (Hanna et al. 2024).
    EapIgInputs {
        /// Sample points.
        steps: usize,
        /// Where they lie.
        endpoint: Endpoint,
    },
    /// The gradient averaged over clean runs in which one layer's output at a time goes from corrupt to
    /// clean (Hanna et al. 2024, appendix).
    EapIgActivations {
        /// Sample points for each layer's attention, each MLP and the input.
        steps: usize,
        /// Where they lie.
        endpoint: Endpoint,
    },
    /// The mean of the clean and the corrupt run's gradients.
    CleanCorrupt,
    /// No gradient: the metric with that one edge corrupt, minus the clean metric. The reference for the others.
    Exact,
}

/// An upper limit on steps, far above what any integral needs.
const MAX_STEPS: usize = 100_000;

impl Method {
    /// Whether the gradient is taken at the clean run and nowhere else.
    pub(crate) fn is_clean_only(self) -> bool {
        match self {
            Method::Eap => true,
            Method::EapIgInputs { steps, endpoint } | Method::EapIgActivations { steps, endpoint } => {
                steps == 1 && endpoint == Endpoint::Right
            }
            Method::CleanCorrupt | Method::Exact => false,
        }
    }

    /// Checks the number of steps.
    ///
    /// # Errors
    /// A number of steps out of its range.
    pub fn check(self) -> Result<(), Error> {
        match self {
            Method::EapIgInputs { steps, .. } | Method::EapIgActivations { steps, .. }
                if !(1..=MAX_STEPS).contains(&steps) =>
            {
                Err(Error::input(format!("steps is {steps}, expected 1 to {MAX_STEPS}")))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Method {
    /// The name on the command line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Method::Eap => "eap",
            Method::EapIgInputs { .. } => "eap-ig-inputs",
            Method::EapIgActivations { .. } => "eap-ig-activations",
            Method::CleanCorrupt => "clean-corrupt",
            Method::Exact => "exact",
        })
    }
}
