//! Words around an answer that change what it claims: negations, bounds, alternatives, ranges, multiples, retractions.
//! English first; the small words of other languages that announce answers are here too.

use super::environment::{clip, next_boundary};
use super::unit;
use super::vocabulary::*;

/// What the words before a value make of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    Nothing,
    /// "not 8": the value is excluded.
    Negated,
    /// "at least 8", "between 8 …": a bound, not a value.
    Bound,
    /// "over 8": a bound of an announced answer, and elsewhere no answer ("over 8 days").
    Placed,
    /// "negative 8"
    Minus,
}

/// How far words reach that make a value no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The value alone: "5 squared".
    Here,
    /// It and the next: "5 to 6".
    Next,
    /// All of the sentence: "5, but it could be 6".
    Sentence,
}

/// What follows a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum After {
    Nothing,
    /// "is wrong": the value is excluded.
    Negated,
    /// "or more", "to 15", "squared": the value alone is not what is meant.
    Refused(Reach),
    /// Text that belongs to the value (`%`, `p.m.`, a unit, `*10^6`), and where it ends.
    Suffix(String, usize),
    /// Another value may follow at this place, joined by the word.
    Join(&'static str, usize),
    /// At this place the value is given again, rounded: "or about 0.42", "which is roughly 42 %".
    Rounded(usize),
}

/// The words of `text` in lower case.
fn words(text: &str) -> Vec<String> {
    let lower = text.to_lowercase().replace('’', "'");
    lower
        .split(|c: char| !(c.is_alphabetic() || c == '\''))
        .map(|w| w.trim_matches('\'').to_string())
        .filter(|w| !w.is_empty())
        .collect()
}

/// Where the clause that ends at the end of `text` begins.
fn clause(text: &str) -> &str {
    let stop = text.char_indices().rev().take(60).find(|(i, c)| {
        let sentence = ".!?".contains(*c) && text[i + 1..].starts_with(char::is_whitespace);
        sentence || "\n;。！？；$,，".contains(*c)
    });
    let from = text.char_indices().rev().take(60).last().map_or(0, |(i, _)| i);
    stop.map_or(&text[from..], |(i, c)| &text[i + c.len_utf8()..])
}

/// What the clause before `at` (and after `floor`) says about the value at `at`.
pub(crate) fn before(text: &str, at: usize, floor: usize) -> Before {
    let near = next_boundary(text, at.saturating_sub(240)).min(at);
    let clause =
        clause(text[floor.min(at).max(near)..at].trim_end_matches(['$', '(', '\\', '[', '*', ' ', '\n']));
    let mut words = words(clause);
    let from = words.len().saturating_sub(6);
    words.drain(..from);
    if matches!(words.last().map(String::as_str), Some("negative" | "minus")) {
        return Before::Minus;
    }
    let mut kept = words.len();
    loop {
        let last = if kept > 0 { words[kept - 1].as_str() } else { "" };
        let pair = words[kept.saturating_sub(2)..kept].join(" ");
        if pair == "up to" && kept > 2 && has(SUMS, words[kept - 3].as_str()) {
            return Before::Nothing;
        }
        if has(BOUND_PAIRS, pair.as_str()) || has(BOUNDS, last) || each(BOUNDS_CJK).any(|b| last.ends_with(b))
        {
            return Before::Bound;
        }
        let negated = has(NEGATIONS, last)
            || last.ends_with("n't")
            || each(NEGATIONS_CJK).any(|n| last.ends_with(n))
            || matches!(
                pair.as_str(),
                "no es"
                    | "different from"
                    | "far from"
                    | "apart from"
                    | "anything but"
                    | "other than"
                    | "rather than"
                    | "instead of"
            )
            || last == "no" && kept < words.len() && matches!(words[kept].as_str(), "es" | "é" | "è");
        if negated {
            return Before::Negated;
        }
        if has(PLACES, last) {
            return Before::Placed;
        }
        if kept == 0 || !has(FILLERS, last) {
            return Before::Nothing;
        }
        kept -= 1;
    }
}

fn is_cjk(word: &str) -> bool {
    word.chars().all(cjk)
}

/// A letter of a script that is written without spaces.
pub(crate) fn cjk(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}')
}

/// The word at the beginning of `text`, in lower case, and what follows it.
fn first_word(text: &str) -> (String, &str) {
    let n = text.find(|c: char| !(c.is_alphabetic() || "'’".contains(c))).unwrap_or(text.len());
    (text[..n].to_lowercase().replace('’', "'"), &text[n..])
}

/// Whether a number begins `text`, blanks, quotes and currency signs aside.
fn number_follows(text: &str) -> bool {
    let text = text.trim_start_matches([' ', '$', '\\', '(', '*', '-', '−', '€', '£', '√']);
    text.starts_with(|c: char| c.is_ascii_digit() || "π½⅓¼¾⅔".contains(c))
}

