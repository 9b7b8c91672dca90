//! Rotary settings of `config.json`, wherever they are written, with the precedence of `transformers`.
//!
//! `rope_scaling` counts where it is an object that is not empty, else `rope_parameters`. `rope_theta` is taken
//! from that object, else from the top level, else it is the default; the object that does not count is not
//! read. `original_max_position_embeddings` at the top level overrides the one inside, and
//! `max_position_embeddings` stands for it where both are absent.

use serde_json::Value;

use super::fields::Fields;
use crate::Error;

/// How rotary frequencies and angles are changed for contexts longer than those of pre-training.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// `rope_type` default: frequencies `theta^(-2i / d_head)` as they are (Su et al. 2021).
    None,
    /// All positions divided by a factor (Chen et al. 2023).
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// `theta` raised with the length of a row where that is above `max_position_embeddings` ("dynamic NTK").
    /// Each row of a batch goes by its own length; keys that a cache holds keep the angles they got.
    Dynamic {
        /// The factor in the exponentiated ratio of lengths.
        factor: f64,
    },
    /// Llama 3.1: low frequencies divided by a factor, high ones kept, a ramp between.
    Llama3 {
        /// The divisor of low frequencies.
        factor: f64,
        /// Wavelengths above `original / low` are low frequencies.
        low: f64,
        /// Wavelengths below `original / high` are high frequencies.
        high: f64,
        /// The context length before scaling.
        original: f64,
    },
    /// YaRN (Peng et al. 2023): frequencies that turn less than `beta_slow` times in the original context divided
    /// by a factor, those that turn more than `beta_fast` times kept, a ramp over dimensions between.
    Yarn {
        /// The divisor of low frequencies.
        factor: f64,
        /// The context length before scaling.
        original: f64,
        /// Multiplies cosines and sines, so that attention scores are multiplied by its square.
        attention_factor: f64,
        /// Turns at which the ramp begins.
        beta_fast: f64,
        /// Turns at which the ramp ends.
        beta_slow: f64,
        /// Whether the ends of the ramp are rounded to whole dimensions.
        truncate: bool,
    },
    /// LongRoPE (Ding et al. 2024): a divisor for each frequency, one list for rows within the original context
    /// and one for longer rows.
    LongRope {
        /// Divisors for rows of at most `original` positions, `[d_head / 2]`.
        short: Vec<f32>,
        /// Divisors for longer rows, `[d_head / 2]`.
        long: Vec<f32>,
        /// The context length before scaling.
        original: f64,
        /// Multiplies cosines and sines.
        attention_factor: f64,
    },
}

impl RopeScaling {
    /// What cosines and sines are multiplied by.
    pub fn attention_factor(&self) -> f64 {
        match self {
            Self::Yarn { attention_factor, .. } | Self::LongRope { attention_factor, .. } => {
                *attention_factor
            }
            _ => 1.0,
        }
    }
}

/// Sizes of a model that rotary settings refer to.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) max_positions: usize,
    pub(super) d_head: usize,
}

/// Rotary settings as read: `rope_theta`, the scaling, and warnings about keys that have no effect.
pub(super) struct Settings {
    pub(super) theta: f64,
    pub(super) scaling: RopeScaling,
    pub(super) warnings: Vec<String>,
}

const DEFAULT_THETA: f64 = 10_000.0;

/// The object that counts, under the name it has in the file.
fn counting(raw: &Value) -> Result<Fields<'_>, Error> {
    let mut found = Fields { object: &Value::Null, place: "rope_parameters" };
    for place in ["rope_parameters", "rope_scaling"] {
        match &raw[place] {
            Value::Null => {}
            Value::Object(fields) if fields.is_empty() => {}
            object @ Value::Object(_) => found = Fields { object, place },
            _ => return Err(Fields::new(raw).bad(place, "an object")),
        }
    }
    Ok(found)
}

