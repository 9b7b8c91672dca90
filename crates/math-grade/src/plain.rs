//! Values in running text with the words that qualify them: "not 8" is no value, "7 or 8" is two, "2 million" is
//! `2·10^6`, "at least 6" is a bound.

use super::environment::{clip, environment_at, next_boundary, percent_sign};
use super::extract::{Body, Candidate};
use super::plain_value;
use super::run::{Run, run};
use super::words::{After, Before, Reach, after, before, cjk};

/// One value of a list.
pub(crate) struct Part {
    pub(crate) text: String,
    pub(crate) end: usize,
    /// From an environment.
    pub(crate) latex: bool,
}

/// Most values that one list in running text has.
const MAX_LIST: usize = 12;

/// The undelimited value at `at` (`start` is where its match counts as beginning), with what qualifies it. `floor` ends
/// the search for words before it.
pub(crate) fn plain_at(
    text: &str,
    start: usize,
    at: usize,
    priority: u16,
    floor: usize,
) -> Option<Candidate> {
    if !boundary(text, at) {
        return None;
    }
    let first = run(text, at, announced(priority))?;
    let first = Part { text: first.text, end: first.end, latex: false };
    Some(value_from(text, (start, at), first, priority, floor))
}

/// Whether a value of this priority stands after words that announce an answer.
fn announced(priority: u16) -> bool {
    priority < 300
}

/// Whether a value may begin here.
fn boundary(text: &str, at: usize) -> bool {
    let before = text[..at].chars().next_back();
    before.is_none_or(|c| c.is_whitespace() || "=:：*\"“(`'_".contains(c) || cjk(c))
}

/// A candidate from its first value: the qualifying words before, the suffixes and further values after.
pub(crate) fn value_from(
    text: &str,
    (start, at): (usize, usize),
    first: Part,
    priority: u16,
    floor: usize,
) -> Candidate {
    let qualified = before(text, at, floor);
    let (mut body, mut end, mut latex) = (first.text, first.end, first.latex);
    if qualified == Before::Minus {
        body = format!("-({body})");
    }
    let placed = qualified == Before::Placed;
    // Without announcement commas separate values only where nothing but values stands between them, and `x = 2 or
    // x = -2` is one list of both.
    let listed = announced(priority) || enumerated(text, at, end);
    let mut lead = assigned(text, at).filter(|_| !announced(priority) && !latex);
    let mut refused = qualified == Before::Bound || placed && announced(priority);
    let mut excluded = qualified == Before::Negated || placed && !announced(priority) && !latex;
    for _ in 0..MAX_LIST {
        match after(text, end, listed) {
            After::Nothing => break,
            After::Negated => {
                excluded = true;
                break;
            }
            After::Refused(reach) => {
                refused = true;
                end = match reach {
                    Reach::Here => end,
                    Reach::Next => next_value(text, end),
                    Reach::Sentence => sentence_end(text, end),
                };
                break;
            }
            After::Suffix(suffix, to) => {
                body.push_str(&suffix);
                end = to.max(end);
            }
            After::Rounded(next) => {
                let Some(part) = part_at(text, next, false) else { break };
                // "30, or about 10 a month" is of something else.
                let noun =
                    text[part.end..].strip_prefix(' ').is_some_and(|r| r.starts_with(char::is_alphabetic));
                refused = !noun && !alike(&body, &part.text);
                end = part.end;
                break;
            }
            After::Join(word, next) => {
                let letters = body.contains(|c: char| c.is_ascii_alphabetic());
                let equation = (lead.is_some() || letters) && is_assignment(&text[next..]);
                let variables = letters && announced(priority) || equation;
                let Some(next) = part_at(text, next, variables).filter(|p| p.end > end) else {
                    break;
                };
                if let (true, Some(lead)) = (equation, lead.take()) {
                    body = format!("{lead}{body}");
                }
                body = format!(
                    "{body}{} {}",
                    if word == "," { ",".into() } else { format!(" {word}") },
                    next.text
                );
                (end, latex) = (next.end, latex || next.latex);
            }
        }
    }
    let body = match (excluded, refused) {
        (true, _) => Body::Excluded,
        (_, true) => Body::Refused(body),
        _ if latex => Body::Latex(body),
        _ => Body::Plain(body),
    };
    Candidate { priority, start, end, body }
}

