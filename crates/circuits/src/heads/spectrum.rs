//! Effective and stable ranks of each head's OV and QK matrices.
//!
//! With σ the singular values of the `d_model × d_model` matrix W, of which at most `d_head` are not zero,
//!
//! ```text
//! effective rank = exp(−Σ p log p),  p = σ / Σσ      Roy & Vetterli 2007
//! stable rank    = Σσ² / max σ²                      Rudelson & Vershynin 2007
//! ```
//!
//! OV is `W_V W_O` and QK is `W_Q W_Kᵀ` (Elhage et al. 2021), with norm weights multiplied in
//! ([`HeadWeights`]) and, in QK, no rotation: queries and keys of one position. The matrix is not made: for
//! `A [d_model, d_head]` and `B [d_model, d_head]` with `A = Q_a R_a` and `B = Q_b R_b`, the singular values
//! of `A Bᵀ` are those of the `d_head × d_head` matrix `R_a R_bᵀ`.

use burn::tensor::Tensor;
use hooks::{HeadMap, HeadWeights, HookedModel};
use nalgebra::DMatrix;
use serde::Serialize;

use crate::Error;

/// The ranks of a head's two matrices; 0 for a matrix of zeros.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Spectrum {
    /// Effective rank of OV.
    pub ov_effective_rank: f64,
    /// Stable rank of OV.
    pub ov_stable_rank: f64,
    /// Largest singular value of OV.
    pub ov_norm: f64,
    /// Effective rank of QK.
    pub qk_effective_rank: f64,
    /// Stable rank of QK.
    pub qk_stable_rank: f64,
    /// Largest singular value of QK.
    pub qk_norm: f64,
}

impl Spectrum {
    /// The ranks of one head's weights.
    pub fn of(weights: &HeadWeights) -> Self {
        let ov = singular_values(&weights.value, &weights.output.clone().transpose());
        let qk = singular_values(&weights.query, &weights.key);
        let (ov_effective_rank, ov_stable_rank, ov_norm) = ranks(&ov);
        let (qk_effective_rank, qk_stable_rank, qk_norm) = ranks(&qk);
        Self { ov_effective_rank, ov_stable_rank, ov_norm, qk_effective_rank, qk_stable_rank, qk_norm }
    }
}

/// The ranks of every head. Costs `O(d_model d_head²)` a head, on the host, in f64.
///
/// # Errors
/// A model that does not show its weights.
pub fn head_spectra(model: &dyn HookedModel) -> Result<HeadMap<Spectrum>, Error> {
    let wiring = model.wiring();
    let mut spectra = HeadMap::filled(wiring, Spectrum::default());
    for head in wiring.heads() {
        let weights = model.head_weights(head).ok_or_else(|| {
            Error::input("head weights: this model does not show them, expected HookedModel::head_weights")
        })?;
        *spectra.get_mut(head) = Spectrum::of(&weights);
    }
    Ok(spectra)
}

/// Singular values of `a bᵀ`, both `[d_model, d_head]`.
fn singular_values(a: &Tensor<2>, b: &Tensor<2>) -> Vec<f64> {
    let host = |x: &Tensor<2>| {
        let [rows, columns] = x.dims();
        let values: Vec<f32> = x.clone().inner().into_data().try_to_vec().expect("weights in f32");
        DMatrix::from_row_iterator(rows, columns, values.into_iter().map(f64::from))
    };
    let (a, b) = (host(a).qr().r(), host(b).qr().r());
    (a * b.transpose()).singular_values().iter().copied().collect()
}

/// Effective rank, stable rank, and the largest singular value.
fn ranks(sigma: &[f64]) -> (f64, f64, f64) {
    let (sum, largest) = (sigma.iter().sum::<f64>(), sigma.iter().fold(0.0f64, |m, &s| m.max(s)));
    if largest == 0.0 {
        return (0.0, 0.0, 0.0);
    }
    let entropy: f64 = sigma.iter().filter(|&&s| s > 0.0).map(|s| -(s / sum) * (s / sum).ln()).sum();
    (entropy.exp(), sigma.iter().map(|s| (s / largest).powi(2)).sum(), largest)
}
