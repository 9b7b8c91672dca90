//! `config.json`: the sizes and switches of a checkpoint, in both styles that Hugging Face writes.
//!
//! What is not implemented is refused with its name, never ignored: a model that runs is the model that
//! the file describes.

use serde_json::Value;

use crate::Error;

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

/// Rotary frequencies beyond the plain ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    /// Frequencies as they are.
    None,
    /// All positions divided by a factor.
    Linear {
        /// The divisor.
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
    /// Changes to the rotary frequencies.
    pub rope_scaling: RopeScaling,
    /// Whether the output projection is the embedding.
    pub tied: bool,
    /// Biases on query, key and value projections.
    pub qkv_bias: bool,
    /// Norms on each query and key head.
    pub qk_norm: bool,
    /// For each layer how many keys back a query sees; all where `None`.
    pub windows: Vec<Option<usize>>,
    /// The longest context that the model was made for.
    pub max_positions: usize,
    /// The file itself, to be written out again.
    pub raw: Value,
}

/// Above any model's sizes: what is larger is a broken or hostile file.
const MAX_SIZE: u64 = 1 << 24;

/// The same for the width of the residual stream and of all heads; with it no product of sizes overflows.
const MAX_WIDTH: usize = 1 << 20;

struct Fields<'a>(&'a Value);

impl Fields<'_> {
    fn size(&self, name: &str) -> Result<Option<usize>, Error> {
        match &self.0[name] {
            Value::Null => Ok(None),
            value => match value.as_u64() {
                Some(n) if (1..=MAX_SIZE).contains(&n) => Ok(Some(n as usize)),
                _ => Err(Error::input(format!(
                    "`{name}` is {value}, expected an integer from 1 to {MAX_SIZE}"
                ))),
            },
        }
    }

    fn required(&self, name: &str) -> Result<usize, Error> {
        self.size(name)?.ok_or_else(|| Error::input(format!("missing `{name}`")))
    }

    fn number(&self, name: &str) -> Result<Option<f64>, Error> {
        match &self.0[name] {
            Value::Null => Ok(None),
            value => match value.as_f64().filter(|x| x.is_finite() && *x > 0.0) {
                Some(x) => Ok(Some(x)),
                None => Err(Error::input(format!("`{name}` is {value}, expected a positive number"))),
            },
        }
    }

    fn flag(&self, name: &str, default: bool) -> Result<bool, Error> {
        match &self.0[name] {
            Value::Null => Ok(default),
            Value::Bool(b) => Ok(*b),
            value => Err(Error::input(format!("`{name}` is {value}, expected true or false"))),
        }
    }
}

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
        let f = Fields(&raw);
        let family = family(&raw)?;
        let n_layers = f.required("num_hidden_layers")?;
        if n_layers > 1024 {
            return Err(Error::input(format!("`num_hidden_layers` is {n_layers}, expected at most 1024")));
        }
        let d_model = f.required("hidden_size")?;
        let n_heads = f.required("num_attention_heads")?;
        let n_kv_heads = f.size("num_key_value_heads")?.unwrap_or(n_heads);
        if n_heads % n_kv_heads != 0 {
            return Err(Error::input(format!(
                "`num_key_value_heads` is {n_kv_heads}, expected a divisor of num_attention_heads {n_heads}"
            )));
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
        match raw["hidden_act"].as_str() {
            None | Some("silu") => {}
            Some(other) => return Err(Error::input(format!("`hidden_act` is {other}, expected silu"))),
        }
        if f.flag("mlp_bias", false)? {
            return Err(Error::input("`mlp_bias` is true, which is not implemented"));
        }
        let attention_bias = f.flag("attention_bias", family == Family::Qwen2)?;
        if attention_bias && family != Family::Qwen2 {
            return Err(Error::input("`attention_bias` is true, which is implemented for qwen2 only"));
        }
        let (rope_theta, rope_scaling) = rope(&raw)?;
        Ok(Self {
            family,
            n_layers,
            d_model,
            n_heads,
            n_kv_heads,
            d_head,
            d_mlp: f.required("intermediate_size")?,
            vocab: f.required("vocab_size")?,
            norm_eps: f.number("rms_norm_eps")?.unwrap_or(1e-6),
            rope_theta,
            rope_scaling,
            tied: f.flag("tie_word_embeddings", false)?,
            qkv_bias: family == Family::Qwen2,
            qk_norm: family == Family::Qwen3,
            windows: windows(&raw, n_layers)?,
            max_positions: f.size("max_position_embeddings")?.unwrap_or(4096),
            raw,
        })
    }

    /// The dtype that the file says its weights have, as `bfloat16`.
    pub fn dtype_name(&self) -> Option<&str> {
        self.raw["dtype"].as_str().or(self.raw["torch_dtype"].as_str())
    }

    /// Parameters, from the sizes.
    pub fn n_params(&self) -> u64 {
        let (d, q, kv) = (self.d_model, self.n_heads * self.d_head, self.n_kv_heads * self.d_head);
        let mut block = 2 * d * q + 2 * d * kv + 3 * d * self.d_mlp + 2 * d;
        if self.qkv_bias {
            block += q + 2 * kv;
        }
        if self.qk_norm {
            block += 2 * self.d_head;
        }
        let heads = if self.tied { 1 } else { 2 };
        (self.n_layers * block) as u64 + (heads * self.vocab * d + d) as u64
    }
}

