//! Where in a response the answer stands: Math-Verify's priorities, by scanning instead of backtracking regular
//! expressions, so that the time is linear in the length of the text.
//!
//! | priority | form |
//! | --- | --- |
//! | 0 | `final answer is X. I hope`, and `\boxed{X}` |
//! | 50 | `final answer … is X` |
//! | 100 | `answer: … X` |
//! | 200 | `answer … X` |
//! | 300 | `X` anywhere |
//!
//! `X` is mathematics in `$…$`, `$$…$$`, `\(…\)`, `\[…\]`, ` [ … ] ` or a bare `\frac{1}{2}` (several joined by
//! "and", "or" or commas are one list), or a plain number or calculation. Within a priority the match that ends
//! last wins, and of those that end together the longest; the first that can be read is the answer.

use super::boxes;

/// A stretch of text that may be the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) priority: u16,
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// LaTeX, from an environment or box; a percent sign may have followed.
    Latex(String),
    /// A plain number, with its percent sign if it has one.
    Number(String),
    /// A plain calculation.
    Plain(String),
}

impl Body {
    pub(crate) fn text(&self) -> &str {
        match self {
            Body::Latex(t) | Body::Number(t) | Body::Plain(t) => t,
        }
    }
}

/// Longest text that is searched, in bytes from its end; what is before is never looked at.
pub(crate) const MAX_TEXT: usize = 1 << 18;
/// Most candidates that are tried, best first.
pub(crate) const MAX_CANDIDATES: usize = 24;

/// The candidates of one priority class in the order in which they are to be tried.
pub(crate) fn candidates(text: &str, priority: u16) -> Vec<Candidate> {
    let mut found = Vec::new();
    match priority {
        0 => {
            found.extend(boxes::last(text).map(|b| {
                // `$\boxed{28}$ percent`
                let after = text[b.end..]
                    .trim_start()
                    .trim_start_matches(['$', ' '])
                    .trim_start_matches("\\)")
                    .trim_start_matches("\\]");
                let content =
                    if percent_sign(after).is_some() { format!("{}\\%", b.content) } else { b.content };
                Candidate { priority, start: b.start, end: b.end, body: Body::Latex(content) }
            }));
            for anchor in positions(text, "final answer is") {
                let after = after_optional_colon(text, anchor.1);
                for mut c in at_value(text, after, priority).into_iter().flatten() {
                    let rest = text[c.end..].strip_prefix('.').unwrap_or(&text[c.end..]);
                    if rest.strip_prefix(char::is_whitespace).unwrap_or(rest).starts_with("I hope") {
                        c.end += 7;
                        found.push(c);
                    }
                }
            }
        }
        50 => {
            for anchor in positions(text, "final answer") {
                let window = window(text, anchor.1, 104);
                let hit = positions(&text[anchor.1..window], "is")
                    .into_iter()
                    .map(|p| (anchor.1 + p.0, anchor.1 + p.1))
                    .find_map(|p| {
                        let spaced = p.0 > anchor.1 && text[..p.0].ends_with(char::is_whitespace);
                        let after = after_optional_colon(text, p.1);
                        spaced
                            .then(|| at_value(text, after, priority))
                            .filter(|hits| hits.iter().any(Option::is_some))
                    });
                found.extend(hit.into_iter().flatten().flatten());
            }
        }
        100 | 200 => {
            for anchor in positions(text, "answer") {
                let start = if priority == 100 {
                    if !text[anchor.1..].starts_with(':') {
                        continue;
                    }
                    anchor.1 + 1
                } else {
                    anchor.1
                };
                found.extend(near(text, start, priority));
            }
        }
        _ => {
            found.extend(environments(text, priority));
            found.extend(numbers(text, priority));
        }
    }
    found.sort_by(|a, b| b.end.cmp(&a.end).then(a.start.cmp(&b.start)));
    found.truncate(MAX_CANDIDATES);
    found
}

