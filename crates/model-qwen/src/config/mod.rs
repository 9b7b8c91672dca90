//! `config.json`: the sizes and switches of a checkpoint, in both styles that Hugging Face writes.
//!
//! A setting that is not implemented is an error that names it. A setting that has no effect, here or in
//! `transformers`, is a warning.

mod fields;
mod rope;

use hooks::{KeyValue, Wiring};
use serde_json::Value;

use crate::Error;
use fields::Fields;
pub use rope::RopeScaling;

/// The families that share this forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Qwen2, Qwen2.5, Qwen2.5-Math, DeepSeek-R1-Distill-Qwen: biases on query, key and value.
    Qwen2,
    /// Qwen3: a norm on each query and key head.
    Qwen3,
    /// Llama 2 and 3, SmolLM, DeepSeek-R1-Distill-Llama.
    Llama,
}

/// What a forward pass needs to know. Widths `d_*`, counts `n_*`.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Architecture family.
    pub family: Family,
    /// Number of blocks.
    pub n_layers: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Query heads in a layer.
    pub n_heads: usize,
    /// Key/value heads in a layer.
    pub n_kv_heads: usize,
    /// Width of a head; not always `d_model / n_heads`.
    pub d_head: usize,
    /// MLP neurons.
    pub d_mlp: usize,
    /// Rows of the embedding.
    pub vocab: usize,
    /// Added to the mean square in every norm.
    pub norm_eps: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Changes to the rotary frequencies and angles.
    pub rope_scaling: RopeScaling,
    /// Whether the output projection is the embedding.
    pub tied: bool,
    /// Biases on query, key and value projections.
    pub qkv_bias: bool,
    /// A bias on the output projection of attention.
    pub output_bias: bool,
    /// Biases on gate, up and down projections.
    pub mlp_bias: bool,
    /// Norms on each query and key head.
    pub qk_norm: bool,
    /// For each layer how many keys back a query sees; all where `None`.
    pub windows: Vec<Option<usize>>,
    /// The longest context that the model was made for.
    pub max_positions: usize,
    /// Settings that have no effect, in words.
    pub warnings: Vec<String>,
    /// The file itself, to be written out again.
    pub raw: Value,
}

/// The largest width of the residual stream and of all heads together: with it no product of sizes overflows.
const MAX_WIDTH: usize = 1 << 20;

/// Parameters of a model whose weights stay in the caches of a CPU: 16 MB in f32.
const CACHED: u64 = 4 << 20;

