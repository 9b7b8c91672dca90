//! The embedded base model: weights, configuration and tokenizer.

use std::path::Path;

use burn::tensor::Device;
use model_qwen::Qwen;

use crate::Error;
use common::write_whole;

/// `config.json`: Qwen2, 6 layers × 8 query heads with 2 key/value heads, width 128.
pub const CONFIG_JSON: &str = include_str!("../assets/config.json");
/// `generation_config.json`: greedy, stop at `<eos>`.
pub const GENERATION_CONFIG_JSON: &str = include_str!("../assets/generation_config.json");
/// `tokenizer.json`, the committed output of [`crate::tokenizer_json`].
pub const TOKENIZER_JSON: &str = include_str!("../assets/tokenizer.json");
/// `model.safetensors`: the trained weights, bf16. `examples/train_base_model.rs` made them.
pub const WEIGHTS: &[u8] = include_bytes!("../assets/model.safetensors");

/// The sizes of the toy model.
///
/// # Errors
/// None for the committed file: a test parses it.
pub fn config() -> Result<model_qwen::Config, Error> {
    model_qwen::Config::parse(CONFIG_JSON).map_err(|e| Error::input(format!("assets/config.json: {e}")))
}

/// The trained base model, in f32.
///
/// # Errors
/// None for the committed files: a test loads them.
pub fn base(device: &Device) -> Result<Qwen, Error> {
    Qwen::from_bytes(CONFIG_JSON, WEIGHTS, device).map_err(|e| e.within("embedded model"))
}

/// Writes `config.json`, `generation_config.json`, `tokenizer.json` and `tokenizer_config.json` into the
/// folder `dir`, which it makes.
///
/// # Errors
/// A folder that cannot be made or written.
pub fn write_model_files(dir: &Path) -> Result<(), Error> {
    common::make_folder(dir)?;
    let tokenizer_config = serde_json::json!({
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<eos>", "pad_token": "<pad>",
        "unk_token": "<unk>", "clean_up_tokenization_spaces": false, "model_max_length": 128
    });
    for (name, text) in [
        ("config.json", CONFIG_JSON.to_owned()),
        ("generation_config.json", GENERATION_CONFIG_JSON.to_owned()),
        ("tokenizer.json", crate::tokenizer_json()),
        ("tokenizer_config.json", format!("{tokenizer_config:#}\n")),
    ] {
        write_whole(dir.join(name), text.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `SPARKS_BLESS=1 cargo test -p sparks-toy committed` writes the tokenizer anew.
    #[test]
    fn the_committed_tokenizer_is_the_generated_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/tokenizer.json");
        if std::env::var_os("SPARKS_BLESS").is_some() {
            std::fs::write(&path, crate::tokenizer_json()).expect("written");
        }
        let committed = std::fs::read_to_string(path).expect("assets/tokenizer.json");
        assert_eq!(committed, crate::tokenizer_json());
    }

    #[test]
    fn the_folder_opens_as_a_checkpoint() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        write_model_files(dir.path()).expect("written");
        let checkpoint = model_qwen::Checkpoint::open(dir.path()).expect("opens");
        assert_eq!(checkpoint.stop_ids, [crate::EOS]);
        assert!(checkpoint.warnings.is_empty(), "{:?}", checkpoint.warnings);
        let config = config().expect("parses");
        assert_eq!(config, checkpoint.config);
        assert_eq!((config.n_layers, config.n_heads, config.n_kv_heads, config.d_head), (6, 8, 2, 16));
        assert_eq!((config.d_model, config.d_mlp, config.vocab, config.tied), (128, 384, crate::VOCAB, true));
        assert!((1_100_000..1_200_000).contains(&config.n_params()), "{}", config.n_params());
    }
}
