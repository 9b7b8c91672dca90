//! From a text to the answer that it gives: the text itself where it is nothing but an answer, else the best candidate.

use std::borrow::Cow;

use super::ast::Expr;
use super::equal::Scalars;
use super::extract::{self, Body, Candidate};
use super::lex::{self, Words, words_of};
use super::parse::{Answer, parse, parse_euler};
use super::words::cjk;
use super::{GradeOptions, MatchType, anchor, boxes, choice, compare};

/// What was made of one text.
#[derive(Default)]
pub(crate) struct Reading {
    /// The extracted text of the best candidate, readable or not.
    pub(crate) text: Option<String>,
    /// Its readings: one, or more where the text is ambiguous (`1,22` as a decimal, `3e+2` as a sum).
    pub(crate) answers: Vec<Answer>,
    /// The letter of an option and what its text says: `(B) 14`.
    pub(crate) option: Option<(char, Vec<Answer>)>,
    /// The answer is nothing but the text, or it is in a box or a tag, or words say that it is the answer.
    pub(crate) announced: bool,
    /// Something was given, but as a bound, a range or a guess.
    pub(crate) refused: bool,
}

impl Reading {
    fn new(text: String, answers: Vec<Answer>) -> Reading {
        let option = choice::split(&text).map(|(letter, rest)| (letter, readings(&rest, Words::Letters)));
        Reading { text: Some(text), answers, option, announced: true, refused: false }
    }

    /// A letter as the whole answer.
    pub(crate) fn of_letter(letter: &str) -> Reading {
        Reading::new(letter.to_string(), readings(letter, Words::Letters))
    }

    /// The letter, where the answer is one and nothing else.
    pub(crate) fn letter(&self) -> Option<char> {
        choice::letter(self.text.as_deref()?)
    }

    /// The answer as it was understood.
    pub(crate) fn shown(&self) -> Option<String> {
        self.answers.first().map(|a| a.expr.to_string()).or_else(|| self.text.clone())
    }
}

/// All readings of a text.
fn readings(text: &str, words: Words) -> Vec<Answer> {
    parse(text, words).into_iter().chain(parse_euler(text, words)).collect()
}

/// The part of `text` that is looked at.
pub(crate) fn tail<'a>(text: &'a str, options: &GradeOptions) -> &'a str {
    let mut text = text;
    if options.after_think_only
        && let Some(i) = text.rfind("</think>")
    {
        text = &text[i + "</think>".len()..];
    }
    let from = text.len().saturating_sub(extract::MAX_TEXT);
    &text[(from..=text.len()).find(|i| text.is_char_boundary(*i)).unwrap_or(text.len())..]
}

/// The priority of an expression that nothing says to be the answer.
const ANYWHERE: u16 = 300;

/// Reads a text: as a bare answer if it is one, else from its best candidate. A box or an expression in running text
/// that cannot be read is no answer; nothing inside or before it is taken instead.
pub(crate) fn read(text: &str, options: &GradeOptions) -> Reading {
    let text = &without_marks(tail(text, options));
    let may = |kind: MatchType| options.match_types.contains(&kind);
    if (may(MatchType::Latex) || !text.contains('\\'))
        && (may(MatchType::Expr)
            || text.contains('\\')
            || may(MatchType::String) && choice::letter(text).is_some())
        && let Some(reading) = bare(text)
    {
        return reading;
    }
    let mut first_text = None;
    for priority in [0, 50, 100, 200, ANYWHERE] {
        // Tags of a template come before mere words.
        if priority == 100
            && let Some(inner) = extract::tagged(text)
        {
            return read(inner, options);
        }
        for candidate in extract::candidates(text, priority) {
            let kind = match &candidate.body {
                Body::Plain(t) if !t.contains('\\') => MatchType::Expr,
                _ => MatchType::Latex,
            };
            if let Body::Refused(_) = candidate.body {
                return Reading { refused: true, ..Reading::default() };
            }
            if !may(kind) {
                continue;
            }
            let mut answers = understand(&candidate);
            if let Some(number) = exclaimed(text, &candidate) {
                answers.extend(readings(number, Words::Text));
            }
            let text = candidate.body.text();
            if !answers.is_empty() || !matches!(candidate.body, Body::Latex(_)) {
                let announced = priority < ANYWHERE;
                return Reading { announced, ..Reading::new(text.to_string(), answers) };
            }
            first_text.get_or_insert_with(|| text.to_string());
        }
    }
    Reading { text: first_text, ..Reading::default() }
}

/// Largest number whose exclamation mark at a sentence's end can only be a factorial: 20! has 19 digits.
const LARGEST_FACTORIAL: u64 = 20;

/// The number before an exclamation mark that ends a sentence of running text and may be no factorial: "It is 42!".
fn exclaimed<'a>(text: &str, candidate: &'a Candidate) -> Option<&'a str> {
    let Body::Plain(body) = &candidate.body else { return None };
    let number = body.strip_suffix('!')?.trim_end_matches('!');
    let number = number.rsplit(['=', '≈', ':']).next().unwrap_or(number).trim();
    let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let after = text[candidate.end..].trim_start_matches(['!', '?', '*', '_', '"', '”', ')']);
    let over = after.trim().is_empty()
        || after.starts_with('\n')
        || after.starts_with(' ') && after.trim_start().starts_with(char::is_uppercase);
    (digits && over && number.parse::<u64>().is_ok_and(|n| n > LARGEST_FACTORIAL)).then_some(number)
}

