//! Tokens to an expression: recursive descent, lists and relations here, arithmetic in `operand`, functions and
//! operators with bound variables in `function`. Depth and work are bounded, so no input can hang or overflow it.
//!
//! What is ambiguous is read as Math-Verify 0.9 reads it: `1,2` is a set and `32,349` a number; `(1,2)` is an
//! open interval that also passes for a pair; `1 \frac{1}{2}` is mixed; `2\pm1` is two elements; `\{x\}` is `x`.

mod ending;
mod function;
mod list;
mod number;
mod operand;
mod system;

use super::ast::{Expr, RelOp};
use super::clock;
use super::lex::{Kind, Token, Unreadable, Words, lex, may_be_euler};
use super::unit::Unit;
use ending::{Ending, thousands};
use list::collect;
pub(crate) use number::literal;

type Parse<T> = Result<T, Unreadable>;

/// An answer as read: its value, its unit if it carries a known one, and the running text after it.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) expr: Expr,
    pub(crate) unit: Option<Unit>,
    /// `"apples"` of `6 apples`, lower case, no spaces.
    pub(crate) noun: String,
}

impl From<Expr> for Answer {
    fn from(expr: Expr) -> Answer {
        Answer { expr, unit: None, noun: String::new() }
    }
}

/// Deepest nesting that is read.
const MAX_DEPTH: usize = 64;
/// Most steps (operands visited) that one text may take; `\pm` makes the parser read an element twice.
const MAX_STEPS: usize = 20_000;

/// Reads one answer.
pub(crate) fn parse(text: &str, words: Words) -> Parse<Answer> {
    read(text, words, false)
}

/// The other reading of a text with a number like `3e+2`: as a sum.
pub(crate) fn parse_euler(text: &str, words: Words) -> Option<Answer> {
    if may_be_euler(text) { read(text, words, true).ok() } else { None }
}

fn read(text: &str, words: Words, euler: bool) -> Parse<Answer> {
    let text = text
        .trim()
        .trim_end_matches(['.', ',', ';', ':', ' ', '\n', '。', '，'])
        .trim_start_matches([',', ';', ':', ' ']);
    // "≈ 20" gives 20.
    let text = ["\\approx", "≈"].iter().find_map(|a| text.strip_prefix(a)).unwrap_or(text).trim_start();
    if let Some(clock) = clock::read(text) {
        return Ok(Expr::Clock(clock).into());
    }
    let mut tokens = lex(text, words, euler)?;
    if tokens.is_empty() {
        return Err(Unreadable::Empty);
    }
    if let Some(number) = thousands(&tokens) {
        return Ok(Expr::Num(number).into());
    }
    let Ending { unit, noun, power } = Ending::cut(&mut tokens, text)?;
    let expr = Parser::new(tokens).whole()?;
    let expr = match power {
        0 => expr,
        n => operand::multiply(expr, Expr::int(10).pow(Expr::int(n.into()))),
    };
    Ok(Answer { expr, unit, noun })
}

pub(super) struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    steps: usize,
    /// The sign that `\pm` has in this reading.
    plus: bool,
    /// There is a `\pm` somewhere.
    signed: bool,
    /// An element around here is being read once for each sign.
    splitting: bool,
    /// Depth of open `|…|`, in which a bar at an operator's place closes.
    bars: usize,
    /// Variables bound by a sum around here: `i` is then an index, not the imaginary unit.
    bound: Vec<String>,
    /// Inside an integral: its variable, once `d x` was met.
    integral: Option<Option<String>>,
    /// A limit's point was followed by `^{-}`.
    below: bool,
}

impl Parser {
    pub(super) fn new(tokens: Vec<Token>) -> Self {
        let signed = tokens.iter().any(|t| matches!(&t.kind, Kind::Command(c) if c == "pm" || c == "mp"));
        Parser {
            tokens,
            at: 0,
            depth: 0,
            steps: 0,
            plus: true,
            signed,
            splitting: false,
            bars: 0,
            bound: vec![],
            integral: None,
            below: false,
        }
    }