/// Whether `rounded` is the value of `body` within two percent; also where either cannot be told.
fn alike(body: &str, rounded: &str) -> bool {
    match (plain_value(body), plain_value(rounded)) {
        (Some(a), Some(b)) => (a - b).abs() <= 0.02 * a.abs().max(b.abs()),
        _ => true,
    }
}

/// `x = ` right before `at`.
fn assigned(text: &str, at: usize) -> Option<&str> {
    let before = text[..at].trim_end().strip_suffix('=')?.trim_end();
    let start = before.len() - before.chars().next_back().filter(char::is_ascii_alphabetic)?.len_utf8();
    let alone = text[..start].chars().next_back().is_none_or(|c| c.is_whitespace() || "(,;:*".contains(c));
    alone.then(|| &text[start..at])
}

/// Whether `x = ` or `x ≤ ` begins a text.
fn is_assignment(text: &str) -> bool {
    let rest = text.strip_prefix(|c: char| c.is_ascii_alphabetic());
    rest.is_some_and(|rest| rest.trim_start().starts_with('=')) || is_inequality(text)
}

/// Whether `x ≤ ` begins a text.
fn is_inequality(text: &str) -> bool {
    let rest = text.strip_prefix(|c: char| c.is_ascii_alphabetic()).map(str::trim_start);
    rest.is_some_and(|rest| {
        ["\\le", "\\ge", "\\ne"].iter().any(|c| rest.starts_with(c))
            || rest.starts_with(['≤', '≥', '<', '>', '≠'])
    })
}

/// Whether the value at `at`, which ends at `end`, begins a list of nothing but values: `1, 2, and 4`, and of two or
/// more behind "are".
fn enumerated(text: &str, at: usize, mut end: usize) -> bool {
    let text = clip(text, end + 400);
    let equations = assigned(text, at).is_some();
    if !equations && text[at..end].contains('=') {
        return false;
    }
    for n in 2..MAX_LIST {
        let rest = text[end..].trim_start_matches(['*', '$', '.']);
        let Some(more) = text[end..].strip_prefix(", ").map(str::trim_start) else {
            let (last, joined) = ["and ", "or "]
                .iter()
                .find_map(|word| Some((rest.trim_start().strip_prefix(word)?, true)))
                .unwrap_or((rest, false));
            let over = rest.is_empty() || text[end..].starts_with('.') || rest.starts_with('\n');
            let are = text[..at].trim_end().ends_with(" are") || equations;
            return n > 2
                && (joined && part_at(text, text.len() - last.len(), equations).is_some()
                    || over && (n > 3 || are));
        };
        if let Some(last) = ["and ", "or "].iter().find_map(|word| more.strip_prefix(word)) {
            return part_at(text, text.len() - last.len(), equations).is_some();
        }
        let Some(part) = part_at(text, text.len() - more.len(), equations) else { return false };
        if part.text.contains('=') != equations {
            return false;
        }
        end = part.end;
    }
    false
}

fn part_at(text: &str, at: usize, variables: bool) -> Option<Part> {
    if let Some((text, end)) = environment_at(text, at) {
        return Some(Part { text, end, latex: true });
    }
    run(text, at, variables).map(|r| Part { text: r.text, end: r.end, latex: false })
}

/// The end of the next value of the sentence, or `from`.
fn next_value(text: &str, from: usize) -> usize {
    let stop = sentence_end(text, from);
    let starts = text[from..stop].char_indices().map(|(i, _)| from + i);
    starts.filter(|at| boundary(text, *at)).find_map(|at| part_at(text, at, false)).map_or(from, |p| p.end)
}

fn sentence_end(text: &str, from: usize) -> usize {
    let rest = clip(&text[from..], 400);
    rest.char_indices()
        .find(|(i, c)| {
            "\n。".contains(*c) || ".!?".contains(*c) && rest[i + 1..].starts_with(char::is_whitespace)
        })
        .map_or(from + rest.len(), |(i, _)| from + i)
}

