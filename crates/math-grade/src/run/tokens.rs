//! The tokens of an expression in running text that need more than one character to be recognised.

use super::super::clock;
use super::super::environment::clip;
use super::super::plain::number_length;
use super::super::unit;
use super::super::vocabulary::has;
use super::{FUNCTIONS, MAX_RUN, Scan, number};

const COMMANDS: &str = "frac|dfrac|tfrac|cfrac|binom|sqrt|overline|mathbb|left|right|pi|infty|circ|degree|emptyset|\
    lfloor|rfloor|lceil|rceil|lvert|rvert|alpha|beta|gamma|delta|theta|lambda|mu|phi|varphi|omega|sigma|tau|epsilon";
const OPERATOR_COMMANDS: &str = "cdot|times|pm|mp|div|le|leq|ge|geq|ne|neq|in|cup|cap|approx|ast|lt|gt";

impl Scan<'_> {
    pub(super) fn number(&mut self) -> bool {
        let rest = self.rest();
        let separated = rest.bytes().take_while(u8::is_ascii_digit).count();
        if (1..=3).contains(&separated) && rest[separated..].starts_with(",\\!") {
            return self.grouped(separated);
        }
        if self.open.is_empty()
            && let Some((n, value)) = number_length(rest)
        {
            self.out.push_str(&value);
            self.at += n;
            return self.exponent() && self.done(true);
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let decimals =
            rest[digits..].strip_prefix('.').map_or(0, |r| r.bytes().take_while(u8::is_ascii_digit).count());
        let n = digits + if decimals > 0 { 1 + decimals } else { 0 };
        self.out.push_str(&rest[..n]);
        self.at += n;
        self.exponent() && self.done(true)
    }

    /// `10,\!080`, whose commas can only separate thousands.
    fn grouped(&mut self, first: usize) -> bool {
        self.take(first, true);
        while let Some(rest) = self.rest().strip_prefix(",\\!") {
            let group = rest.trim_start();
            if group.bytes().take_while(u8::is_ascii_digit).count() != 3 {
                break;
            }
            self.at = self.text.len() - group.len();
            self.take(3, true);
        }
        true
    }

    /// `e5`, `E-4` directly after a number.
    fn exponent(&mut self) -> bool {
        let rest = self.rest();
        if let Some(power) = rest.strip_prefix(['e', 'E']) {
            let digits = power.strip_prefix(['-', '+', '−']).unwrap_or(power);
            let n = digits.bytes().take_while(u8::is_ascii_digit).count();
            if n > 0 && !digits[n..].starts_with(char::is_alphabetic) {
                let length = rest.len() - digits.len() + n;
                self.out.push_str(&rest[..length].replace('−', "-"));
                self.at += length;
            }
        }
        true
    }

    /// Variables, products of them right at a number, and names of functions.
    pub(super) fn letters(&mut self, spaced: bool) -> bool {
        if clock::half_of_day(self.rest()).is_some() {
            return false;
        }
        if self.function_ahead() {
            let word = self.word();
            return self.take(word.len(), word == "pi");
        }
        let (word, rest) = (self.word(), self.rest());
        let after = &rest[word.len()..];
        let glued = self.operand && !spaced && self.before().is_some_and(|c| !c.is_whitespace());
        if matches!(word, "x" | "X")
            && self.operand
            && after.trim_start().starts_with(|c: char| c.is_ascii_digit())
        {
            // 2 x 10^6
            self.out.push('×');
            self.at += 1;
            return self.done(false);
        }
        if word == "mod" && self.operand {
            return self.take(3, false);
        }
        if word.len() > 1 {
            let symbols = word.len() <= 3
                && !matches!(word, "th" | "st" | "nd" | "rd" | "am" | "pm")
                && unit::spelled(word).is_none();
            let in_formula =
                self.operand && glued || !self.operand && !self.out.trim().is_empty() && word.len() == 2;
            let word_like =
                after.starts_with('\'') || after.starts_with('’') || self.out.ends_with(['-', '–']) && !glued;
            return symbols
                && in_formula
                && !word_like
                && !is_small_word(word)
                && self.take(word.len(), true);
        }
        // 500g of flour
        if glued
            && after.starts_with(" of ")
            && matches!(word, "m" | "g" | "s" | "h" | "l" | "L")
            && number(self.out.rsplit('=').next().unwrap_or_default().trim())
        {
            return false;
        }
        // 1,000.99m²
        if glued
            && word == "m"
            && after.starts_with(['²', '³'])
            && self.out.contains('.')
            && number(&self.out)
        {
            return false;
        }
        // A letter alone is a word (`a`, `I`) or a unit where words follow, and else a variable.
        let words_follow = after.strip_prefix(' ').is_some_and(|r| {
            let next = r.split(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
            next.chars().count() > 1 && !has(FUNCTIONS, next)
        });
        if after.starts_with(['\'', '’']) && !after[1..].starts_with('(')
            || matches!(word, "a" | "A" | "I") && words_follow
        {
            return false;
        }
        if spaced && self.operand && matches!(word, "m" | "g" | "s" | "h" | "l" | "L") {
            return false;
        }
        let abbreviation =
            after.strip_prefix('.').is_some_and(|r| r.starts_with(|c: char| c.is_ascii_alphabetic()));
        if spaced && self.operand && words_follow || abbreviation {
            return false; // i.e.
        }
        self.take(1, true)
    }

    /// `\name` with the groups that follow it directly.
    pub(super) fn command(&mut self) -> bool {
        let rest = self.rest();
        let name = rest[1..].split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        if name.is_empty() {
            return match rest[1..].chars().next() {
                Some('%') => self.operand && self.take(2, true),
                Some('$')
                    if !self.operand && rest[2..].starts_with(|c: char| c.is_ascii_digit() || c == '.') =>
                {
                    self.at += 2;
                    true
                }
                Some(',' | ';' | '!' | ' ' | ':') => {
                    self.at += 2;
                    self.out.push(' ');
                    true
                }
                Some('{') => {
                    self.open.push('}');
                    self.take(2, false)
                }
                Some('}') => self.open.pop().is_some() && self.take(2, true),
                _ => false,
            };
        }
        if name == "begin" {
            return self.environment();
        }
        if matches!(name, "text" | "textbf" | "mathrm" | "mbox")
            && self.out.trim().is_empty()
            && self.announced
        {
            self.out.push_str(&rest[..=name.len()]);
            self.at += 1 + name.len();
            return self.group() && self.done(true);
        }
        // Text beside a value is its unit, and text before it a word or an option's letter: read elsewhere.
        if !has(COMMANDS, name) && !has(OPERATOR_COMMANDS, name) && !has(FUNCTIONS, name) {
            return false;
        }
        self.out.push_str(&rest[..=name.len()]);
        self.at += 1 + name.len();
        if has(OPERATOR_COMMANDS, name) {
            return self.done(false);
        }
        if matches!(name, "left" | "right") {
            return true;
        }
        let groups = matches!(name, "frac" | "dfrac" | "tfrac" | "binom" | "sqrt" | "overline" | "mathbb");
        while groups && self.rest().starts_with(['{', '[']) {
            if !self.group() {
                return false;
            }
        }
        let operand = !has(FUNCTIONS, name) || groups;
        self.done(operand)
    }

    /// Copies `\begin{pmatrix}…\end{pmatrix}`.
    fn environment(&mut self) -> bool {
        let rest = clip(self.rest(), 2 * MAX_RUN);
        let name = rest["\\begin".len()..].split('}').next().unwrap_or_default();
        let end = format!("\\end{name}}}");
        rest.find(&end).is_some_and(|n| self.take(n + end.len(), true))
    }

    /// Copies a balanced `{…}` or `[…]`.
    fn group(&mut self) -> bool {
        let mut depth = 0_i32;
        for (i, c) in self.rest().char_indices().take(200) {
            depth += i32::from("{[".contains(c)) - i32::from("}]".contains(c));
            if depth == 0 {
                let piece = &self.text[self.at..self.at + i + 1];
                self.out.push_str(piece);
                self.at += i + 1;
                return true;
            }
        }
        false
    }

    /// What stands above or below: a group, a signed number, a letter.
    pub(super) fn script(&mut self) -> bool {
        if self.rest().starts_with('{') {
            return self.group() && self.done(true);
        }
        if self.rest().starts_with(['-', '−']) {
            self.take(self.rest().chars().next().map_or(1, char::len_utf8), false);
        }
        if self.rest().starts_with('(') {
            return self.bracket('(', false);
        }
        let n = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        if n > 0 {
            return self.take(n, true);
        }
        self.rest().starts_with(|c: char| c.is_ascii_alphabetic()) && self.take(1, true)
    }

    /// An opening bracket whose content is mathematics.
    pub(super) fn bracket(&mut self, c: char, spaced: bool) -> bool {
        let inner = &self.rest()[c.len_utf8()..];
        let option = inner.starts_with(|c: char| c.is_ascii_uppercase()) && inner[1..].starts_with(')');
        if option && self.operand && spaced {
            return false; // 27 (D)
        }
        self.open.push(c);
        self.take(c.len_utf8(), false)
    }

    /// `|…|` without blanks at its inner ends.
    pub(super) fn bars(&mut self) -> bool {
        let inner = &self.rest()[1..];
        let close = inner.find('|').filter(|n| (1..40).contains(n));
        close.is_some_and(|n| {
            let content = &inner[..n];
            let math = content.trim() == content && !content.contains(['\n', '|']);
            math && !content.split(|c: char| !c.is_alphabetic()).any(|w| w.len() > 3)
                && self.take(n + 2, true)
        })
    }
}

fn is_small_word(word: &str) -> bool {
    matches!(
        word,
        "is" | "of"
            | "to"
            | "so"
            | "we"
            | "it"
            | "be"
            | "by"
            | "as"
            | "at"
            | "an"
            | "if"
            | "in"
            | "on"
            | "or"
            | "and"
            | "the"
            | "for"
            | "km"
            | "no"
            | "do"
            | "go"
            | "he"
            | "me"
            | "my"
            | "up"
            | "us"
    )
}
