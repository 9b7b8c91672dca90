//! Text to token ids and back, by the `tokenizers` library.

use std::ops::Range;
use std::path::Path;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use tokenizers::Tokenizer;

use crate::Error;

/// A tokenizer.
#[derive(Debug, Clone)]
pub struct Text {
    tokenizer: Tokenizer,
}

impl Text {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// A file that is missing or not a tokenizer.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = crate::checkpoint::read(path)?;
        Self::from_bytes(file.as_bytes()).map_err(|e| Error::at(path, e))
    }

    /// Reads the bytes of a `tokenizer.json`.
    ///
    /// # Errors
    /// Bytes that are not a tokenizer.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        // The library panics on what is nested deeper than its JSON parser goes.
        if depth(bytes) > DEEPEST {
            return Err(Error::input(format!("nested deeper than {DEEPEST} levels, expected a tokenizer")));
        }
        let mut tokenizer = Tokenizer::from_bytes(bytes).map_err(|e| Error::input(e.to_string()))?;
        // Padding and truncation are the caller's; a file may ask for either.
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|e| Error::input(e.to_string()))?;
        Ok(Self { tokenizer })
    }

    /// Token ids of a plain text, with whatever the tokenizer puts in front (Llama's BOS).
    ///
    /// # Errors
    /// What the tokenizer cannot encode.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        self.ids(text, true)
    }

    /// Token ids of a text that has its special tokens already: a rendered chat, or the middle of a text.
    ///
    /// # Errors
    /// What the tokenizer cannot encode.
    pub fn encode_raw(&self, text: &str) -> Result<Vec<u32>, Error> {
        self.ids(text, false)
    }

    /// [`encode_raw`](Self::encode_raw), and the bytes of `text` that each token stands for.
    ///
    /// # Errors
    /// What the tokenizer cannot encode.
    pub fn encode_with_offsets(&self, text: &str) -> Result<(Vec<u32>, Vec<Range<usize>>), Error> {
        let encoding = self.tokenizer.encode(text, false).map_err(|e| Error::input(e.to_string()))?;
        let offsets = encoding.get_offsets().iter().map(|&(start, end)| start..end).collect();
        Ok((encoding.get_ids().to_vec(), offsets))
    }

    fn ids(&self, text: &str, special: bool) -> Result<Vec<u32>, Error> {
        let encoding = self.tokenizer.encode_fast(text, special).map_err(|e| Error::input(e.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of token ids, special tokens left out.
    ///
    /// # Errors
    /// Ids that the tokenizer cannot decode.
    pub fn decode(&self, ids: &[u32]) -> Result<String, Error> {
        self.tokenizer.decode(ids, true).map_err(|e| Error::input(e.to_string()))
    }

    /// The text of token ids, special tokens as they are spelt.
    ///
    /// # Errors
    /// Ids that the tokenizer cannot decode.
    pub fn decode_all(&self, ids: &[u32]) -> Result<String, Error> {
        self.tokenizer.decode(ids, false).map_err(|e| Error::input(e.to_string()))
    }

    /// The id of a token as the tokenizer spells it.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.tokenizer.token_to_id(token)
    }

    /// How many ids the tokenizer has, added tokens included.
    pub fn vocab(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }
}

impl hooks::Encode for Text {
    fn prompt(&self, text: &str) -> Result<Vec<u32>, Error> {
        self.encode(text)
    }

    fn continuation(&self, text: &str) -> Result<Vec<u32>, Error> {
        self.encode_raw(text)
    }
}

/// Far above any tokenizer's nesting.
const DEEPEST: usize = 64;

/// How deep brackets nest in a JSON text.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The largest id in a `tokenizer.json`, without building the tokenizer; `None` where the file does not say.
pub(crate) fn last_id(path: &Path) -> Option<u64> {
    #[derive(Deserialize)]
    struct File {
        model: Model,
        #[serde(default)]
        added_tokens: Vec<Added>,
    }
    #[derive(Deserialize)]
    struct Model {
        vocab: LastId,
    }
    #[derive(Deserialize)]
    struct Added {
        id: u64,
    }
    let file: File = serde_json::from_str(&crate::checkpoint::read(path).ok()?).ok()?;
    file.added_tokens.iter().map(|token| token.id).chain(file.model.vocab.0).max()
}

/// The largest id of a vocabulary: of a map the largest value, of a list the last index.
struct LastId(Option<u64>);

impl<'de> Deserialize<'de> for LastId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Ids;
        impl<'de> Visitor<'de> for Ids {
            type Value = LastId;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map of tokens to ids, or a list of tokens")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<LastId, A::Error> {
                let mut last = None;
                while let Some((_, id)) = map.next_entry::<IgnoredAny, u64>()? {
                    last = last.max(Some(id));
                }
                Ok(LastId(last))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<LastId, A::Error> {
                let mut n = 0u64;
                while list.next_element::<IgnoredAny>()?.is_some() {
                    n += 1;
                }
                Ok(LastId(n.checked_sub(1)))
            }
        }
        deserializer.deserialize_any(Ids)
    }
}