/// All undelimited values from left to right, without overlap with each other or with `taken` (sorted).
pub(crate) fn numbers(text: &str, priority: u16, taken: &[(usize, usize)]) -> Vec<Candidate> {
    let mut out = Vec::new();
    // The last 4096 bytes hold the last number of any sensible answer.
    let from = next_boundary(text, text.len().saturating_sub(4096));
    let (mut next, mut floor, mut span) = (from, from, taken.partition_point(|s| s.1 <= from));
    for (i, c) in text[from..].char_indices() {
        let at = from + i;
        while taken.get(span).is_some_and(|s| s.1 <= at) {
            floor = floor.max(taken[span].1);
            span += 1;
        }
        if at < next || taken.get(span).is_some_and(|s| s.0 <= at) {
            continue;
        }
        let prefix = text[..at].char_indices().next_back().map_or(0, |(i, _)| i);
        if c.is_ascii_alphabetic()
            && let Some(found) = begun_by_variable(text, at, priority, floor)
        {
            (next, floor) = (found.end, found.end);
            out.push(found);
            continue;
        }
        if !starts_value(c) && !text[at..].starts_with("US$") {
            continue;
        }
        let digits = text[at..].bytes().take_while(u8::is_ascii_digit).count();
        if digits > 0 && is_ordinal(&text[at + digits..]) {
            next = at + digits;
            continue;
        }
        let Some(found) = plain_at(text, prefix, at, priority, floor) else { continue };
        next = found.end.max(at + 1);
        floor = next;
        if found.body != Body::Excluded {
            out.push(found);
        }
    }
    out
}

/// Whether a number that ends here is one of an order: "the 13th day".
fn is_ordinal(rest: &str) -> bool {
    let rest = ["st", "nd", "rd", "th"].iter().find_map(|ending| rest.strip_prefix(ending));
    rest.is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
}

/// `x² + 3x - 1`: an expression without announcement whose first term is a variable. An equation is read from its
/// sign on, as any other.
fn begun_by_variable(text: &str, at: usize, priority: u16, floor: usize) -> Option<Candidate> {
    let rest = &text[at + 1..];
    if !boundary(text, at)
        || rest.starts_with(|c: char| c.is_alphanumeric()) && !rest.starts_with(superscript)
    {
        return None;
    }
    // n(n+1)/2, but not f(2)
    let product = rest.starts_with('(') && !"fghpqFGHPQ".contains(&text[at..=at]);
    let related = is_inequality(&text[at..]);
    if !product && !related && !operated(text, at) {
        return None;
    }
    let whole = |r: &Run| {
        r.end > at + 1
            && (related || !r.text.contains('='))
            && (!product || r.text.contains(['+', '-', '−', '/']))
    };
    let first = run(text, at, true).filter(whole)?;
    let first = Part { text: first.text, end: first.end, latex: false };
    Some(value_from(text, (at, at), first, priority, floor)).filter(|c| c.body != Body::Excluded)
}

/// Whether an operator and an operand follow the variable at `at` and its power.
fn operated(text: &str, at: usize) -> bool {
    let rest = &text[at + 1..];
    let power = rest
        .strip_prefix('^')
        .map(|r| r.trim_start_matches(|c: char| c.is_ascii_digit() || "{}".contains(c)));
    let after = power.unwrap_or_else(|| rest.trim_start_matches(superscript));
    let operator = after.trim_start();
    let spaced = after.len() > operator.len();
    let Some(operand) = operator.strip_prefix(|c: char| "+-−–*/×·".contains(c)) else { return false };
    let even = operand.starts_with(char::is_whitespace) == spaced;
    let operand = operand.trim_start();
    let value = operand.starts_with(|c: char| c.is_ascii_digit() || "√(π\\".contains(c))
        || operand.starts_with(|c: char| c.is_ascii_alphabetic())
            && !operand[1..].starts_with(|c: char| c.is_alphabetic() && !superscript(c));
    // "Plan B - 12"
    let dash = "ABCDE".contains(&text[at..=at]) && spaced && operator.starts_with(['-', '–']);
    even && value && !dash
}

fn superscript(c: char) -> bool {
    "⁰¹²³⁴⁵⁶⁷⁸⁹ⁿ".contains(c)
}

/// A character that a value without announcement may begin with.
fn starts_value(c: char) -> bool {
    c.is_ascii_digit() || "-−–.(*$€£¥₹₽\\√∛±πs½⅓⅔¼¾⅛≥≤<>≠".contains(c)
}

/// A number with thousands separated by commas or spaces, or a decimal point or comma, and a percent sign: its
/// length and its value as plain digits.
pub(crate) fn number_length(text: &str) -> Option<(usize, String)> {
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
