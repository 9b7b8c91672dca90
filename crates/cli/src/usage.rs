//! Usage errors in one line, in the form of every other message: flag, value, what was expected.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// The one-line message of a usage error.
pub(crate) fn message(error: &clap::Error) -> String {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    if let (ErrorKind::InvalidValue, Some(flag), Some(value), Some(ContextValue::Strings(choices))) = (
        error.kind(),
        text(ContextKind::InvalidArg),
        text(ContextKind::InvalidValue),
        error.get(ContextKind::ValidValue),
    ) && !choices.is_empty()
    {
        let flag = flag.split_once(" <").map_or(flag, |(flag, _)| flag);
        return format!("{flag} {value}: expected {}", list(choices));
    }
    let whole = error.to_string();
    let end = whole.find("\n\nFor more information").unwrap_or(whole.len());
    let words: Vec<&str> = whole[..end].split_whitespace().collect();
    words.join(" ").trim_start_matches("error: ").to_owned()
}

/// `a, b or c`.
fn list(choices: &[String]) -> String {
    match choices {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_with_the_flag_and_the_choices() {
        let command = || {
            clap::Command::new("x")
                .arg(clap::Arg::new("by").long("by").value_parser(["head", "layer", "set"]))
                .arg(clap::Arg::new("n").long("n").required(true).value_parser(clap::value_parser!(u32)))
        };
        let of = |args: &[&str]| message(&command().try_get_matches_from(args).expect_err("refused"));
        assert_eq!(of(&["x", "--by", "token"]), "--by token: expected head, layer or set");
        assert!(of(&["x", "--n", "a"]).starts_with("invalid value 'a' for '--n <n>': "));
        let missing = of(&["x"]);
        assert!(missing.contains("--n <n>") && missing.contains("Usage:") && !missing.contains('\n'));
    }
}