/// Byte ranges of `needle` (lower-case ASCII) in `text`, letter case ignored, without overlap, the last 64 of them.
fn positions(text: &str, needle: &str) -> Vec<(usize, usize)> {
    let (bytes, needle) = (text.as_bytes(), needle.as_bytes());
    let mut out = std::collections::VecDeque::new();
    let mut i = 0;
    while i + needle.len() <= bytes.len() {
        if bytes[i] | 0x20 == needle[0] && bytes[i..i + needle.len()].eq_ignore_ascii_case(needle) {
            out.push_back((i, i + needle.len()));
            if out.len() > 64 {
                out.pop_front();
            }
            i += needle.len();
        } else {
            i += 1;
        }
    }
    out.into()
}

/// `start` plus up to `chars` characters.
fn window(text: &str, start: usize, chars: usize) -> usize {
    text[start..].char_indices().nth(chars).map_or(text.len(), |(i, _)| start + i)
}

fn after_optional_colon(text: &str, at: usize) -> usize {
    at + usize::from(text[at..].starts_with(':'))
}

/// The value that stands right at `at`, white space aside: as an environment and as a number.
fn at_value(text: &str, at: usize, priority: u16) -> [Option<Candidate>; 2] {
    let skipped = text.len() - text[at..].trim_start().len();
    [chain_at(text, skipped, priority), plain_at(text, at, skipped, priority)]
}

/// The first environment within 50 characters of `start`, and the number after the last `=` within 100 characters
/// or else the first number within 50.
fn near(text: &str, start: usize, priority: u16) -> Vec<Candidate> {
    let end = window(text, start, 51);
    let mut out = Vec::new();
    out.extend(text[start..end].char_indices().find_map(|(i, _)| chain_at(text, start + i, priority)));
    let line_end = start + first_line(&text[start..]).len();
    let far = window(text, start, 100).min(line_end);
    let after_equals = text[start..far].rmatch_indices('=').find_map(|(i, _)| {
        let at = start + i + 1;
        let skipped = text.len() - text[at..].trim_start().len();
        plain_at(text, at - 1, skipped, priority).filter(|c| !text[c.end..].trim_start().starts_with('='))
    });
    let first = || {
        text[start..end.min(line_end)].char_indices().find_map(|(i, c)| {
            let at = start + i;
            if !c.is_whitespace() && c != '=' {
                return None;
            }
            plain_at(text, at, at + c.len_utf8(), priority)
                .filter(|c| !text[c.end..].trim_start().starts_with('='))
        })
    };
    out.extend(after_equals.or_else(first));
    out
}

/// What stands between the last `<answer>` and its `</answer>`.
pub(crate) fn tagged(text: &str) -> Option<&str> {
    let inner = &text[text.rfind("<answer>")? + "<answer>".len()..];
    let inner = inner[..inner.find("</answer>").unwrap_or(inner.len())].trim();
    (!inner.is_empty() && inner.len() < text.len() - 8).then_some(inner)
}

/// A single capital letter, as the answer to a multiple-choice question: `C`, `(C)`, `\text{C}`.
pub(crate) fn is_choice(text: &str) -> bool {
    let text = text.trim().trim_start_matches("\\text").trim_matches(['{', '}', '(', ')', ' ', '.']);
    text.len() == 1 && text.as_bytes()[0].is_ascii_uppercase()
}

/// The letter given within a few words after the last "answer": `answer is (C)`, `Answer: **B**`. An `A` before a
/// small letter is an article. Not where there is a box, which says what it says.
pub(crate) fn choice(text: &str) -> Option<&str> {
    if text.contains("\\boxed") {
        return None;
    }
    positions(text, "answer").into_iter().rev().find_map(|anchor| {
        let window = &text[anchor.1..window(text, anchor.1, 40)];
        window.char_indices().find_map(|(i, c)| {
            let (before, after) = (window[..i].chars().next_back(), &window[i + c.len_utf8()..]);
            let alone =
                !before.is_some_and(char::is_alphanumeric) && !after.starts_with(char::is_alphanumeric);
            let article = after.strip_prefix(' ').is_some_and(|r| r.starts_with(char::is_lowercase));
            (('A'..='J').contains(&c) && alone && !article).then_some(&window[i..=i])
        })
    })
}

// LaTeX environments.

