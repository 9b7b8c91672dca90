//! The known name that an unknown one is probably meant to be.

/// The known name nearest to `word`: one of which it is the beginning, else by the letters to change.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |name: &&str| (!begins(word, name), strsim::damerau_levenshtein(word, name));
    known.into_iter().min_by_key(distance)
}

/// The known name that `word` is so near to that no other is meant.
pub(crate) fn misspelt<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const ALIKE: f64 = 0.6;
    nearest(word, known)
        .filter(|name| begins(word, name) || strsim::normalized_damerau_levenshtein(word, name) >= ALIKE)
}

fn begins(word: &str, name: &str) -> bool {
    word.len() > 2 && name.starts_with(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_nearer_than_few_letters() {
        let sections = ["data", "optimizer", "schedule"];
        assert_eq!(nearest("optim", sections), Some("optimizer"));
        assert_eq!(nearest("dta", sections), Some("data"));
    }

    #[test]
    fn other_words_are_no_misspellings() {
        let fields = ["input_ids", "attention_mask"];
        for (word, meant) in [
            ("attn_mask", Some("attention_mask")),
            ("attention", Some("attention_mask")),
            ("input_id", Some("input_ids")),
            ("position_ids", None),
            ("token_type_ids", None),
            ("labels", None),
            ("id", None),
        ] {
            assert_eq!(misspelt(word, fields), meant, "{word}");
        }
    }
}