/// Without a calculator's marks, as in GSM8K: `48+24=<<48+24=72>>72`.
fn without_marks(text: &str) -> Cow<'_, str> {
    if !text.contains("<<") || !text.contains(">>") {
        return Cow::Borrowed(text);
    }
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, mark)) = rest.split_once("<<") {
        let close = mark.find(['<', '>', '\n']).filter(|n| mark[*n..].starts_with(">>"));
        out.push_str(before);
        match close {
            Some(n) => rest = &mark[n + 2..],
            None => {
                out.push_str("<<");
                rest = mark;
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// A text that is nothing but an answer: no delimiters, no prose.
fn bare(text: &str) -> Option<Reading> {
    // A dollar sign alone is money; two are mathematics.
    let trimmed = match text.trim() {
        t if t.matches('$').count() == 1 => t.trim_end_matches('$'),
        t => t,
    };
    let trimmed = without_connective(trimmed.trim_end_matches(['€', '£', '¥', '₹']).trim());
    let delimiters = trimmed.matches('$').count() - trimmed.matches("\\$").count();
    if trimmed.len() > lex::MAX_LENGTH || delimiters > usize::from(trimmed.starts_with('$')) {
        return None;
    }
    let delimited = ["\\(", "\\[", "$$", "\\boxed", "\\fbox"].iter().any(|d| trimmed.contains(d));
    if delimited || trimmed.is_empty() || anchor::announces(trimmed) || labelled(trimmed) {
        return None;
    }
    let mut answers = readings(trimmed, words_of(trimmed));
    answers.retain(|a| !is_prose(&a.expr));
    let first = answers.first();
    if first.is_none() {
        // An option's text need not be mathematics: `B) Paris`.
        return choice::split(trimmed)
            .map(|_| Reading::new(trimmed.to_string(), vec![]))
            .filter(|_| trimmed.len() < 64);
    }
    // A comma between digits may be a decimal comma, unless it separates thousands.
    let list = first.is_some_and(|a| matches!(a.expr, Expr::Set(_)));
    let decimal = trimmed.split_once(',').filter(|(a, b)| {
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        list && digits(a.strip_prefix('-').unwrap_or(a)) && digits(b)
    });
    answers.extend(decimal.and_then(|(a, b)| parse(&format!("{a}.{b}"), Words::Text).ok()));
    Some(Reading::new(trimmed.to_string(), answers))
}

/// Without "Thus" or "Therefore," before a formula: no other words follow.
fn without_connective(text: &str) -> &str {
    let rest = ["Thus", "So", "Hence", "Therefore", "Then"].iter().find_map(|word| text.strip_prefix(word));
    let words = |rest: &str| {
        rest.split(|c: char| !c.is_alphabetic()).any(|w| w.chars().count() > 1 && !matches!(w, "or" | "and"))
    };
    rest.filter(|rest| rest.starts_with([' ', ',']) && !words(rest))
        .map_or(text, |rest| rest.trim_start_matches([',', ' ']))
}

/// A label and what it labels ("Total: 5"), or a sentence in a script without spaces.
fn labelled(text: &str) -> bool {
    let label = text.split_once([':', '：']).is_some_and(|(before, _)| {
        let word = before.rsplit(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
        (word.chars().count() > 2 || word.contains(cjk)) && !before.contains('\\')
    });
    label || text.contains(cjk) && text.contains(|c: char| c.is_ascii_digit())
}

/// More than one word of running text in one element.
fn is_prose(e: &Expr) -> bool {
    fn words(e: &Expr) -> usize {
        let name =
            |n: &str| n.chars().filter(|c| c.is_alphabetic()).count() > 1 && !n.contains(['_', '\\', '{']);
        let here = matches!(e, Expr::Sym(n) if name(n));
        usize::from(here) + e.children().into_iter().map(words).sum::<usize>()
    }
    match e {
        Expr::Set(xs) => xs.iter().any(is_prose),
        e => words(e) > 1,
    }
}

/// Reads a candidate; a chain of equations that cannot be read is cut down to its last side. Alternatives that are all
/// equal ("1/2 or 0.5") are one answer.
fn understand(candidate: &Candidate) -> Vec<Answer> {
    let mut answers = match &candidate.body {
        Body::Boxed(text) | Body::Latex(text) => {
            let text = boxes::last(text).map_or_else(|| text.clone(), |b| b.content);
            match readings(&text, Words::Letters) {
                found if found.is_empty() => {
                    last_side(&text).map_or(vec![], |side| readings(side, Words::Letters))
                }
                found => found,
            }
        }
        Body::Plain(text) => readings(text, Words::Text),
        Body::Refused(_) | Body::Excluded => vec![],
    };
    if let Some(Answer { expr, .. }) = answers.first_mut()
        && candidate.body.text().contains(" or ")
        && let Expr::Set(items) = expr
        && items.len() <= 4
    {
        let mut scalars = Scalars::new(GradeOptions::default().float_places);
        if let Some((first, rest)) = items.split_first()
            && rest.iter().all(|e| compare::compare(first, e, &mut scalars).is_equal())
        {
            *expr = first.clone();
        }
    }
    answers
}

/// What follows the last `=` of three sides or more, where there is no list, no text and no rows.
fn last_side(text: &str) -> Option<&str> {
    if text.contains([',', ';'])
        || ["\\\\", "\\begin", "\\text", "\\forall", "\\exists"].iter().any(|c| text.contains(c))
    {
        return None;
    }
    let equals: Vec<usize> = text
        .match_indices('=')
        .map(|(i, _)| i)
        .filter(|&i| !text[..i].ends_with(['\\', '<', '>', '!']))
        .collect();
    equals.last().filter(|_| equals.len() > 1).map(|i| &text[i + 1..])
}