/// Skips words like "maybe" and punctuation before a further value; says whether there was one.
fn after_hedges(text: &str) -> (&str, bool) {
    let (mut rest, mut hedged) = (dashed(text), false);
    for _ in 0..5 {
        let (word, next) = first_word(rest);
        let linking =
            hedged && matches!(word.as_str(), "be" | "it" | "it's" | "is" | "the" | "answer" | "as" | "well");
        if !has(HEDGES, word.as_str()) && !linking {
            break;
        }
        hedged = true;
        rest = dashed(next);
    }
    (rest, hedged)
}

/// Without the blanks, commas, colons and dashes at the beginning; a dash right at a word or number is a sign.
fn dashed(text: &str) -> &str {
    let mut rest = text;
    loop {
        let next = rest.trim_start_matches([' ', ',', ':']);
        let next = ["- ", "-- ", "– ", "— ", "—"].iter().find_map(|d| next.strip_prefix(d)).unwrap_or(next);
        if next.len() == rest.len() {
            return rest;
        }
        rest = next;
    }
}

/// What follows the value that ends at `end`. After an announcement a comma joins a list.
pub(crate) fn after(text: &str, end: usize, announced: bool) -> After {
    let text = clip(text, end + 400);
    let place = |rest: &str| text.len() - rest.len();
    let mut rest = text[end..].trim_start_matches(['*', '_', '`', '"', '”', '$', ')', ' ']);
    if let Some(more) = rest.strip_prefix("\\text{") {
        rest = more.trim_start();
    }
    for dots in ["...", "…", "..", "\\ldots", "\\dots"] {
        if let Some(more) = rest.strip_prefix(dots) {
            return if number_follows(more) { After::Refused(Reach::Next) } else { After::Nothing };
        }
    }
    if let Some(more) = rest.strip_prefix(['.', '!', '?', '。', '\n']) {
        let (word, next) = first_word(more.trim_start());
        let another = matches!(word.as_str(), "or" | "maybe" | "perhaps" | "possibly" | "alternatively");
        return if another && number_follows(after_hedges(next).0) {
            After::Refused(Reach::Next)
        } else {
            After::Nothing
        };
    }
    if let Some(more) = rest.strip_prefix("(or ").or_else(|| rest.strip_prefix("(maybe ")) {
        return if number_follows(after_hedges(more).0) {
            After::Refused(Reach::Next)
        } else {
            After::Nothing
        };
    }
    if let Some(at) = rounded(rest) {
        return After::Rounded(place(at));
    }
    if let Some(more) = rest.strip_prefix([',', ';', '，', '、', '；', '/', '&']) {
        let comma = if rest.starts_with('&') { "and" } else { "," };
        let (word, next) = first_word(more.trim_start());
        if has(OR, word.as_str()) && word != "o" || each(OR_CJK).any(|o| more.starts_with(o)) {
            return alternative(text, more.trim_start());
        }
        let (value, hedged) = after_hedges(more);
        return match word.as_str() {
            "and" | "und" | "y" | "et" | "и" => After::Join("and", place(after_hedges(next).0)),
            _ if hedged => After::Join("or", place(value)),
            "not" => After::Nothing,
            _ if doubted(more) => After::Refused(Reach::Sentence),
            _ if announced && !rest.starts_with('/') => After::Join(comma, place(more.trim_start())),
            _ => After::Nothing,
        };
    }
    followed(text, rest)
}

/// The rounded value that the words at `rest` announce.
fn rounded(rest: &str) -> Option<&str> {
    let mut rest = rest.trim_start_matches([',', ' ', '(']);
    let mut words = 0;
    loop {
        let (word, next) = first_word(rest);
        words += 1;
        rest = next.trim_start();
        match word.as_str() {
            "or" | "which" | "that" | "is" | "i" | "e" | "equals" if words < 4 => {
                rest = rest.trim_start_matches(['.', ',', ' '])
            }
            _ if has(ROUNDED, word.as_str()) => break,
            _ => return None,
        }
    }
    number_follows(rest).then_some(rest)
}