impl Config {
    /// Reads the text of a `config.json`.
    ///
    /// # Errors
    /// Text that is not a JSON object, a missing or absurd field, an architecture or an option that is not
    /// implemented; the message names the field.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let raw: Value = serde_json::from_str(text).map_err(|e| Error::input(e.to_string()))?;
        if !raw.is_object() {
            return Err(Error::input("expected a JSON object"));
        }
        let f = Fields::new(&raw);
        let family = family(f)?;
        let n_layers = f.required_size("num_hidden_layers")?;
        if n_layers > 1024 {
            return Err(f.bad("num_hidden_layers", "at most 1024"));
        }
        let d_model = f.required_size("hidden_size")?;
        let n_heads = f.required_size("num_attention_heads")?;
        let n_kv_heads = f.size("num_key_value_heads")?.unwrap_or(n_heads);
        if n_heads % n_kv_heads != 0 {
            return Err(f.bad("num_key_value_heads", format!("a divisor of num_attention_heads {n_heads}")));
        }
        let d_head = match (f.size("head_dim")?, family) {
            (Some(d), _) => d,
            (None, Family::Qwen3) => 128,
            (None, _) => d_model / n_heads,
        };
        if n_heads * d_head > MAX_WIDTH || d_model > MAX_WIDTH {
            return Err(Error::input(format!(
                "`hidden_size` is {d_model} and all heads are {} wide, expected at most {MAX_WIDTH}",
                n_heads * d_head
            )));
        }
        if d_head == 0 || d_head % 2 != 0 {
            return Err(Error::input(format!("`head_dim` is {d_head}, expected an even number above 0")));
        }
        if f.text("hidden_act")?.is_some_and(|act| !matches!(act, "silu" | "swish")) {
            return Err(f.bad("hidden_act", "silu (or swish, its other name)"));
        }
        let max_positions = f.size("max_position_embeddings")?.unwrap_or(match family {
            Family::Llama => 2048,
            Family::Qwen2 | Family::Qwen3 => 32_768,
        });
        let rope::Settings { theta, scaling, mut warnings } =
            rope::rope(&raw, rope::Sizes { max_positions, d_head })?;
        // Qwen2 has biases on query, key and value, and no switch.
        let attention_bias = f.flag("attention_bias", false)? && family != Family::Qwen2;
        let mlp_bias = f.flag("mlp_bias", false)?;
        if mlp_bias && family != Family::Llama {
            warnings
                .push("config.json: `mlp_bias` has no effect in this family, as in transformers".to_owned());
        }
        Ok(Self {
            family,
            n_layers,
            d_model,
            n_heads,
            n_kv_heads,
            d_head,
            d_mlp: f.required_size("intermediate_size")?,
            vocab: f.required_size("vocab_size")?,
            norm_eps: f.number("rms_norm_eps")?.unwrap_or(1e-6),
            rope_theta: theta,
            rope_scaling: scaling,
            tied: f.flag("tie_word_embeddings", false)?,
            qkv_bias: family == Family::Qwen2 || attention_bias,
            output_bias: attention_bias,
            mlp_bias: mlp_bias && family == Family::Llama,
            qk_norm: family == Family::Qwen3,
            windows: windows(f, n_layers)?,
            max_positions,
            warnings,
            raw,
        })
    }

    /// The dtype that the file says its weights have, as `bfloat16`.
    pub fn dtype_name(&self) -> Option<&str> {
        self.raw["dtype"].as_str().or(self.raw["torch_dtype"].as_str())
    }

    /// Checks that a run of `n` positions is within `max_position_embeddings`. A longer run works, and its
    /// results past the limit mean little: print the error as a warning, or return it where the user asked for
    /// strictness.
    ///
    /// # Errors
    /// More positions than the model was made for; the message has both numbers.
    pub fn check_positions(&self, n: usize) -> Result<(), Error> {
        if n <= self.max_positions {
            return Ok(());
        }
        Err(Error::input(format_args!(
            "{n} positions, expected at most {} (`max_position_embeddings`)",
            self.max_positions
        )))
    }

    /// The graph of components: key and value inputs of every query head.
    pub fn wiring(&self) -> Wiring {
        Wiring {
            n_layers: self.n_layers,
            n_heads: self.n_heads,
            n_kv_heads: self.n_kv_heads,
            d_model: self.d_model,
            key_value: KeyValue::Ungrouped,
        }
    }

    /// How many runs of such a model are best made at the same time on a CPU: one a thread, where its weights stay in the
    /// caches and its products are too small to be shared out.
    pub fn at_once(&self) -> usize {
        if self.n_params() <= CACHED { rayon::current_num_threads() } else { 1 }
    }

    /// Parameters, from the sizes.
    pub fn n_params(&self) -> u64 {
        let (d, q, kv) = (self.d_model, self.n_heads * self.d_head, self.n_kv_heads * self.d_head);
        let mut block = 2 * d * q + 2 * d * kv + 3 * d * self.d_mlp + 2 * d;
        if self.qkv_bias {
            block += q + 2 * kv;
        }
        if self.output_bias {
            block += d;
        }
        if self.mlp_bias {
            block += 2 * self.d_mlp + d;
        }
        if self.qk_norm {
            block += 2 * self.d_head;
        }
        let heads = if self.tied { 1 } else { 2 };
        (self.n_layers * block) as u64 + (heads * self.vocab * d + d) as u64
    }
}

fn family(f: Fields<'_>) -> Result<Family, Error> {
    let architecture = f.object["architectures"][0].as_str();
    match architecture.or(f.object["model_type"].as_str()) {
        Some("Qwen2ForCausalLM" | "Qwen2Model" | "qwen2") => Ok(Family::Qwen2),
        Some("Qwen3ForCausalLM" | "Qwen3Model" | "qwen3") => Ok(Family::Qwen3),
        Some("LlamaForCausalLM" | "LlamaModel" | "llama") => Ok(Family::Llama),
        Some(other) => Err(Error::input(format!(
            "`architectures` is {other}, expected Qwen2ForCausalLM, Qwen3ForCausalLM or LlamaForCausalLM"
        ))),
        None => Err(Error::input("missing `architectures`")),
    }
}

