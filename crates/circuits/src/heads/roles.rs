//! What a head attends to, and what its OV and QK matrices do to tokens.
//!
//! **Attention.** For every query position but the first, the attention that goes to keys of each [`Relation`],
//! averaged over positions and clean prompts; beside it the share that equal attention to all visible keys would
//! give. Relations overlap: a previous token may be a number. Induction heads (Olsson et al. 2022) attend to the
//! token after an earlier occurrence of the current one.
//!
//! **OV and QK.** With E the embedding and U the unembedding, `E W_V W_O U` says how attending to a token changes
//! each token's logit, and `E W_Q W_Kᵀ Eᵀ` which tokens attract each other (Elhage et al. 2021). The scores are
//! `Σ Re λ / Σ |λ|` over eigenvalues λ: 1 where a head copies what it attends to (attends to its own token), −1 where
//! it suppresses it. Eigenvalues of `A B` are those of `B A`, which is `d_head × d_head`. No rotation and no norm
//! other than its weights enters.

use burn::tensor::Tensor;
use hooks::{Batch, Head, HeadMap, HeadWeights, Heads, Hook, HookedModel, Pairs, Rows, Site};
use nalgebra::DMatrix;
use serde::{Deserialize, Serialize};

use crate::Error;

/// What the key's token is to the query's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Relation {
    /// The first token of the prompt.
    First,
    /// The query's own position.
    Current,
    /// The position before.
    Previous,
    /// An earlier occurrence of the query's token.
    SameToken,
    /// The token after an earlier occurrence of the query's token.
    Induction,
    /// A token of digits.
    Number,
    /// An operator or relation sign.
    Operator,
    /// Punctuation, space, a special token.
    Delimiter,
}

impl Relation {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::First,
        Self::Current,
        Self::Previous,
        Self::SameToken,
        Self::Induction,
        Self::Number,
        Self::Operator,
        Self::Delimiter,
    ];

    /// Whether the key at `key` of `ids` has this relation to the query at `query ≥ key`. `kind` is that of a token's text.
    fn holds(self, ids: &[u32], (query, key): (usize, usize), kind: &dyn Fn(u32) -> Option<Self>) -> bool {
        match self {
            Self::First => key == 0,
            Self::Current => key == query,
            Self::Previous => key + 1 == query,
            Self::SameToken => key < query && ids[key] == ids[query],
            Self::Induction => key > 0 && ids[key - 1] == ids[query] && key <= query && key - 1 < query,
            Self::Number | Self::Operator | Self::Delimiter => kind(ids[key]) == Some(self),
        }
    }

    /// The kind of a token by its text: a number, an operator, a delimiter, or none of these.
    pub fn of_text(text: &str) -> Option<Self> {
        let trimmed = text.trim();
        let all = |test: fn(char) -> bool| !trimmed.is_empty() && trimmed.chars().all(test);
        match () {
            () if all(|c| c.is_ascii_digit()) => Some(Self::Number),
            () if all(|c| "+-−*/=×÷·^<>≤≥%".contains(c)) => Some(Self::Operator),
            () if trimmed.is_empty() || trimmed.starts_with('<') && trimmed.ends_with('>') => {
                Some(Self::Delimiter)
            }
            () if all(|c| c.is_ascii_punctuation()) => Some(Self::Delimiter),
            () => None,
        }
    }
}

/// Attention to keys of one relation, shares of 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Attended {
    /// Which keys.
    pub relation: Relation,
    /// Mean attention to them.
    pub share: f64,
    /// The same under equal attention to every visible key.
    pub equal: f64,
}

/// The least attention that names a head's role, and how many times that of equal attention it has to be.
const NAMES: (f64, f64) = (0.4, 2.0);

/// The relation that a head is named after: of those with at least 0.4 of the attention and twice what equal attention
/// would give, the one that is farthest above the latter.
pub fn role(attended: &[Attended]) -> Option<Relation> {
    let named = attended.iter().filter(|a| a.share >= NAMES.0 && a.share >= NAMES.1 * a.equal);
    named.max_by(|a, b| (a.share - a.equal).total_cmp(&(b.share - b.equal))).map(|a| a.relation)
}