    fn whole(mut self) -> Parse<Expr> {
        let groups = self.list()?;
        if self.at < self.tokens.len() {
            return Err(Unreadable::Syntax);
        }
        collect(groups)
    }

    // Tokens.

    fn peek(&self) -> Option<&Kind> {
        self.tokens.get(self.at).map(|t| &t.kind)
    }

    fn peek_after(&self, n: usize) -> Option<&Kind> {
        self.tokens.get(self.at + n).map(|t| &t.kind)
    }

    fn is_mark(&self, mark: char) -> bool {
        matches!(self.peek(), Some(Kind::Mark(m)) if *m == mark)
    }

    fn is_command(&self, name: &str) -> bool {
        matches!(self.peek(), Some(Kind::Command(c)) if c == name)
    }

    fn take_mark(&mut self, mark: char) -> bool {
        let found = self.is_mark(mark);
        self.at += usize::from(found);
        found
    }

    fn take_command(&mut self, names: &[&str]) -> bool {
        let found = matches!(self.peek(), Some(Kind::Command(c)) if names.contains(&c.as_str()));
        self.at += usize::from(found);
        found
    }

    fn expect_mark(&mut self, mark: char) -> Parse<()> {
        if self.take_mark(mark) { Ok(()) } else { Err(Unreadable::Syntax) }
    }

    /// Runs `inner` one level deeper.
    fn nested<T>(&mut self, inner: impl FnOnce(&mut Self) -> Parse<T>) -> Parse<T> {
        self.depth += 1;
        self.steps += 1;
        if self.depth > MAX_DEPTH || self.steps > MAX_STEPS {
            return Err(Unreadable::TooDeep);
        }
        let result = inner(self);
        self.depth -= 1;
        result
    }

    // Relations and set operations.

    fn relation(&mut self) -> Parse<Expr> {
        let first = self.sets()?;
        let mut rest = Vec::new();
        while let Some(op) = self.relation_sign()? {
            rest.push((op, self.sets()?));
        }
        if rest.is_empty() {
            return Ok(first);
        }
        // What follows an approximation sign is less exact than what precedes it; `x ≈ 3` alone is `3`.
        if let Some(i) = rest.iter().position(|(op, _)| *op == RelOp::Approx) {
            if i == 0 && first.only_symbols() {
                return Ok(rest.swap_remove(0).1);
            }
            rest.truncate(i);
            if rest.is_empty() {
                return Ok(first);
            }
        }
        Ok(Expr::Rel(Box::new(first), rest))
    }

    fn relation_sign(&mut self) -> Parse<Option<RelOp>> {
        let op = match self.peek() {
            Some(Kind::Mark('=')) => {
                self.at += 1;
                self.take_mark('=');
                return Ok(Some(RelOp::Eq));
            }
            Some(Kind::Mark('!')) if self.at_unequal() => {
                self.at += 2;
                return Ok(Some(RelOp::Ne));
            }
            Some(Kind::Mark(m @ ('<' | '>'))) => {
                let less = *m == '<';
                self.at += 1;
                let equal = self.take_mark('=');
                return Ok(Some(match (less, equal) {
                    (true, false) => RelOp::Lt,
                    (true, true) => RelOp::Le,
                    (false, false) => RelOp::Gt,
                    (false, true) => RelOp::Ge,
                }));
            }
            Some(Kind::Command(c)) => match c.as_str() {
                "le" | "leq" | "leqslant" | "leqq" => RelOp::Le,
                "ge" | "geq" | "geqslant" | "geqq" => RelOp::Ge,
                "lt" => RelOp::Lt,
                "gt" => RelOp::Gt,
                "ne" | "neq" => RelOp::Ne,
                "approx" | "thickapprox" | "approxeq" => RelOp::Approx,
                "in" | "equiv" => RelOp::Eq,
                "notin" => RelOp::NotIn,
                "not" => {
                    self.at += 1;
                    return if self.take_command(&["in"]) {
                        Ok(Some(RelOp::NotIn))
                    } else if self.take_mark('=') {
                        Ok(Some(RelOp::Ne))
                    } else {
                        Err(Unreadable::Syntax)
                    };
                }
                _ => return Ok(None),
            },
            _ => return Ok(None),
        };
        self.at += 1;
        Ok(Some(op))
    }

