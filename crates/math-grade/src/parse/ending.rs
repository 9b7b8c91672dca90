//! What is read off an answer's tokens before they are parsed: units, nouns, multiples of ten, separated thousands.

use num_rational::BigRational;

use super::super::lex::{Kind, Token, Unreadable};
use super::super::unit::{self, Unit};
use super::super::words;
use super::{Parse, literal};

/// The running text at an answer's end.
#[derive(Default)]
pub(super) struct Ending {
    pub(super) unit: Option<Unit>,
    /// Lower case, no spaces.
    pub(super) noun: String,
    /// The power of ten that a word names: 6 for "million".
    pub(super) power: u32,
}

impl Ending {
    /// Cuts running text off the end. Text that changes the value ("or more", "is wrong") makes the whole unreadable.
    pub(super) fn cut(tokens: &mut Vec<Token>, text: &str) -> Parse<Ending> {
        cut_quantifier(tokens);
        let mut end = tokens.len();
        let mut exponent = 1;
        if let [
            ..,
            Token { kind: Kind::Text(_) | Kind::Letter(_), .. },
            Token { kind: Kind::Mark('^'), .. },
            Token { kind: Kind::Number(n, 0), .. },
        ] = &tokens[..]
        {
            exponent = n.parse().unwrap_or(1);
            end -= 2;
        } else if let [
            ..,
            Token { kind: Kind::Text(_), .. },
            Token { kind: Kind::Mark('^'), .. },
            Token { kind: Kind::Mark('{'), .. },
            Token { kind: Kind::Number(n, 0), .. },
            Token { kind: Kind::Mark('}'), .. },
        ] = &tokens[..]
        {
            exponent = n.parse().unwrap_or(1);
            end -= 4;
        }
        let mut start = end;
        while start > 0 && matches!(tokens[start - 1].kind, Kind::Text(_)) {
            start -= 1;
        }
        if start == end
            && let [
                ..,
                Token { kind: Kind::Number(..), .. },
                Token { kind: Kind::Letter(c @ ('m' | 'g' | 's' | 'h' | 'l' | 'L')), spaced: true },
            ] = &tokens[..end]
        {
            let unit = unit::read(&c.to_string(), exponent);
            tokens.truncate(end - 1);
            return Ok(Ending { unit, ..Ending::default() });
        }
        let operand_before = start > 0
            && match &tokens[start - 1].kind {
                Kind::Mark(c) => ")]}'!%|".contains(*c),
                Kind::Command(c) => !matches!(
                    c.as_str(),
                    "and"
                        | "or"
                        | "in"
                        | "le"
                        | "leq"
                        | "ge"
                        | "geq"
                        | "times"
                        | "cdot"
                        | "approx"
                        | "ne"
                        | "neq"
                        | "cup"
                        | "cap"
                ),
                Kind::Row => false,
                _ => true,
            };
        if start < end && operand_before {
            let words: Vec<&str> = tokens[start..end]
                .iter()
                .filter_map(|t| if let Kind::Text(t) = &t.kind { Some(t.as_str()) } else { None })
                .collect();
            let phrase = words.join(" ");
            let (power, phrase) = words::magnitude(&phrase).unwrap_or((0, &phrase));
            if words::alters(phrase) {
                return Err(Unreadable::Syntax);
            }
            let unit = unit::read(phrase, exponent);
            let noun = phrase.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
            tokens.truncate(start);
            return Ok(Ending { unit, noun, power });
        }
        let money = text.contains("\\$") || text.starts_with('$') && text.matches('$').count() == 1;
        let unit = if money { unit::read("dollars", 1) } else { None };
        Ok(Ending { unit, ..Ending::default() })
    }
}

/// Cuts `for all x`, `for every real x`, `for all x \in \mathbb{R}` off the end: it restricts nothing.
fn cut_quantifier(tokens: &mut Vec<Token>) {
    let every = |t: &str| {
        let t = t.trim_start_matches([',', ' ']);
        ["for all", "for every", "for any", "for each"].iter().any(|q| t.starts_with(q))
    };
    let Some(at) = tokens.iter().rposition(|t| matches!(&t.kind, Kind::Text(t) if every(t))) else { return };
    let rest: Vec<&Kind> = tokens[at + 1..].iter().map(|t| &t.kind).collect();
    let set = match rest.as_slice() {
        [] | [Kind::Letter(_)] => true,
        [Kind::Letter(_), Kind::Command(c), Kind::Command(set), ..] if c == "in" => {
            matches!(set.as_str(), "mathbb" | "R" | "Z" | "N" | "Q" | "C") && rest.len() <= 6
        }
        _ => false,
    };
    if set && at > 0 {
        tokens.truncate(at);
        while matches!(tokens.last().map(|t| &t.kind), Some(Kind::Mark(',' | ';'))) {
            tokens.pop();
        }
    }
}

/// `-1,234,567.8` with nothing around it and no space inside, as a number. (`0,125` is a decimal.)
pub(super) fn thousands(tokens: &[Token]) -> Option<BigRational> {
    let (negative, tokens) = match tokens.first()?.kind {
        Kind::Mark('-') => (true, &tokens[1..]),
        _ => (false, tokens),
    };
    if tokens.len() < 3 || tokens.len().is_multiple_of(2) {
        return None;
    }
    let mut digits = String::new();
    for (i, token) in tokens.iter().enumerate() {
        match &token.kind {
            Kind::Number(n, 0) if i % 2 == 0 && (i == 0 || !token.spaced) => {
                let (whole, decimals) = n.split_once('.').unwrap_or((n, ""));
                let fits = if i == 0 { (1..=3).contains(&whole.len()) } else { whole.len() == 3 };
                if !fits || !decimals.is_empty() && i + 1 < tokens.len() {
                    return None;
                }
                digits.push_str(n);
            }
            Kind::Mark(',') if i % 2 == 1 && !token.spaced => {}
            _ => return None,
        }
    }
    if digits.starts_with('0') && tokens.len() == 3 {
        digits.insert(1, '.');
    }
    let value = literal(&digits, 0)?;
    Some(if negative { -value } else { value })
}
