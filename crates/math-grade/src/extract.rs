//! Where in a response the answer stands: Math-Verify's priorities, by scanning instead of backtracking regular
//! expressions, so that the time is linear in the length of the text.
//!
//! | priority | form |
//! | --- | --- |
//! | 0 | `final answer is X. I hope`, and `\boxed{X}` |
//! | 50 | `final answer … is X` |
//! | 100 | `answer: … X`, and the same in other languages |
//! | 200 | `answer … X`, likewise |
//! | 300 | `X` anywhere |
//!
//! `X` is mathematics in `$…$`, `$$…$$`, `\(…\)`, `\[…\]`, ` [ … ] ` or an expression in running text (several joined by
//! "and", "or" or commas are one list). Within a priority the match that ends last wins, and of those that end
//! together the longest.

use super::anchor::{announcements, positions, skip_copula};
use super::boxes;
use super::environment::{chain_at, environments, first_line, percent_sign};
use super::plain::{numbers, plain_at};
use super::words::{self, Before};

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
    /// The content of a box.
    Boxed(String),
    /// LaTeX from an environment; a percent sign may have followed.
    Latex(String),
    /// An expression in running text.
    Plain(String),
    /// A value that the words around it make a bound, a range or a guess: no answer.
    Refused(String),
    /// A value that the text says is not the answer.
    Excluded,
}

