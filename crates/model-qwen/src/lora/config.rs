//! `adapter_config.json`: which projections an adapter sits beside, with which rank and scale, as PEFT reads it.
//!
//! What is not implemented and would change the model is refused with its name, never ignored.

use serde_json::{Map, Value, json};

use crate::Error;

/// Which modules get an adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Targets {
    /// PEFT's `all-linear`: every projection of every block, not the output projection of the model.
    AllLinear,
    /// Names, or ends of paths at a dot: `q_proj`, `layers.3.mlp.up_proj`.
    Names(Vec<String>),
    /// A regular expression for whole paths such as `model.layers.3.mlp.up_proj`.
    Pattern(String),
}

/// The options of an adapter, by PEFT's names where they differ: `r`, `lora_alpha`, `use_rslora`,
/// `lora_dropout`, `target_modules`, `exclude_modules`, `layers_to_transform`.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraConfig {
    /// Rank where no pattern says otherwise.
    pub rank: usize,
    /// Numerator of the scale where no pattern says otherwise.
    pub alpha: f64,
    /// Scale `alpha / sqrt(rank)` (Kalajdzievski 2023) and not `alpha / rank`.
    pub rslora: bool,
    /// Dropout before the first factor while training, from 0 and below 1.
    pub dropout: f64,
    /// Modules that get an adapter.
    pub targets: Targets,
    /// Modules that do not, though targeted.
    pub exclude: Option<Targets>,
    /// Blocks that get adapters; all where `None`.
    pub layers: Option<Vec<usize>>,
    /// Ranks of modules whose path ends with a regular expression; the first that fits counts.
    pub rank_pattern: Vec<(String, usize)>,
    /// The same for `alpha`.
    pub alpha_pattern: Vec<(String, f64)>,
    /// Modules that the adapter holds whole, by the ends of their paths: `lm_head`, `mlp` (`modules_to_save`).
    pub whole: Vec<String>,
    /// The model that the adapter was made for, a folder or hub id.
    pub base: Option<String>,
}

/// Above any adapter's rank: what is larger is a broken file.
const MAX_RANK: u64 = 1 << 16;

/// Options that change nothing about a trained adapter in use.
const NEUTRAL: [&str; 17] = [
    "auto_mapping",
    "peft_type",
    "peft_version",
    "task_type",
    "base_model_name_or_path",
    "revision",
    "inference_mode",
    "megatron_config",
    "megatron_core",
    "loftq_config",
    "eva_config",
    "corda_config",
    "lora_ga_config",
    "velora_config",
    "qalora_group_size",
    "ensure_weight_tying",
    "runtime_config",
];

/// Options that are read below.
const READ: [&str; 13] = [
    "r",
    "lora_alpha",
    "use_rslora",
    "lora_dropout",
    "target_modules",
    "exclude_modules",
    "layers_to_transform",
    "layers_pattern",
    "rank_pattern",
    "alpha_pattern",
    "bias",
    "init_lora_weights",
    "modules_to_save",
];

impl LoraConfig {
    /// An adapter of one rank beside the named projections: `q_proj`, `k_proj`, `v_proj`, `o_proj`,
    /// `gate_proj`, `up_proj`, `down_proj`.
    pub fn new(rank: usize, alpha: f64, names: &[&str]) -> Self {
        Self {
            rank,
            alpha,
            rslora: false,
            dropout: 0.0,
            targets: Targets::Names(names.iter().map(|&name| name.to_owned()).collect()),
            exclude: None,
            layers: None,
            rank_pattern: Vec::new(),
            alpha_pattern: Vec::new(),
            whole: Vec::new(),
            base: None,
        }
    }

    /// Reads the text of an `adapter_config.json`.
    ///
    /// # Errors
    /// Text that is not a JSON object, fields of wrong types, options that are not implemented; the message
    /// names the field.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let raw: Value = serde_json::from_str(text).map_err(|e| Error::input(e.to_string()))?;
        let fields = raw.as_object().ok_or_else(|| Error::input("expected a JSON object"))?;
        refuse_what_is_not_implemented(fields)?;
        let modules = targets(&raw["target_modules"], "target_modules")?;
        let rank = raw["r"].as_u64().filter(|r| (1..=MAX_RANK).contains(r));
        let config = Self {
            rank: rank.ok_or_else(|| expected("r", &raw["r"], "a rank from 1 to 65536"))? as usize,
            alpha: number(&raw, "lora_alpha")?.unwrap_or(8.0),
            rslora: flag(&raw, "use_rslora")?,
            dropout: match number(&raw, "lora_dropout")?.unwrap_or(0.0) {
                p if p < 1.0 => p,
                _ => {
                    return Err(expected(
                        "lora_dropout",
                        &raw["lora_dropout"],
                        "a number from 0 and below 1",
                    ));
                }
            },
            targets: modules.ok_or_else(|| Error::input("missing `target_modules`"))?,
            exclude: targets(&raw["exclude_modules"], "exclude_modules")?,
            layers: layers(&raw["layers_to_transform"])?,
            rank_pattern: patterns(&raw, "rank_pattern", |v| {
                v.as_u64().filter(|r| (1..=MAX_RANK).contains(r)).map(|r| r as usize)
            })?,
            alpha_pattern: patterns(&raw, "alpha_pattern", Value::as_f64)?,
            whole: match targets(&raw["modules_to_save"], "modules_to_save")? {
                None => Vec::new(),
                Some(Targets::Names(names)) => names,
                Some(_) => {
                    return Err(expected("modules_to_save", &raw["modules_to_save"], "a list of names"));
                }
            },
            base: raw["base_model_name_or_path"].as_str().map(str::to_owned),
        };
        Ok(config)
    }

    /// The file that PEFT reads.
    pub fn to_json(&self) -> Value {
        let modules = |targets: &Targets| match targets {
            Targets::AllLinear => json!("all-linear"),
            Targets::Names(names) => json!(names),
            Targets::Pattern(pattern) => json!(pattern),
        };
        let ranks: Map<String, Value> =
            self.rank_pattern.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
        let alphas: Map<String, Value> =
            self.alpha_pattern.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
        json!({
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": self.base,
            "inference_mode": true,
            "r": self.rank,
            "lora_alpha": self.alpha,
            "lora_dropout": self.dropout,
            "use_rslora": self.rslora,
            "use_dora": false,
            "bias": "none",
            "fan_in_fan_out": false,
            "init_lora_weights": true,
            "modules_to_save": (!self.whole.is_empty()).then_some(&self.whole),
            "target_modules": modules(&self.targets),
            "exclude_modules": self.exclude.as_ref().map(modules),
            "layers_to_transform": self.layers,
            "layers_pattern": null,
            "rank_pattern": ranks,
            "alpha_pattern": alphas,
        })
    }
}