/// What the words at `rest`, with no punctuation before them, make of a value.
fn followed(text: &str, rest: &str) -> After {
    let place = |rest: &str| text.len() - rest.len();
    if each(OR_CJK).any(|o| rest.starts_with(o)) {
        return alternative(text, rest);
    }
    if ["ではない", "ではありません", "じゃない", "이 아", "가 아", "是错", "不对"]
        .iter()
        .any(|n| rest.starts_with(n))
    {
        return After::Negated;
    }
    if rest.strip_prefix(['到', '至']).is_some_and(number_follows) {
        return After::Refused(Reach::Next);
    }
    if let Some((name, power)) = UNITS_OF_TEN.iter().find(|(w, _)| is_cjk(w) && rest.starts_with(w)) {
        return After::Suffix(format!("*10^{power}"), place(&rest[name.len()..]));
    }
    let (word, next) = first_word(rest);
    let (second, _) = first_word(next.trim_start());
    let word = word.as_str();
    if has(OR, word) {
        return alternative(text, rest);
    }
    match word {
        "and" | "und" | "y" | "et" | "и" | "e" => {
            let (_, third) = first_word(next.trim_start());
            let (third, _) = first_word(third.trim_start());
            if let Some(more) = next.strip_prefix("/or") {
                return After::Join("or", place(after_hedges(more).0));
            }
            if has(PARTS, third.as_str()) {
                return After::Refused(Reach::Here);
            }
            return After::Join("and", place(after_hedges(next).0));
        }
        "percent" | "percentage" | "pct" | "prozent" | "процентов" | "процента" => {
            return After::Suffix("%".into(), place(next));
        }
        "per" if second == "cent" => {
            return After::Suffix("%".into(), place(next.trim_start()) + second.len());
        }
        "is" | "was" if matches!(second.as_str(), "wrong" | "incorrect" | "not" | "false") => {
            return After::Negated;
        }
        "isn't" => return After::Negated,
        _ => {}
    }
    if let Some((_, power)) = UNITS_OF_TEN.iter().find(|(w, _)| *w == word) {
        return After::Suffix(format!("*10^{power}"), place(next));
    }
    if let Some((half, length)) = super::clock::half_of_day(rest) {
        return After::Suffix(format!(" {half}"), place(&rest[length..]));
    }
    if has(UNARY, word) {
        return After::Refused(Reach::Here);
    }
    if has(BINARY, word) {
        let next = next.trim_start();
        let operand = next.strip_prefix("by ").or_else(|| next.strip_prefix("of ")).unwrap_or(next);
        // "135 metres in 5 minutes", "in 2020": not "3 in 4".
        let digits = operand.bytes().take_while(u8::is_ascii_digit).count();
        let place = matches!(word, "in" | "of" | "over") && operand.len() == next.len();
        let whole = operand[digits..].is_empty()
            || operand[digits..].starts_with(['.', ',', ';', '\n', '!', '?', '*']);
        let phrase = place && (digits == 4 || digits > 0 && !whole);
        if number_follows(operand) && !phrase {
            return After::Refused(Reach::Next);
        }
    }
    if doubted(rest) {
        return After::Refused(Reach::Sentence);
    }
    measured(text, rest)
}

/// A unit after a value, or a noun with an alternative after it.
fn measured(text: &str, rest: &str) -> After {
    let place = |rest: &str| text.len() - rest.len();
    let (word, next) = first_word(rest);
    let (mut name, mut next) = (word.clone(), next);
    if matches!(word.as_str(), "square" | "cubic" | "sq" | "cu") {
        let (second, after) = first_word(next.trim_start_matches(['.', ' ']));
        (name, next) = (format!("{word} {second}"), after);
    }
    let last = name.rsplit(' ').next().unwrap_or_default();
    let known = last != "in" && unit::spelled(last).is_some();
    if known {
        let compound = next.trim_start().strip_prefix("and ").unwrap_or(next.trim_start());
        let compound = compound.strip_prefix(", ").unwrap_or(compound);
        let digits = compound.bytes().take_while(u8::is_ascii_digit).count();
        let (second, _) = first_word(compound[digits..].trim_start());
        if digits > 0 && unit::spelled(&second).is_some() {
            return After::Refused(Reach::Next);
        }
        let power = ["^2", "^3", "²", "³", "^{2}", "^{3}"].iter().find(|p| next.starts_with(**p));
        let power = power.copied().unwrap_or_default();
        return After::Suffix(format!(" \\text{{{name}}}{power}"), place(&next[power.len()..]));
    }
    // "7 red apples or 8"
    let mut noun = rest;
    for _ in 0..3 {
        let (word, after) = first_word(noun);
        if word.is_empty() || word.chars().any(cjk) {
            break;
        }
        let (then, further) = first_word(after.trim_start_matches([' ', ',']));
        if then == "or" && number_follows(after_hedges(further).0) {
            return After::Join("or", place(after_hedges(further).0));
        }
        noun = after.trim_start_matches(' ');
    }
    After::Nothing
}

/// "or 8", "or maybe 8", "or more"
fn alternative(text: &str, rest: &str) -> After {
    let after = each(OR_CJK).find_map(|o| rest.strip_prefix(o)).unwrap_or_else(|| first_word(rest).1);
    let (value, _) = after_hedges(after);
    let (word, _) = first_word(value);
    if has(OPEN_ENDED, word.as_str()) {
        return After::Refused(Reach::Here);
    }
    After::Join("or", text.len() - value.len())
}