pub(super) fn rope(raw: &Value, sizes: Sizes) -> Result<Settings, Error> {
    let (top, f) = (Fields::new(raw), counting(raw)?);
    for name in ["full_attention", "sliding_attention"] {
        if !f.object[name].is_null() {
            return Err(Error::input(format_args!(
                "`{name}` in `{}`: settings for each kind of layer are not implemented, expected one `rope_type` \
                 for all layers",
                f.place
            )));
        }
    }
    for place in [top, f] {
        if place.number("partial_rotary_factor")?.is_some_and(|x| x != 1.0) {
            return Err(place.bad("partial_rotary_factor", "1: rotating a part of a head is not implemented"));
        }
    }
    let theta = f.number("rope_theta")?.or(top.number("rope_theta")?).unwrap_or(DEFAULT_THETA);
    let kind_field = if f.object["rope_type"].is_null() { "type" } else { "rope_type" };
    let kind = f.text(kind_field)?.unwrap_or("default");
    let original = || -> Result<f64, Error> {
        let name = "original_max_position_embeddings";
        Ok(top.number(name)?.or(f.number(name)?).unwrap_or(sizes.max_positions as f64))
    };
    let (scaling, used): (_, &[&str]) = match kind {
        "default" => (RopeScaling::None, &[]),
        "linear" => (RopeScaling::Linear { factor: f.required_number("factor")? }, &["factor"]),
        "dynamic" if sizes.d_head == 2 => {
            return Err(Error::input("`head_dim` is 2, expected above 2 with `rope_type` dynamic"));
        }
        "dynamic" => (RopeScaling::Dynamic { factor: f.required_number("factor")? }, &["factor"]),
        "llama3" => {
            let (low, high) = (f.required_number("low_freq_factor")?, f.required_number("high_freq_factor")?);
            let factor = f.required_number("factor")?;
            (RopeScaling::Llama3 { factor, low, high, original: original()? }, &LLAMA3)
        }
        "yarn" if theta <= 1.0 => {
            return Err(Error::input(format_args!(
                "`rope_theta` is {theta}, expected above 1 with `rope_type` yarn"
            )));
        }
        "yarn" => (yarn(f, original()?, sizes)?, &YARN),
        "longrope" => (longrope(f, original()?, sizes)?, &LONGROPE),
        _ => return Err(f.bad(kind_field, "default, linear, dynamic, llama3, yarn or longrope")),
    };
    let common = ["rope_type", "type", "rope_theta", "partial_rotary_factor"];
    let ignored = f.object.as_object().into_iter().flat_map(serde_json::Map::keys).filter(|key| {
        // Older checkpoints name the original context with every kind.
        *key != "original_max_position_embeddings" && !common.contains(&&***key) && !used.contains(&&***key)
    });
    let warnings = ignored.map(|key| {
        format!(
            "config.json: `{key}` in `{}` has no effect with `{kind_field}` {kind}, as in transformers",
            f.place
        )
    });
    Ok(Settings { theta, scaling, warnings: warnings.collect() })
}

const LLAMA3: [&str; 3] = ["factor", "low_freq_factor", "high_freq_factor"];
const YARN: [&str; 7] =
    ["factor", "attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate"];
const LONGROPE: [&str; 4] = ["factor", "attention_factor", "short_factor", "long_factor"];

fn yarn(f: Fields<'_>, original: f64, sizes: Sizes) -> Result<RopeScaling, Error> {
    let factor = f.number("factor")?.unwrap_or(sizes.max_positions as f64 / original);
    let mscale = |weight: f64| if factor <= 1.0 { 1.0 } else { 0.1 * weight * factor.ln() + 1.0 };
    let own = f.number("attention_factor")?;
    let inferred = match (f.number_or_zero("mscale")?, f.number_or_zero("mscale_all_dim")?) {
        (Some(one), Some(all)) => mscale(one) / mscale(all),
        _ => mscale(1.0),
    };
    Ok(RopeScaling::Yarn {
        factor,
        original,
        attention_factor: own.unwrap_or(inferred),
        beta_fast: f.number_or_zero("beta_fast")?.unwrap_or(32.0),
        beta_slow: f.number_or_zero("beta_slow")?.unwrap_or(1.0),
        truncate: f.flag("truncate", true)?,
    })
}