/// Attention of every head by relation, over the clean prompts; `kind` is [`Relation::of_text`] of a token's text.
///
/// # Errors
/// Prompts of one token only.
pub fn attended(
    model: &dyn HookedModel,
    pairs: &Pairs,
    kind: &dyn Fn(u32) -> Option<Relation>,
) -> Result<HeadMap<Vec<Attended>>, Error> {
    let none = Relation::ALL.map(|relation| Attended { relation, share: 0.0, equal: 0.0 }).to_vec();
    let mut sums = Sums { sums: HeadMap::filled(model.wiring(), none), masks: Vec::new() };
    let mut n = 0;
    for pair in pairs {
        let ids = &pair.clean;
        let at = |relation: Relation| {
            let queries = (0..ids.len()).flat_map(|q| (0..ids.len()).map(move |k| (q, k)));
            queries.map(|(q, k)| q > 0 && k <= q && relation.holds(ids, (q, k), kind)).collect()
        };
        sums.masks = Relation::ALL.map(at).to_vec();
        let batch = Batch::new(std::slice::from_ref(&pair.clean))?.rows(Rows::Last);
        let _ = model.run(&batch, &mut sums);
        n += ids.len() - 1;
    }
    if n == 0 {
        return Err(Error::input("head roles: every prompt has one token, expected at least two in one"));
    }
    let mut means = sums.sums;
    for head in model.wiring().heads() {
        for one in means.get_mut(head) {
            one.share /= n as f64;
            one.equal /= n as f64;
        }
    }
    Ok(means)
}

struct Sums {
    sums: HeadMap<Vec<Attended>>,
    /// For each relation, whether a key `[query, key]` has it.
    masks: Vec<Vec<bool>>,
}

impl Hook for Sums {
    fn wants(&self, site: Site) -> bool {
        matches!(site, Site::Heads(Heads::Pattern(_)))
    }

    fn on_heads(&mut self, site: Heads, pattern: Tensor<4>) -> Tensor<4> {
        let Heads::Pattern(layer) = site else { return pattern };
        let [_, n_heads, seq, _] = pattern.dims();
        let values: Vec<f32> = pattern.clone().inner().into_data().try_to_vec().expect("attention in f32");
        for (head, weights) in values.chunks(seq * seq).enumerate().take(n_heads) {
            for (one, mask) in self.sums.get_mut(Head { layer, head }).iter_mut().zip(&self.masks) {
                for (at, (&weight, _)) in weights.iter().zip(mask).enumerate().filter(|(_, (_, is))| **is) {
                    one.share += f64::from(weight);
                    one.equal += 1.0 / (at / seq + 1) as f64;
                }
            }
        }
        pattern
    }
}

/// `Σ Re λ / Σ |λ|` of OV and QK; 0 for a matrix of zeros.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TokenScores {
    /// Of `E W_V W_O U`: whether the head raises the logit of what it attends to.
    pub copying: f64,
    /// Of `E W_Q W_Kᵀ Eᵀ`: whether the head attends to its own token.
    pub matching: f64,
}

/// The scores of every head; `embed` and `unembed` are `[vocab, d_model]`.
///
/// # Errors
/// A model that does not show its weights.
pub fn token_scores(
    model: &dyn HookedModel,
    (embed, unembed): (&Tensor<2>, &Tensor<2>),
) -> Result<HeadMap<TokenScores>, Error> {
    // `[d_model, d_model]`: unembedding after embedding, and embedding after itself.
    let through = host(&unembed.clone().transpose().matmul(embed.clone()));
    let itself = host(&embed.clone().transpose().matmul(embed.clone()));
    let mut scores = HeadMap::filled(model.wiring(), TokenScores::default());
    for head in model.wiring().heads() {
        let HeadWeights { query, key, value, output } = model.head_weights(head).ok_or_else(|| {
            Error::input("head weights: this model does not show them, expected HookedModel::head_weights")
        })?;
        let ov = host(&output) * &through * host(&value);
        let qk = host(&key).transpose() * &itself * host(&query);
        *scores.get_mut(head) = TokenScores { copying: positive(&ov), matching: positive(&qk) };
    }
    Ok(scores)
}

