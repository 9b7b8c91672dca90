//! Python's JSON: `NaN`, `Infinity` and `-Infinity` outside of texts become texts of that name, which the reader
//! of each field accepts or refuses.

use std::borrow::Cow;

/// `text` with these three tokens in quotes. Texts, pair ids among them, stay as they are.
pub(super) fn quoted(text: &str) -> Cow<'_, str> {
    if !text.contains("NaN") && !text.contains("Infinity") {
        return text.into();
    }
    let bytes = text.as_bytes();
    let (mut out, mut copied, mut at, mut inside) = (String::with_capacity(text.len()), 0, 0, false);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => inside = !inside,
            b'\\' if inside => at += 1,
            b'N' | b'I' | b'-' if !inside => {
                let rest = &bytes[at..];
                let tokens = ["NaN", "Infinity", "-Infinity"];
                if let Some(token) = tokens.into_iter().find(|t| rest.starts_with(t.as_bytes())) {
                    out.push_str(&text[copied..at]);
                    out.extend(["\"", token, "\""]);
                    at += token.len();
                    copied = at;
                    continue;
                }
            }
            _ => {}
        }
        at += 1;
    }
    out.push_str(&text[copied..]);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn tokens_are_quoted_and_texts_stay() {
        assert_eq!(quoted(r#"{"a": NaN, "b": [-Infinity, 1]}"#), r#"{"a": "NaN", "b": ["-Infinity", 1]}"#);
        let ids = r#"{"ids": ["NaN", "a \" NaN", "-Infinity→", "\\"], "x": null}"#;
        assert_eq!(quoted(ids), ids);
        assert_eq!(quoted(r#"["\\", NaN]"#), r#"["\\", "NaN"]"#);
    }
}