impl Body {
    pub(crate) fn text(&self) -> &str {
        match self {
            Body::Boxed(t) | Body::Latex(t) | Body::Plain(t) | Body::Refused(t) => t,
            Body::Excluded => "",
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
            found.extend(boxed(text));
            for anchor in positions(text, "final answer is") {
                for mut c in at_value(text, anchor.1, priority).into_iter().flatten() {
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
                    .filter(|p| p.0 > anchor.1 && text[..p.0].ends_with(char::is_whitespace))
                    .map(|p| at_value(text, p.1, priority))
                    .find(|hits| hits.iter().any(Option::is_some));
                found.extend(hit.into_iter().flatten().flatten());
            }
        }
        100 | 200 => {
            for (_, end, colon) in announcements(text) {
                if priority == 200 || colon {
                    found.extend(near(text, end, priority));
                }
            }
        }
        _ => {
            found.extend(environments(text, priority));
            let mut taken: Vec<(usize, usize)> = found.iter().map(|c: &Candidate| (c.start, c.end)).collect();
            taken.extend(boxes::spans(text));
            taken.sort_unstable();
            found.extend(numbers(text, priority, &taken));
        }
    }
    found.retain(|c| c.body != Body::Excluded);
    found.sort_by(|a, b| b.end.cmp(&a.end).then(a.start.cmp(&b.start)));
    found.truncate(MAX_CANDIDATES);
    found
}

/// The last box or boxes, with a percent sign that follows: `$\boxed{28}$ percent`.
fn boxed(text: &str) -> Option<Candidate> {
    let b = boxes::last(text)?;
    let after = text[b.end..]
        .trim_start()
        .trim_start_matches(['$', ' '])
        .trim_start_matches("\\)")
        .trim_start_matches("\\]");
    let content = if percent_sign(after).is_some() { format!("{}\\%", b.content) } else { b.content };
    Some(Candidate { priority: 0, start: b.start, end: b.end, body: Body::Boxed(content) })
}

/// `start` plus up to `chars` characters.
fn window(text: &str, start: usize, chars: usize) -> usize {
    text[start..].char_indices().nth(chars).map_or(text.len(), |(i, _)| start + i)
}

/// The value that stands right at `at`, white space and a colon aside: as an environment and as running text.
fn at_value(text: &str, at: usize, priority: u16) -> [Option<Candidate>; 2] {
    let at = at + usize::from(text[at..].starts_with(':'));
    let skipped = text.len() - text[at..].trim_start_matches(|c: char| c.is_whitespace() || c == '*').len();
    match chain_at(text, skipped, priority) {
        Some(c) => [Some(c), None],
        None => [None, plain_at(text, at, skipped, priority, 0)],
    }
}

/// The value that is announced directly; else the first environment within 50 characters of `start`, and the value
/// after the last `=` within 100 characters or else the first within 50.
fn near(text: &str, start: usize, priority: u16) -> Vec<Candidate> {
    let direct = skip_copula(text, start);
    match chain_at(text, direct, priority).or_else(|| plain_at(text, start, direct, priority, 0)) {
        Some(c) if c.body != Body::Excluded => return vec![c],
        _ => {}
    }
    let end = window(text, start, 51);
    let mut out = Vec::new();
    out.extend(
        text[start..end]
            .char_indices()
            .filter_map(|(i, _)| chain_at(text, start + i, priority))
            .find(|c| c.body != Body::Excluded),
    );
    let line_end = start + first_line(&text[start..]).len();
    let far = window(text, start, 100).min(line_end);
    // Without announcement right before it, no variable begins a value.
    let value = |from: usize, at: usize, floor: usize| {
        plain_at(text, from, at, 300, floor)
            .filter(|c| !text[c.end..].trim_start().starts_with('='))
            .map(|c| Candidate { priority, ..c })
    };
    let after_equals = text[start..far].rmatch_indices('=').find_map(|(i, _)| {
        let at = start + i + 1;
        value(at - 1, text.len() - text[at..].trim_start().len(), 0).filter(|c| c.body != Body::Excluded)
    });
    let first = || {
        let mut floor = 0;
        text[start..end.min(line_end)].char_indices().find_map(|(i, c)| {
            let at = start + i;
            if at < floor || c.is_whitespace() {
                return None;
            }
            let found = value(at, at, floor)?;
            if found.body == Body::Excluded {
                floor = found.end;
                return None;
            }
            Some(found)
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

/// The letter given within a few words after the last announcement: `answer is (C)`, `Answer: **B**`. An `A` before a
/// small letter is an article. Not where there is a box, which says what it says, nor where other letters are offered
/// beside it ("A or B") or it is excluded ("not A").
pub(crate) fn choice(text: &str) -> Option<&str> {
    if text.contains("\\boxed") {
        return None;
    }
    if let Some(letter) = option(text) {
        return Some(letter);
    }
    announcements(text).into_iter().rev().find_map(|(_, anchor, _)| {
        let window = &text[anchor..window(text, anchor, 40)];
        window.char_indices().find_map(|(i, c)| {
            let after = &window[i + c.len_utf8()..];
            let article = after.strip_prefix(' ').is_some_and(|r| r.starts_with(char::is_lowercase));
            let letter = ('A'..='J').contains(&c) && alone(&window[..i], after);
            let article = article && !words::offers_another(after);
            (letter && !article && words::before(text, anchor + i, anchor) != Before::Negated)
                .then(|| (!words::offers_another(after)).then_some(&window[i..=i]))
        })
    })?
}

/// The letter that the last sentence of the kind calls right: "the correct option is C", "option C is correct", "C is the
/// correct choice", "choose option C".
fn option(text: &str) -> Option<&str> {
    const NAMES: [&str; 3] = ["option", "choice", "is the correct"];
    let mut found: Vec<(usize, usize)> = NAMES.iter().flat_map(|name| positions(text, name)).collect();
    found.sort_unstable();
    found.into_iter().rev().find_map(|(start, end)| {
        let before = text[..start].trim_end();
        if text[start..end].starts_with(['i', 'I']) {
            let named =
                ["answer", "option", "choice"].iter().any(|name| text[end..].trim_start().starts_with(name));
            let letter = before.trim_end_matches([')', '*']);
            let at = letter.len().checked_sub(1).filter(|at| letter.is_char_boundary(*at))?;
            return letter_at(text, at).filter(|_| named).map(|(letter, _)| letter);
        }
        let word = before.rsplit(|c: char| !c.is_alphabetic()).next().unwrap_or_default().to_lowercase();
        let is = text[end..].trim_start().strip_prefix("is ");
        let praised = matches!(word.as_str(), "correct" | "right" | "best");
        if let (true, Some(after)) = (praised, is) {
            let (letter, rest) = letter_at(text, text.len() - after.len())?;
            return (!rest.starts_with(char::is_lowercase)).then_some(letter);
        }
        let (letter, rest) = letter_at(text, end)?;
        let rest = rest.strip_prefix("is ").map(|rest| rest.strip_prefix("the ").unwrap_or(rest));
        let right =
            rest.is_some_and(|rest| ["correct", "right", "best"].iter().any(|word| rest.starts_with(word)));
        (right || matches!(word.as_str(), "choose" | "pick" | "select")).then_some(letter)
    })
}

/// The letter of an option at `at`, brackets and emphasis aside, and what follows it; not where others are offered.
fn letter_at(text: &str, at: usize) -> Option<(&str, &str)> {
    let at = at + text[at..].len() - text[at..].trim_start_matches([' ', '(', '*', ':']).len();
    let after = text.get(at + 1..)?;
    let found = text[at..].starts_with(|c: char| ('A'..='J').contains(&c)) && alone(&text[..at], after);
    let rest = after.trim_start_matches([')', '*', ' ']);
    (found && !words::offers_another(after)).then_some((&text[at..=at], rest))
}

/// Whether a character between `before` and `after` is a word of its own.
fn alone(before: &str, after: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() && !words::cjk(c);
    !before.chars().next_back().is_some_and(part) && !after.starts_with(part)
}
