//! Values in running text with the words that qualify them: "not 8" is no value, "7 or 8" is two, "2 million" is
//! `2·10^6`, "at least 6" is a bound.

use super::environment::{clip, environment_at, next_boundary, percent_sign};
use super::extract::{Body, Candidate};
use super::run::run;
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
    let mut refused = qualified == Before::Bound || placed && announced(priority);
    let mut excluded = qualified == Before::Negated || placed && !announced(priority) && !latex;
    for _ in 0..MAX_LIST {
        match after(text, end, announced(priority)) {
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
            After::Join(word, next) => {
                let Some(next) = part_at(
                    text,
                    next,
                    body.contains(|c: char| c.is_ascii_alphabetic()) && announced(priority),
                )
                .filter(|p| p.end > end) else {
                    break;
                };
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
        if at < next || taken.get(span).is_some_and(|s| s.0 <= at) || !starts_value(c) {
            continue;
        }
        let prefix = text[..at].char_indices().next_back().map_or(0, |(i, _)| i);
        let Some(found) = plain_at(text, prefix, at, priority, floor) else { continue };
        next = found.end.max(at + 1);
        floor = next;
        if found.body != Body::Excluded {
            out.push(found);
        }
    }
    out
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