fn host(x: &Tensor<2>) -> DMatrix<f64> {
    let [rows, columns] = x.dims();
    let values: Vec<f32> = x.clone().inner().into_data().try_to_vec().expect("weights in f32");
    DMatrix::from_row_iterator(rows, columns, values.into_iter().map(f64::from))
}

fn positive(matrix: &DMatrix<f64>) -> f64 {
    let eigenvalues = matrix.complex_eigenvalues();
    let all: f64 = eigenvalues.iter().map(|λ| λ.re.hypot(λ.im)).sum();
    if all == 0.0 { 0.0 } else { eigenvalues.iter().map(|λ| λ.re).sum::<f64>() / all }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_are_those_read_off_by_hand() {
        // 7 8 9 7 8: the second 7 is at 3; the token after its earlier occurrence is at 1.
        let ids = [7, 8, 9, 7, 8];
        let kind = |id: u32| (id == 9).then_some(Relation::Number);
        let keys = |relation: Relation, query: usize| -> Vec<usize> {
            (0..=query).filter(|&key| relation.holds(&ids, (query, key), &kind)).collect()
        };
        assert_eq!(keys(Relation::Induction, 3), [1]);
        assert_eq!(keys(Relation::Induction, 4), [2]);
        assert_eq!(keys(Relation::SameToken, 4), [1]);
        assert_eq!((keys(Relation::Previous, 3), keys(Relation::Current, 3)), (vec![2], vec![3]));
        assert_eq!((keys(Relation::Number, 4), keys(Relation::First, 4)), (vec![2], vec![0]));
        assert_eq!(keys(Relation::Operator, 4), Vec::<usize>::new());
    }

    #[test]
    fn texts_have_kinds() {
        let of = Relation::of_text;
        assert_eq!((of("42"), of(" 7")), (Some(Relation::Number), Some(Relation::Number)));
        assert_eq!((of("+"), of(" =")), (Some(Relation::Operator), Some(Relation::Operator)));
        assert_eq!(
            (of(","), of("\n"), of("<think>")),
            (Some(Relation::Delimiter), Some(Relation::Delimiter), Some(Relation::Delimiter))
        );
        assert_eq!((of("x1"), of("the")), (None, None));
    }

    #[test]
    fn a_role_takes_much_attention_and_more_than_equal() {
        let a = |relation, share, equal| Attended { relation, share, equal };
        assert_eq!(
            role(&[a(Relation::Previous, 0.7, 0.2), a(Relation::First, 0.3, 0.1)]),
            Some(Relation::Previous)
        );
        // Numbers are most of the tokens: seeing them says nothing.
        assert_eq!(role(&[a(Relation::Number, 0.7, 0.6)]), None);
        assert_eq!(role(&[a(Relation::Previous, 0.39, 0.1)]), None);
    }

    #[test]
    fn eigenvalue_shares_are_those_of_closed_forms() {
        let matrix = |rows: &[[f64; 2]; 2]| DMatrix::from_row_iterator(2, 2, rows.iter().flatten().copied());
        assert!((positive(&matrix(&[[2.0, 0.0], [0.0, 3.0]])) - 1.0).abs() < 1e-12);
        assert!((positive(&matrix(&[[2.0, 0.0], [0.0, -1.0]])) - 1.0 / 3.0).abs() < 1e-12);
        // A rotation by 90°: eigenvalues ±i.
        assert!(positive(&matrix(&[[0.0, -1.0], [1.0, 0.0]])).abs() < 1e-12);
        assert_eq!(positive(&DMatrix::zeros(2, 2)), 0.0);
    }
}