/// For each layer how many keys back a query sees, `None` for all.
fn windows(f: Fields<'_>, n_layers: usize) -> Result<Vec<Option<usize>>, Error> {
    if !f.flag("use_sliding_window", false)? {
        return Ok(vec![None; n_layers]);
    }
    let window = f.required_size("sliding_window")?;
    if let Some(types) = f.object["layer_types"].as_array() {
        if types.len() != n_layers {
            return Err(Error::input(format!(
                "`layer_types` has {} entries, expected {n_layers}",
                types.len()
            )));
        }
        let one = |t: &Value| match t.as_str() {
            Some("full_attention") => Ok(None),
            Some("sliding_attention") => Ok(Some(window)),
            _ => Err(Error::input(format!(
                "`layer_types` has {t}, expected full_attention or sliding_attention"
            ))),
        };
        return types.iter().map(one).collect();
    }
    let full = match &f.object["max_window_layers"] {
        Value::Null => n_layers,
        value => value.as_u64().ok_or_else(|| f.bad("max_window_layers", "an integer from 0"))? as usize,
    };
    Ok((0..n_layers).map(|layer| (layer >= full).then_some(window)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn base() -> Value {
        json!({
            "architectures": ["Qwen2ForCausalLM"], "num_hidden_layers": 24, "hidden_size": 896,
            "num_attention_heads": 14, "num_key_value_heads": 2, "intermediate_size": 4864,
            "vocab_size": 151936, "tie_word_embeddings": true, "rope_theta": 1000000.0, "rms_norm_eps": 1e-6
        })
    }

    fn with(changes: &[(&str, Value)]) -> Result<Config, Error> {
        let mut config = base();
        for (key, value) in changes {
            config[*key] = value.clone();
        }
        Config::parse(&config.to_string())
    }

    #[test]
    fn parameters_are_the_published_counts() {
        assert_eq!(with(&[]).unwrap().n_params(), 494_032_768);
        let math = [
            ("num_hidden_layers", json!(28)),
            ("hidden_size", json!(1536)),
            ("num_attention_heads", json!(12)),
            ("intermediate_size", json!(8960)),
        ];
        assert_eq!(with(&math).unwrap().n_params(), 1_543_714_304);
        let qwen3 = [
            ("architectures", json!(["Qwen3ForCausalLM"])),
            ("num_hidden_layers", json!(28)),
            ("hidden_size", json!(1024)),
            ("num_attention_heads", json!(16)),
            ("num_key_value_heads", json!(8)),
            ("head_dim", json!(128)),
            ("intermediate_size", json!(3072)),
        ];
        assert_eq!(with(&qwen3).unwrap().n_params(), 596_049_920);
    }

    #[test]
    fn both_rope_styles_are_read() {
        let llama3 = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 8192, "rope_theta": 5e5});
        let new = with(&[("rope_theta", Value::Null), ("rope_parameters", llama3.clone())]).unwrap();
        let old = with(&[("rope_theta", json!(5e5)), ("rope_scaling", llama3)]).unwrap();
        assert_eq!((new.rope_theta, &new.rope_scaling), (old.rope_theta, &old.rope_scaling));
        assert!(matches!(new.rope_scaling, RopeScaling::Llama3 { factor: 8.0, .. }));
    }

    #[test]
    fn biases_are_those_of_the_family() {
        let of = |architecture: &str| {
            let c = with(&[
                ("architectures", json!([architecture])),
                ("attention_bias", json!(true)),
                ("mlp_bias", json!(true)),
            ]);
            let c = c.unwrap();
            [c.qkv_bias, c.output_bias, c.mlp_bias, c.warnings.is_empty()]
        };
        assert_eq!(of("Qwen2ForCausalLM"), [true, false, false, false]);
        assert_eq!(of("Qwen3ForCausalLM"), [true, true, false, false]);
        assert_eq!(of("LlamaForCausalLM"), [true, true, true, true]);
    }

    #[test]
    fn sliding_windows_are_honoured() {
        let slide = [
            ("use_sliding_window", json!(true)),
            ("sliding_window", json!(128)),
            ("max_window_layers", json!(20)),
        ];
        let windows = with(&slide).unwrap().windows;
        assert_eq!((windows[19], windows[20]), (None, Some(128)));
        assert_eq!(with(&[("sliding_window", json!(128))]).unwrap().windows, vec![None; 24]);
    }

    #[test]
    fn what_is_not_implemented_is_refused_by_name() {
        let cases: [(&str, Value, &str); 8] = [
            ("architectures", json!(["GPT2LMHeadModel"]), "GPT2LMHeadModel"),
            ("hidden_size", json!(-4), "hidden_size"),
            ("vocab_size", json!(1u64 << 60), "vocab_size"),
            ("num_hidden_layers", json!(1 << 20), "num_hidden_layers"),
            ("num_key_value_heads", json!(3), "divisor"),
            ("hidden_act", json!("gelu"), "gelu"),
            ("rope_scaling", json!({"rope_type": "mrope", "factor": 2.0}), "mrope"),
            ("rms_norm_eps", json!("small"), "rms_norm_eps"),
        ];
        for (field, value, expected) in cases {
            let message = with(&[(field, value)]).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        assert!(Config::parse("[1]").is_err());
        assert!(Config::parse("{").is_err());
        // Another name of silu.
        assert!(with(&[("hidden_act", json!("swish"))]).is_ok());
    }
}