fn family(raw: &Value) -> Result<Family, Error> {
    let architecture = raw["architectures"][0].as_str();
    let name = architecture.or(raw["model_type"].as_str());
    match name {
        Some("Qwen2ForCausalLM" | "qwen2") => Ok(Family::Qwen2),
        Some("Qwen3ForCausalLM" | "qwen3") => Ok(Family::Qwen3),
        Some("LlamaForCausalLM" | "llama") => Ok(Family::Llama),
        Some(other) => Err(Error::input(format!(
            "`architectures` is {other}, expected Qwen2ForCausalLM, Qwen3ForCausalLM or LlamaForCausalLM"
        ))),
        None => Err(Error::input("missing `architectures`")),
    }
}

/// `rope_theta` and `rope_scaling` at top level, or both inside `rope_parameters`. Where a file has both
/// scalings the older one holds, as in `transformers`.
fn rope(raw: &Value) -> Result<(f64, RopeScaling), Error> {
    let inner = &raw["rope_parameters"];
    let theta = Fields(inner).number("rope_theta")?.or(Fields(raw).number("rope_theta")?).unwrap_or(10_000.0);
    let scaling = if raw["rope_scaling"].is_null() { inner } else { &raw["rope_scaling"] };
    if !scaling.is_null() && !scaling.is_object() {
        return Err(Error::input(format!(
            "`rope_scaling` (or `rope_parameters`) is {scaling}, expected an object"
        )));
    }
    if scaling.is_null() {
        return Ok((theta, RopeScaling::None));
    }
    let kind = scaling["rope_type"].as_str().or(scaling["type"].as_str()).unwrap_or("default");
    let field = |name: &str| {
        Fields(scaling).number(name)?.ok_or_else(|| Error::input(format!("`rope_scaling` lacks `{name}`")))
    };
    let scaling = match kind {
        "default" => RopeScaling::None,
        "linear" => RopeScaling::Linear { factor: field("factor")? },
        "llama3" => RopeScaling::Llama3 {
            factor: field("factor")?,
            low: field("low_freq_factor")?,
            high: field("high_freq_factor")?,
            original: field("original_max_position_embeddings")?,
        },
        other => {
            return Err(Error::input(format!("`rope_type` is {other}, expected default, linear or llama3")));
        }
    };
    Ok((theta, scaling))
}

/// Which layers slide, and how far they see.
fn windows(raw: &Value, n_layers: usize) -> Result<Vec<Option<usize>>, Error> {
    let f = Fields(raw);
    if !f.flag("use_sliding_window", false)? {
        return Ok(vec![None; n_layers]);
    }
    let window = f.required("sliding_window")?;
    if let Some(types) = raw["layer_types"].as_array() {
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
    let full = match &raw["max_window_layers"] {
        Value::Null => n_layers,
        value => value
            .as_u64()
            .ok_or_else(|| Error::input(format!("`max_window_layers` is {value}, expected an integer")))?
            as usize,
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
        assert_eq!((new.rope_theta, new.rope_scaling), (old.rope_theta, old.rope_scaling));
        assert!(matches!(new.rope_scaling, RopeScaling::Llama3 { factor: 8.0, .. }));
        // Both: transformers takes the older field.
        let linear = json!({"rope_type": "linear", "factor": 2.0});
        let both = with(&[("rope_parameters", json!({"rope_type": "default"})), ("rope_scaling", linear)]);
        assert!(matches!(both.unwrap().rope_scaling, RopeScaling::Linear { factor: 2.0 }));
        assert!(with(&[("rope_parameters", json!([]))]).is_err());
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
            ("rope_scaling", json!({"rope_type": "yarn", "factor": 2.0}), "yarn"),
            ("rms_norm_eps", json!("small"), "rms_norm_eps"),
        ];
        for (field, value, expected) in cases {
            let message = with(&[(field, value)]).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        assert!(Config::parse("[1]").is_err());
        assert!(Config::parse("{").is_err());
    }
}