/// All environments, chains joined; from left to right without overlap.
fn environments(text: &str, priority: u16) -> Vec<Candidate> {
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
    while let Some(i) = text[at..].find(['$', '\\', '[', '-']) {
        at += i;
        let kind = ["$$", "\\[", "$", "\\("].iter().position(|d| text[at..].starts_with(d));
        if kind.is_some_and(|k| at < hopeless[k]) {
            at += 1;
            continue;
        }
        match chain_at(text, at, priority) {
            Some(c) => {
                at = c.end;
                out.push(c);
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

/// Up to six environments that begin at `at`, joined by "and", "or" or commas.
fn chain_at(text: &str, at: usize, priority: u16) -> Option<Candidate> {
    let (content, mut end) = environment_at(text, at)?;
    let mut parts = vec![content];
    for _ in 0..5 {
        let rest = text[end..].trim_start();
        let joined =
            [",and", ",or", ", and", ", or", "and", "or", ","].iter().find_map(|j| rest.strip_prefix(j));
        let Some(next) = joined.map(str::trim_start).and_then(|r| environment_at(text, text.len() - r.len()))
        else {
            break;
        };
        parts.push(next.0);
        end = next.1;
    }
    Some(Candidate { priority, start: at, end, body: Body::Latex(parts.join(", ")) })
}

/// The environment that opens at `at`: its content (with the percent sign that follows) and its end.
fn environment_at(text: &str, at: usize) -> Option<(String, usize)> {
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
        (&body[..close], at + 1 + close + 1)
    } else if let Some(body) = rest.strip_prefix("\\(") {
        let close = unescaped(first_line(body), "\\)")?;
        (&body[..close], at + 2 + close + 2)
    } else if let Some(body) = rest.strip_prefix('[') {
        if !before.is_some_and(char::is_whitespace) {
            return None;
        }
        let close = clip(body, 1 << 13).find(['\n', '[', ']']).filter(|i| body[*i..].starts_with(']'))?;
        if !body[close + 1..].starts_with(char::is_whitespace) {
            return None;
        }
        (&body[..close], at + close + 2)
    } else {
        let fraction = bare_fraction(rest)?;
        (&rest[..fraction], at + fraction)
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

/// What follows the percent sign or word at the beginning of `text`, if one is there.
fn percent_sign(text: &str) -> Option<&str> {
    let text = text.trim_start();
    ["\\%", "%", "percentage", "Percentage", "percent", "Percent", "pct", "Pct"]
        .iter()
        .find_map(|p| text.strip_prefix(p))
}

fn next_boundary(text: &str, at: usize) -> usize {
    (at..=text.len()).find(|i| text.is_char_boundary(*i)).unwrap_or(text.len())
}

/// The beginning of a text, so that a search for what is not there stays cheap.
fn clip(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes {
        return text;
    }
    &text[..(0..=bytes).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0)]
}

/// The first line, or its beginning.
fn first_line(text: &str) -> &str {
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

/// The length of a leading `-?\frac{number}{number}`.
fn bare_fraction(rest: &str) -> Option<usize> {
    let mut left = rest.strip_prefix('-').unwrap_or(rest).strip_prefix("\\frac")?;
    for _ in 0..2 {
        let inner = left.strip_prefix('{')?;
        let close = clip(inner, 64).find('}')?;
        let number = inner[..close].strip_prefix('-').unwrap_or(&inner[..close]);
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b',') {
            return None;
        }
        left = &inner[close + 1..];
    }
    Some(rest.len() - left.len())
}

// Plain numbers and calculations.

/// All numbers and calculations that stand after white space, `=` or the beginning.
fn numbers(text: &str, priority: u16) -> Vec<Candidate> {
    let mut out = Vec::new();
    let mut boundary = true;
    // The last 4096 bytes hold the last number of any sensible answer.
    let from = next_boundary(text, text.len().saturating_sub(4096));
    for (i, c) in text[from..].char_indices() {
        let at = from + i;
        if boundary && (c.is_ascii_digit() || "-.(*$€£¥₹".contains(c)) {
            let prefix = if at == 0 { 0 } else { at - 1 };
            out.extend(plain_at(text, prefix, at, priority));
        }
        boundary = c.is_whitespace() || c == '=';
    }
    out
}

/// The calculation or number at `at` (`start` is where its match counts as beginning); the longer of the two.
fn plain_at(text: &str, start: usize, at: usize, priority: u16) -> Option<Candidate> {
    let before = text[..at].chars().next_back();
    if !before.is_none_or(|c| c.is_whitespace() || c == '=') {
        return None;
    }
    let starred = text[at..].strip_prefix("**").map_or(at, |_| at + 2);
    let number = {
        let unsigned = text[starred..]
            .chars()
            .next()
            .filter(|c| "$€£¥₹₽₩₫฿₴".contains(*c))
            .map_or(starred, |c| starred + c.len_utf8());
        number_length(&text[unsigned..]).map(|(n, body)| Candidate {
            priority,
            start,
            end: unsigned + n,
            body: Body::Number(body),
        })
    };
    let calculation = calculation_length(&text[starred..]).map(|n| {
        let body = text[starred..starred + n].trim_end_matches(['.', ',', ':']).trim().to_string();
        Candidate { priority, start, end: starred + n, body: Body::Plain(body) }
    });
    match (number, calculation) {
        (Some(n), Some(c)) => Some(if c.end > n.end { c } else { n }),
        (n, c) => n.or(c),
    }
}

/// A number with thousands separated by commas or spaces, or a decimal point or comma, and a percent sign: its
/// length and its value as plain digits.
fn number_length(text: &str) -> Option<(usize, String)> {
    let bytes = text.as_bytes();
    let sign = usize::from(bytes.first() == Some(&b'-'));
    let digits =
        |from: usize| bytes[from.min(bytes.len())..].iter().take_while(|b| b.is_ascii_digit()).count();
    let whole = digits(sign);
    let mut end = sign + whole;
    let mut value = text[..end].to_string();
    let group = |at: usize| matches!(bytes.get(at), Some(b',' | b' ')) && digits(at + 1) >= 3;
    if (1..=3).contains(&whole) && bytes[sign] != b'0' && group(end) && digits(end + 1) == 3 {
        while group(end) && digits(end + 1) == 3 {
            value.push_str(&text[end + 1..end + 4]);
            end += 4;
        }
        if bytes.get(end) == Some(&b'.') && digits(end + 1) > 0 {
            let n = 1 + digits(end + 1);
            value.push_str(&text[end..end + n]);
            end += n;
        }
    } else if (whole > 0 || sign == 0)
        && matches!(bytes.get(end), Some(b'.' | b','))
        && digits(end + 1) > 0
        && (whole > 0 || bytes[end] == b'.')
    {
        let n = digits(end + 1);
        value.push('.');
        value.push_str(&text[end + 1..end + 1 + n]);
        end += 1 + n;
    } else if whole == 0 {
        return None;
    }
    let rest = text[end..].trim_start();
    if let Some(after) = percent_sign(rest) {
        value.push('%');
        end = text.len() - after.len();
    }
    Some((end, value))
}

/// Digits and signs with at least one operator, like `28/100` or `(3+4)*2`.
fn calculation_length(text: &str) -> Option<usize> {
    let text = clip(text, 256);
    let head = text.trim_start_matches(['-', '(']);
    if text.len() - head.len() > 3 || !head.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let operator = |c: char| "+-*/^()×÷".contains(c);
    let n = text
        .find(|c: char| !c.is_ascii_digit() && c != '.' && c != ' ' && !operator(c))
        .unwrap_or(text.len());
    // The end is a digit or bracket, followed by an end of a word.
    let mut body = text[..n].trim_end();
    body = body.trim_end_matches(|c: char| operator(c) && c != ')' || c == '.' || c == ' ');
    let tail = &text[body.len()..];
    if !tail.starts_with(|c: char| ".,:)$*".contains(c) || c.is_whitespace()) && !tail.is_empty() {
        // `3 + 4x`: cut back to the last whole word.
        body = body[..body.rfind(' ')?]
            .trim_end()
            .trim_end_matches(|c: char| operator(c) && c != ')' || c == ' ');
    }
    let inner = body.trim_start_matches(['-', '(']);
    inner.contains(|c: char| operator(c) && c != ')').then_some(body.len())
}