fn expected(field: &str, value: &Value, what: &str) -> Error {
    Error::input(format!("`{field}` is {value}, expected {what}"))
}

fn flag(raw: &Value, field: &str) -> Result<bool, Error> {
    match &raw[field] {
        Value::Null => Ok(false),
        Value::Bool(b) => Ok(*b),
        other => Err(expected(field, other, "true or false")),
    }
}

fn number(raw: &Value, field: &str) -> Result<Option<f64>, Error> {
    match &raw[field] {
        Value::Null => Ok(None),
        value => match value.as_f64().filter(|x| *x >= 0.0) {
            Some(x) => Ok(Some(x)),
            None => Err(expected(field, value, "a number from 0")),
        },
    }
}

fn targets(value: &Value, field: &str) -> Result<Option<Targets>, Error> {
    let what = "names, a regular expression or all-linear";
    Ok(match value {
        Value::Null => None,
        Value::String(s) if s == "all-linear" => Some(Targets::AllLinear),
        Value::String(pattern) => Some(Targets::Pattern(pattern.clone())),
        Value::Array(names) => {
            let names: Option<Vec<String>> = names.iter().map(|n| n.as_str().map(str::to_owned)).collect();
            Some(Targets::Names(names.ok_or_else(|| expected(field, value, what))?))
        }
        other => return Err(expected(field, other, what)),
    })
}

fn layers(value: &Value) -> Result<Option<Vec<usize>>, Error> {
    let one = |v: &Value| v.as_u64().map(|l| l as usize);
    let bad = || expected("layers_to_transform", value, "a layer or a list of layers");
    Ok(match value {
        Value::Null => None,
        Value::Array(all) => Some(all.iter().map(one).collect::<Option<_>>().ok_or_else(bad)?),
        other => Some(vec![one(other).ok_or_else(bad)?]),
    })
}

fn patterns<T>(
    raw: &Value,
    field: &str,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<Vec<(String, T)>, Error> {
    let bad = |value: &Value| expected(field, value, "an object of numbers above 0");
    match &raw[field] {
        Value::Null => Ok(Vec::new()),
        Value::Object(all) => {
            all.iter().map(|(key, v)| Ok((key.clone(), read(v).ok_or_else(|| bad(v))?))).collect()
        }
        other => Err(bad(other)),
    }
}

/// Options that would make another model than the one that runs here.
fn refuse_what_is_not_implemented(fields: &Map<String, Value>) -> Result<(), Error> {
    let get = |name: &str| fields.get(name).unwrap_or(&Value::Null);
    if !matches!(get("peft_type").as_str(), None | Some("LORA")) {
        return Err(expected("peft_type", get("peft_type"), "LORA"));
    }
    if !matches!(get("bias").as_str(), None | Some("none")) {
        return Err(expected("bias", get("bias"), "none: trained biases are not implemented"));
    }
    if !matches!(get("layers_pattern"), Value::Null) && get("layers_pattern") != &json!("layers") {
        return Err(expected("layers_pattern", get("layers_pattern"), "null or \"layers\""));
    }
    // These initialise by changing the base weights too, so that the adapter fits no published base.
    if let Some(init) = get("init_lora_weights").as_str()
        && ["pissa", "olora", "loftq", "corda", "lora_ga"].iter().any(|name| init.starts_with(name))
    {
        let what = "an initialisation that leaves the base weights alone; convert the adapter with PEFT";
        return Err(expected("init_lora_weights", get("init_lora_weights"), what));
    }
    let empty = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(all) => all.is_empty(),
        Value::Object(all) => all.is_empty(),
        _ => false,
    };
    let unknown = |name: &str| !READ.contains(&name) && !NEUTRAL.contains(&name);
    match fields.iter().find(|(name, value)| unknown(name) && !empty(value)) {
        None => Ok(()),
        Some((name, value)) => Err(Error::input(format!("`{name}` is {value}, which is not implemented"))),
    }
}
