//! Named places in a run, and their TransformerLens names.
//!
//! The type of a site fixes the shape of what is seen there: [`Stream`] sites are `[batch, seq, _]`,
//! [`Heads`] sites are `[batch, heads, seq, _]`.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// Places whose activation is `[batch, seq, _]`. The number is the layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stream {
    /// Token embeddings, `[batch, seq, d_model]`; the first term of the residual stream.
    Embed,
    /// Residual stream before attention, `[batch, seq, d_model]`.
    ResidPre(usize),
    /// Residual stream between attention and MLP, `[batch, seq, d_model]`.
    ResidMid(usize),
    /// Residual stream after the block, `[batch, seq, d_model]`.
    ResidPost(usize),
    /// What attention adds to the residual stream, `[batch, seq, d_model]`.
    AttnOut(usize),
    /// What the MLP alone reads, before its norm, `[batch, seq, d_model]`: changing it does not touch
    /// the residual stream.
    MlpIn(usize),
    /// MLP neurons after the gate, `[batch, seq, d_mlp]`.
    Neurons(usize),
    /// What the MLP adds to the residual stream, `[batch, seq, d_model]`.
    MlpOut(usize),
    /// The last residual stream over its root mean square, before the final norm's weight,
    /// `[batch, rows, d_model]` for the rows that the batch asks for.
    Normalized,
    /// After the final norm, its weight included, `[batch, rows, d_model]`.
    FinalNorm,
    /// Logits, `[batch, rows, vocab]` for the rows that the batch asks for.
    Logits,
}

/// Places whose activation is `[batch, heads, seq, _]`. The number is the layer.
///
/// `Key`, `Value`, `KeyIn`, `ValueIn` have `n_kv_heads` heads. Their `…Ungrouped` forms have `n_heads`: one
/// copy for each query head, which is how EAP-IG's graph counts edges under grouped-query attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Heads {
    /// What each head's query reads from the residual stream, before the norm, `d_model` wide.
    QueryIn(usize),
    /// What each key head reads, before the norm, `d_model` wide.
    KeyIn(usize),
    /// What each value head reads, before the norm, `d_model` wide.
    ValueIn(usize),
    /// `KeyIn`, one copy for each query head.
    KeyInUngrouped(usize),
    /// `ValueIn`, one copy for each query head.
    ValueInUngrouped(usize),
    /// Queries as projected, before any per-head norm and before rotary, `d_head` wide.
    Query(usize),
    /// Keys as projected, before any per-head norm and before rotary.
    Key(usize),
    /// Values.
    Value(usize),
    /// `Key`, one copy for each query head.
    KeyUngrouped(usize),
    /// `Value`, one copy for each query head.
    ValueUngrouped(usize),
    /// Queries after rotary.
    QueryRotary(usize),
    /// Keys after rotary (this run's positions only, not what a cache holds).
    KeyRotary(usize),
    /// Scaled and masked attention scores, `[batch, n_heads, seq, kv_seq]`.
    Scores(usize),
    /// Attention probabilities, `[batch, n_heads, seq, kv_seq]`.
    Pattern(usize),
    /// Mixed values before the output projection, `[batch, n_heads, seq, d_head]`: where a head is ablated.
    Z(usize),
    /// What each head writes to the residual stream, `[batch, n_heads, seq, d_model]`, without output bias.
    Write(usize),
}

/// Any place in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Site {
    /// A place whose activation is `[batch, seq, _]`.
    Stream(Stream),
    /// A place whose activation is `[batch, heads, seq, _]`.
    Heads(Heads),
}

impl From<Stream> for Site {
    fn from(site: Stream) -> Self {
        Site::Stream(site)
    }
}

impl From<Heads> for Site {
    fn from(site: Heads) -> Self {
        Site::Heads(site)
    }
}

