//! The tokenizer of the toy task: 64 tokens, one for each character and five in angle brackets; as
//! `tokenizer.json` (a BPE without merges) and as two functions that write special tokens out.

use serde_json::{Value, json};

use crate::Error;

/// Fills a batch.
pub const PAD: u32 = 0;
/// Ends a completion.
pub const EOS: u32 = 1;
/// Opens worked steps.
pub const THINK: u32 = 2;
/// Closes worked steps.
pub const THINK_END: u32 = 3;
/// What is in no other token.
pub const UNK: u32 = 63;
/// Number of tokens, and rows of the embedding.
pub const VOCAB: usize = 64;

/// Tokens of several characters, by id. `<think>` and `</think>` are text and survive decoding; the others
/// are special.
const NAMED: [(u32, &str, bool); 5] = [
    (PAD, "<pad>", true),
    (EOS, "<eos>", true),
    (THINK, "<think>", false),
    (THINK_END, "</think>", false),
    (UNK, "<unk>", true),
];

/// Tokens of one character, from id 4.
const CHARACTERS: &str = "0123456789+-*/=()<>.,;:?!_'\"|#% \nabcdefghijklmnopqrstuvwxyz";
const FIRST_CHARACTER: u32 = 4;

fn token(id: u32) -> Option<String> {
    if let Some((_, name, _)) = NAMED.iter().find(|(named, ..)| *named == id) {
        return Some((*name).to_owned());
    }
    let index = id.checked_sub(FIRST_CHARACTER)? as usize;
    CHARACTERS.chars().nth(index).map(String::from)
}

/// Token ids of a text; `<think>`, `<eos>` and their like are one token each.
///
/// # Errors
/// A character that has no token; the message names it.
pub fn encode(text: &str) -> Result<Vec<u32>, Error> {
    let mut ids = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some((id, name, _)) = NAMED.iter().find(|(_, name, _)| rest.starts_with(name)) {
            ids.push(*id);
            rest = &rest[name.len()..];
            continue;
        }
        let index = CHARACTERS.chars().position(|known| known == c).ok_or_else(|| {
            Error::input(format!("toy text {text:?}: {c:?} has no token, expected one of {CHARACTERS:?}"))
        })?;
        ids.push(FIRST_CHARACTER + index as u32);
        rest = &rest[c.len_utf8()..];
    }
    Ok(ids)
}

/// The text of token ids, every token written out: unlike the library's decoder it keeps `<eos>` and `<pad>`,
/// which a reward has to see. An id beyond the vocabulary reads `<unk>`.
pub fn decode(ids: &[u32]) -> String {
    ids.iter().map(|&id| token(id).unwrap_or_else(|| "<unk>".to_owned())).collect()
}

/// The text of `tokenizer.json`, for the `tokenizers` library.
pub fn tokenizer_json() -> String {
    let vocab: serde_json::Map<String, Value> =
        (0..VOCAB as u32).filter_map(|id| token(id).map(|text| (text, json!(id)))).collect();
    let added: Vec<Value> = NAMED
        .iter()
        .map(|(id, content, special)| {
            json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": special})
        })
        .collect();
    let file = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": {"type": "Fuse"},
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                  "ignore_merges": false, "vocab": vocab, "merges": []}
    });
    format!("{file:#}\n")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::TOKENIZER_JSON;

    fn library() -> model_qwen::Text {
        model_qwen::Text::from_bytes(TOKENIZER_JSON.as_bytes()).expect("the asset is a tokenizer")
    }

    #[test]
    fn every_id_has_its_own_token() {
        let tokens: std::collections::BTreeSet<_> = (0..VOCAB as u32).filter_map(token).collect();
        assert_eq!(tokens.len(), VOCAB);
        assert_eq!(token(VOCAB as u32), None);
        assert_eq!(library().vocab(), VOCAB);
        assert!(encode("7×8").expect_err("× is unknown").to_string().contains("'×'"));
        assert_eq!(library().encode("7×8").expect("unknown is a token"), [11, UNK, 12]);
    }

    proptest! {
        #[test]
        fn round_trips_and_agrees_with_the_library(pieces in prop::collection::vec(0u32..VOCAB as u32 - 1, 0..60)) {
            // Ids that spell a named token by its characters merge into it, so start from text.
            let text = decode(&pieces);
            let ids = encode(&text).expect("known characters");
            prop_assert_eq!(&decode(&ids), &text);
            let library = library();
            prop_assert_eq!(&library.encode_raw(&text).expect("encodes"), &ids);
            let visible: Vec<u32> = ids.into_iter().filter(|id| ![PAD, EOS].contains(id)).collect();
            prop_assert_eq!(library.decode(&visible).expect("decodes"), decode(&visible));
        }
    }
}