fn longrope(f: Fields<'_>, original: f64, sizes: Sizes) -> Result<RopeScaling, Error> {
    let factor = f.number("factor")?.unwrap_or(sizes.max_positions as f64 / original);
    let inferred = if factor <= 1.0 { 1.0 } else { (1.0 + factor.ln() / original.ln()).sqrt() };
    Ok(RopeScaling::LongRope {
        short: f.numbers("short_factor", sizes.d_head / 2)?,
        long: f.numbers("long_factor", sizes.d_head / 2)?,
        original,
        attention_factor: f.number("attention_factor")?.unwrap_or(inferred),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(raw: Value) -> Result<Settings, Error> {
        rope(&raw, Sizes { max_positions: 128, d_head: 8 })
    }

    /// The precedence that `transformers` 5.24 has; `tools/oracles/rope.py` has the same as models.
    #[test]
    fn the_object_that_is_not_empty_counts_and_rope_scaling_before_rope_parameters() {
        let linear = json!({"type": "linear", "factor": 4.0});
        let parameters = json!({"rope_type": "default", "rope_theta": 500.0});
        let theta = |raw: Value| read(raw).unwrap().theta;
        assert_eq!(theta(json!({"rope_scaling": parameters, "rope_theta": 7.0})), 500.0);
        assert_eq!(theta(json!({"rope_scaling": {}, "rope_parameters": parameters})), 500.0);
        assert_eq!(theta(json!({"rope_scaling": linear, "rope_theta": 7.0})), 7.0);
        let both = read(json!({"rope_scaling": linear, "rope_parameters": parameters})).unwrap();
        assert_eq!((both.theta, both.scaling), (10_000.0, RopeScaling::Linear { factor: 4.0 }));
        assert!(read(json!({"rope_parameters": []})).is_err());
    }

    #[test]
    fn yarn_has_the_attention_factor_of_its_settings() {
        let factor = |extra: Value| {
            let mut all = json!({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32});
            all.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            read(json!({"rope_scaling": all})).unwrap().scaling.attention_factor()
        };
        assert!((factor(json!({})) - (0.1 * 4f64.ln() + 1.0)).abs() < 1e-15);
        assert_eq!(factor(json!({"attention_factor": 0.5})), 0.5);
        assert_eq!(factor(json!({"mscale": 1.0, "mscale_all_dim": 1.0})), 1.0);
        assert_eq!(factor(json!({"mscale": 0.7, "mscale_all_dim": 0})), factor(json!({})));
    }

    #[test]
    fn what_has_no_effect_is_a_warning_and_what_is_not_implemented_an_error() {
        let odd = json!({"rope_type": "yarn", "factor": 4.0, "attn_factor": 0.9});
        let warnings = read(json!({"rope_scaling": odd})).unwrap().warnings;
        assert!(warnings[0].contains("`attn_factor` in `rope_scaling`"), "{warnings:?}");
        let cases = [
            (
                json!({"rope_scaling": {"type": "mrope"}}),
                "default, linear, dynamic, llama3, yarn or longrope",
            ),
            (json!({"rope_scaling": {"rope_type": "linear"}}), "missing `factor` in `rope_scaling`"),
            (json!({"rope_parameters": {"full_attention": {"rope_theta": 5.0}}}), "full_attention"),
            (json!({"partial_rotary_factor": 0.5}), "partial_rotary_factor"),
            (json!({"rope_scaling": {"type": "longrope", "short_factor": [1.0]}}), "4 positive numbers"),
        ];
        for (raw, expected) in cases {
            let message = read(raw).err().expect("refused").to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