/// A name and the site of a layer that has it.
type Name = (&'static str, fn(usize) -> Site);

/// The names inside `blocks.{layer}.` as TransformerLens writes them, where it has them.
const NAMES: [Name; 23] = [
    ("hook_resid_pre", |l| Site::Stream(Stream::ResidPre(l))),
    ("hook_resid_mid", |l| Site::Stream(Stream::ResidMid(l))),
    ("hook_resid_post", |l| Site::Stream(Stream::ResidPost(l))),
    ("hook_attn_out", |l| Site::Stream(Stream::AttnOut(l))),
    ("hook_mlp_in", |l| Site::Stream(Stream::MlpIn(l))),
    ("mlp.hook_post", |l| Site::Stream(Stream::Neurons(l))),
    ("hook_mlp_out", |l| Site::Stream(Stream::MlpOut(l))),
    ("hook_q_input", |l| Site::Heads(Heads::QueryIn(l))),
    ("hook_k_input", |l| Site::Heads(Heads::KeyIn(l))),
    ("hook_v_input", |l| Site::Heads(Heads::ValueIn(l))),
    ("hook_k_input_ungrouped", |l| Site::Heads(Heads::KeyInUngrouped(l))),
    ("hook_v_input_ungrouped", |l| Site::Heads(Heads::ValueInUngrouped(l))),
    ("attn.hook_q", |l| Site::Heads(Heads::Query(l))),
    ("attn.hook_k", |l| Site::Heads(Heads::Key(l))),
    ("attn.hook_v", |l| Site::Heads(Heads::Value(l))),
    ("attn.hook_k_ungrouped", |l| Site::Heads(Heads::KeyUngrouped(l))),
    ("attn.hook_v_ungrouped", |l| Site::Heads(Heads::ValueUngrouped(l))),
    ("attn.hook_rot_q", |l| Site::Heads(Heads::QueryRotary(l))),
    ("attn.hook_rot_k", |l| Site::Heads(Heads::KeyRotary(l))),
    ("attn.hook_attn_scores", |l| Site::Heads(Heads::Scores(l))),
    ("attn.hook_pattern", |l| Site::Heads(Heads::Pattern(l))),
    ("attn.hook_z", |l| Site::Heads(Heads::Z(l))),
    ("attn.hook_result", |l| Site::Heads(Heads::Write(l))),
];

impl Site {
    /// The layer, where the site is inside a block.
    pub fn layer(self) -> Option<usize> {
        match self {
            Site::Stream(s) => match s {
                Stream::Embed | Stream::Normalized | Stream::FinalNorm | Stream::Logits => None,
                Stream::ResidPre(l)
                | Stream::ResidMid(l)
                | Stream::ResidPost(l)
                | Stream::AttnOut(l)
                | Stream::MlpIn(l)
                | Stream::Neurons(l)
                | Stream::MlpOut(l) => Some(l),
            },
            Site::Heads(s) => match s {
                Heads::QueryIn(l)
                | Heads::KeyIn(l)
                | Heads::ValueIn(l)
                | Heads::KeyInUngrouped(l)
                | Heads::ValueInUngrouped(l)
                | Heads::Query(l)
                | Heads::Key(l)
                | Heads::Value(l)
                | Heads::KeyUngrouped(l)
                | Heads::ValueUngrouped(l)
                | Heads::QueryRotary(l)
                | Heads::KeyRotary(l)
                | Heads::Scores(l)
                | Heads::Pattern(l)
                | Heads::Z(l)
                | Heads::Write(l) => Some(l),
            },
        }
    }
}

impl fmt::Display for Site {
    /// TransformerLens' name, for example `blocks.3.attn.hook_z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(layer) = self.layer() else {
            return f.write_str(match self {
                Site::Stream(Stream::Embed) => "hook_embed",
                Site::Stream(Stream::Normalized) => "ln_final.hook_normalized",
                Site::Stream(Stream::FinalNorm) => "ln_final.hook_out",
                _ => "hook_logits",
            });
        };
        let name = NAMES.iter().find(|(_, site)| site(layer) == *self).map_or("?", |(name, _)| name);
        write!(f, "blocks.{layer}.{name}")
    }
}

impl FromStr for Site {
    type Err = Error;

    /// Reads what [`Site`]'s `Display` writes.
    fn from_str(text: &str) -> Result<Self, Error> {
        let unknown = || {
            Error::input(format!(
                "site `{text}`: unknown, expected a TransformerLens name such as blocks.0.attn.hook_z"
            ))
        };
        match text {
            "hook_embed" => return Ok(Stream::Embed.into()),
            "ln_final.hook_normalized" => return Ok(Stream::Normalized.into()),
            "ln_final.hook_out" => return Ok(Stream::FinalNorm.into()),
            "hook_logits" => return Ok(Stream::Logits.into()),
            _ => {}
        }
        let (layer, name) =
            text.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')).ok_or_else(unknown)?;
        let layer: usize = layer.parse().map_err(|_| unknown())?;
        NAMES.iter().find(|(n, _)| *n == name).map(|(_, site)| site(layer)).ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_site_reads_back_what_it_prints() {
        let mut sites: Vec<Site> = NAMES.iter().map(|(_, site)| site(7)).collect();
        sites.extend([Stream::Embed, Stream::Normalized, Stream::FinalNorm, Stream::Logits].map(Site::from));
        for site in sites {
            assert_eq!(site.to_string().parse::<Site>().unwrap(), site);
        }
        assert!("blocks.x.hook_z".parse::<Site>().is_err());
        assert!("blocks.1.hook_nothing".parse::<Site>().is_err());
    }
}
