//! Delimited mathematics in a text: `$…$`, `$$…$$`, `\(…\)`, `\[…\]`, ` [ … ] `.

use super::extract::{Body, Candidate};
use super::plain::{Part, value_from};

/// All environments, lists joined; from left to right without overlap.
pub(crate) fn environments(text: &str, priority: u16) -> Vec<Candidate> {
    let mut out = Vec::new();
    // Of a very long text only the last lines: an answer without any anchor stands at the end or is none.
    let far = text.len().saturating_sub(1 << 16);
    let mut at = if far == 0 {
        0
    } else {
        (far..text.len()).find(|i| text.as_bytes()[*i] == b'\n').unwrap_or_else(|| next_boundary(text, far))
    };
    // After a delimiter that nothing closes, the same one is not tried again within half of what was searched.
    let mut hopeless = [0_usize; 4];
    while let Some(i) = text[at..].find(['$', '\\', '[']) {
        at += i;
        let kind = ["$$", "\\[", "$", "\\("].iter().position(|d| text[at..].starts_with(d));
        if kind.is_some_and(|k| at < hopeless[k]) {
            at += 1;
            continue;
        }
        match chain_at(text, at, priority) {
            Some(c) => {
                at = c.end.max(at + 1);
                if c.body != Body::Excluded {
                    out.push(c);
                }
            }
            None => {
                if let Some(k) = kind {
                    hopeless[k] = at + if k < 2 { 1 << 13 } else { first_line(&text[at..]).len() / 2 };
                }
                at += 1;
            }
        }
        if out.len() > 4096 {
            out.drain(..2048);
        }
    }
    out
}

/// The environment that begins at `at`, with those that are joined to it by "and", "or" or commas.
pub(crate) fn chain_at(text: &str, at: usize, priority: u16) -> Option<Candidate> {
    let (content, end) = environment_at(text, at)?;
    let first = Part { text: content, end, latex: true };
    Some(value_from(text, (at, at), first, priority, 0))
}

/// The environment that opens at `at`: its content (with the percent sign that follows) and its end.
pub(crate) fn environment_at(text: &str, at: usize) -> Option<(String, usize)> {
    let rest = text.get(at..)?;
    let before = text[..at].chars().next_back();
    if before == Some('\\') {
        return None;
    }
    let (content, end) = if let Some(body) = rest.strip_prefix("$$") {
        let close = unescaped(clip(body, 1 << 14), "$$")?;
        (&body[..close], at + 2 + close + 2)
    } else if let Some(body) = rest.strip_prefix("\\[") {
        let close = unescaped(clip(body, 1 << 14), "\\]")?;
        (&body[..close], at + 2 + close + 2)
    } else if let Some(body) = rest.strip_prefix('$') {
        if before.is_some_and(|c| c.is_ascii_digit()) {
            return None;
        }
        let close = unescaped(first_line(body), "$")?;
        // `$10 and $30` are two amounts of money.
        let money = body.starts_with(|c: char| c.is_ascii_digit() || c == '.');
        let sentence = is_sentence(&body[..close]);
        if sentence
            || money && body[close + 1..].trim_start_matches('.').starts_with(|c: char| c.is_ascii_digit())
        {
            return None;
        }
        (&body[..close], at + 1 + close + 1)
    } else if let Some(body) = rest.strip_prefix("\\(") {
        let close = unescaped(first_line(body), "\\)")?;
        (&body[..close], at + 2 + close + 2)
    } else {
        let body = rest.strip_prefix('[').filter(|_| before.is_some_and(char::is_whitespace))?;
        let close = clip(body, 1 << 13).find(['\n', '[', ']']).filter(|i| body[*i..].starts_with(']'))?;
        if !body[close + 1..].starts_with(char::is_whitespace) {
            return None;
        }
        (&body[..close], at + close + 2)
    };
    if content.trim().is_empty() {
        return None;
    }
    let after = text[end..].trim_start();
    Some(match percent_sign(after) {
        Some(rest) => (format!("{content}\\%"), text.len() - rest.len()),
        None => (content.to_string(), end),
    })
}

/// Whether what stands between two dollar signs is running text with a number in it, not mathematics.
fn is_sentence(text: &str) -> bool {
    let words = text.split(|c: char| !c.is_ascii_alphabetic()).filter(|w| w.len() > 2).count();
    words > 1 && !text.contains(['\\', '^', '=']) && text.contains(|c: char| c.is_ascii_digit())
}

/// What follows the percent sign or word at the beginning of `text`, if one is there.
pub(crate) fn percent_sign(text: &str) -> Option<&str> {
    let text = text.trim_start();
    ["\\%", "%", "percentage", "Percentage", "percent", "Percent", "pct", "Pct"]
        .iter()
        .find_map(|p| text.strip_prefix(p))
}

pub(crate) fn next_boundary(text: &str, at: usize) -> usize {
    (at..=text.len()).find(|i| text.is_char_boundary(*i)).unwrap_or(text.len())
}

/// The beginning of a text, so that a search for what is not there stays cheap.
pub(crate) fn clip(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes {
        return text;
    }
    &text[..(0..=bytes).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0)]
}

/// The first line, or its beginning.
pub(crate) fn first_line(text: &str) -> &str {
    let text = clip(text, 1 << 13);
    &text[..text.find('\n').unwrap_or(text.len())]
}

/// Where `close` first stands without a backslash before it and not at the very start.
fn unescaped(body: &str, close: &str) -> Option<usize> {
    let mut from = body.chars().next()?.len_utf8();
    loop {
        let i = from + body.get(from..)?.find(close)?;
        if !body[..i].ends_with('\\') {
            return Some(i);
        }
        from = i + 1;
    }
}