/// The rest of the sentence brings another value as possible: "but it could also be 12".
fn doubted(rest: &str) -> bool {
    let end = rest
        .char_indices()
        .find(|(i, c)| {
            "\n。".contains(*c)
                || ".!?".contains(*c) && !rest[i + 1..].starts_with(|c: char| c.is_ascii_digit())
        })
        .map_or(rest.len(), |(i, _)| i);
    let sentence: String = rest[..end].chars().take(90).collect();
    let lower = sentence.to_lowercase();
    if lower.contains("otherwise") {
        return true;
    }
    [
        "maybe ",
        "perhaps ",
        "possibly ",
        "alternatively",
        "could also be",
        "could be",
        "might be",
        "might also be",
        "may also be",
        "may be ",
    ]
    .iter()
    .filter_map(|h| lower.find(h).map(|i| &lower[i + h.len()..]))
    .any(|after| number_follows(after.trim_start_matches([' ', ',', ':'])))
}

/// Whether a text between two boxes only separates them, so that they are one list. A retraction, a new sentence that
/// does not begin with "or" or "and", and plain prose without a separator end it.
pub(crate) fn separates(between: &str) -> bool {
    let text = between.replace("\\text", " ").replace("\\quad", " ").replace("\\qquad", " ");
    let words = words(&text);
    let listing = |w: &str| {
        matches!(
            w,
            "and" | "or" | "as" | "well" | "also" | "respectively" | "another" | "und" | "y" | "et" | "и"
        ) || has(OR, w)
            || has(HEDGES, w)
            || has(OR_CJK, w)
            || matches!(w, "和" | "与" | "及")
    };
    if words.iter().all(|w| listing(w)) {
        return between.len() < 70;
    }
    if words.iter().any(|w| has(RETRACTIONS, w.as_str()) || w.ends_with("n't"))
        || ["不对", "错", "应该", "更正"].iter().any(|w| between.contains(w))
    {
        return false;
    }
    let sentence = text.char_indices().find_map(|(i, c)| {
        let rest = &text[i + c.len_utf8()..];
        let stop = ".!?".contains(c) && (rest.is_empty() || rest.starts_with([' ', '\n', '$', '*']));
        (stop || "\n。".contains(c)).then_some(rest)
    });
    if let Some(rest) = sentence {
        let (word, _) = first_word(rest.trim_start());
        return listing(&word) && between.len() < 70;
    }
    if words.iter().any(|w| {
        matches!(w.as_str(), "so" | "hence" | "thus" | "therefore" | "answer" | "final" | "gives" | "then")
    }) {
        return false;
    }
    let separated = between.contains([',', ';', '、', '，']) || words.iter().any(|w| w == "and" || w == "or");
    between.len() < 10 || between.len() < 70 && separated
}

/// Whether the text before a box, or the text after it, says that it is not the answer.
pub(crate) fn disowned(text: &str, start: usize, end: usize) -> bool {
    before(text, start, 0) == Before::Negated || matches!(after(text, end, false), After::Negated)
}

/// Whether further letters are offered after an option's letter: "A or B", "A, B".
pub(crate) fn offers_another(after: &str) -> bool {
    let rest = after.trim_start_matches([')', '*', ' ']);
    let (word, next) = first_word(rest);
    let joined = has(OR, &word) || word == "and" || each(OR_CJK).any(|o| rest.starts_with(o));
    let next = if joined { each(OR_CJK).find_map(|o| rest.strip_prefix(o)).unwrap_or(next) } else { rest };
    if !joined && !rest.starts_with([',', '/', '、', '&']) {
        return false;
    }
    let (next, _) = after_hedges(next.trim_start_matches([',', '/', '、', '&', ' ', '(', '*']));
    let next = next.trim_start_matches(['(', '*']);
    next.starts_with(|c: char| ('A'..='J').contains(&c)) && !next[1..].starts_with(char::is_alphanumeric)
}

/// Whether text after a value, with no mathematics in it, makes it something else than the value: "or more", "squared",
/// "is wrong".
pub(crate) fn alters(phrase: &str) -> bool {
    let words = words(phrase);
    let small = |w: &String| {
        has(UNARY, w) || has(OPEN_ENDED, w) && w != "so" || has(HEDGES, w) && w != "also" || has(NEGATIONS, w)
    };
    words.iter().any(|w| small(w) || matches!(w.as_str(), "or" | "wrong" | "incorrect" | "false"))
}

/// The power of ten that the first word of a phrase names, and the rest: "million dollars".
pub(crate) fn magnitude(phrase: &str) -> Option<(u32, &str)> {
    let (word, rest) = first_word(phrase.trim_start());
    UNITS_OF_TEN.iter().find(|(w, _)| *w == word).map(|(_, power)| (*power, rest.trim_start()))
}