    /// Unions, intersections and differences; the latter two bind tighter, as in Math-Verify's grammar.
    fn sets(&mut self) -> Parse<Expr> {
        let mut left = self.unions()?;
        while self.take_command(&["setminus", "backslash"]) {
            let right = self.unions()?;
            left = Expr::Minus(Box::new(left), Box::new(right));
            self.steps += MAX_STEPS / 16; // every difference nests the one before
            if self.steps > MAX_STEPS {
                return Err(Unreadable::TooDeep);
            }
        }
        if self.take_command(&["subset", "subseteq", "supset", "supseteq"]) {
            return Err(Unreadable::Syntax);
        }
        Ok(left)
    }

    fn unions(&mut self) -> Parse<Expr> {
        let mut parts = vec![self.intersections()?];
        while self.take_command(&["cup", "bigcup", "union"]) {
            parts.push(self.intersections()?);
        }
        Ok(if parts.len() == 1 { parts.swap_remove(0) } else { Expr::Union(parts) })
    }

    fn intersections(&mut self) -> Parse<Expr> {
        let first = self.additive()?;
        let mut parts = vec![self.infix_in_group(first)?];
        while self.take_command(&["cap", "bigcap"]) {
            parts.push(self.additive()?);
        }
        Ok(if parts.len() == 1 { parts.swap_remove(0) } else { Expr::Intersection(parts) })
    }

    // Brackets.

    /// After an opening bracket of `kind`: a group, an interval or pair, a tuple, a set.
    fn bracketed(&mut self, kind: char) -> Parse<Expr> {
        let bars = std::mem::replace(&mut self.bars, 0);
        if matches!(kind, '{' | 'S') && self.closing(kind).is_some() {
            self.bars = bars;
            return Ok(Expr::Set(vec![]));
        }
        let groups = self.list()?;
        if groups.len() == 1
            && groups[0].len() == 1
            && matches!(kind, 'S')
            && (self.take_command(&["mid"]) || self.take_mark('|') || self.take_mark(':'))
        {
            let condition = self.list()?;
            self.closing(kind).ok_or(Unreadable::Syntax)?;
            self.bars = bars;
            return collect(condition);
        }
        let close = self.closing(kind).ok_or(Unreadable::Syntax)?;
        self.bars = bars;
        let separated = groups.len() > 1;
        let mut items: Vec<Expr> = groups.into_iter().flatten().collect();
        if items.len() == 1 && !separated {
            let mismatched = matches!((kind, close), ('(', ']') | ('[', ')'));
            return if mismatched { Err(Unreadable::Syntax) } else { Ok(items.swap_remove(0)) };
        }
        Ok(match kind {
            '{' | 'S' => Expr::Set(items),
            _ if items.len() == 2 => match (items.pop(), items.pop()) {
                (Some(high), Some(low)) => Expr::interval(low, high, kind == '(', close == ')'),
                _ => return Err(Unreadable::Syntax),
            },
            _ => Expr::Tuple(items),
        })
    }

    /// Takes the closing bracket that may end a bracket opened by `kind`.
    fn closing(&mut self, kind: char) -> Option<char> {
        let close = match (kind, self.peek()?) {
            ('(' | '[', Kind::Mark(c @ (')' | ']'))) => *c,
            ('(', Kind::Command(c)) if c == "rgroup" || c == "rangle" => ')',
            ('[', Kind::Command(c)) if c == "rbrack" => ']',
            ('{', Kind::Mark('}')) => '}',
            ('S', Kind::Command(c)) if c == "}" || c == "rbrace" => '}',
            _ => return None,
        };
        self.at += 1;
        Some(close)
    }
}
