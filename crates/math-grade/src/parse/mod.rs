//! Tokens to an expression: recursive descent, lists and relations here, arithmetic in `operand`, functions and
//! operators with bound variables in `function`. Depth and work are bounded, so no input can hang or overflow it.
//!
//! What is ambiguous is read as Math-Verify 0.9 reads it: `1,2` is a set and `32,349` a number; `(1,2)` is an
//! open interval that also passes for a pair; `1 \frac{1}{2}` is mixed; `2\pm1` is two elements; `\{x\}` is `x`.

mod function;
mod operand;

use num_bigint::BigInt;
use num_rational::BigRational;

use super::ast::{Expr, RelOp};
use super::lex::{Kind, Token, Unreadable, Words, lex};
use super::unit::{self, Unit};

type Parse<T> = Result<T, Unreadable>;

/// An answer as read: its value, and its unit if it carries a known one.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) expr: Expr,
    pub(crate) unit: Option<Unit>,
}

/// Deepest nesting that is read.
const MAX_DEPTH: usize = 64;
/// Most steps (operands visited) that one text may take; `\pm` makes the parser read an element twice.
const MAX_STEPS: usize = 20_000;

/// Reads one answer.
pub(crate) fn parse(text: &str, words: Words) -> Parse<Answer> {
    let text = text
        .trim()
        .trim_end_matches(['.', ',', ';', ':', ' ', '\n'])
        .trim_start_matches([',', ';', ':', ' ']);
    let mut tokens = lex(text, words)?;
    if tokens.is_empty() {
        return Err(Unreadable::Empty);
    }
    if let Some(number) = thousands(&tokens) {
        return Ok(Answer { expr: Expr::Num(number), unit: None });
    }
    let unit = take_unit(&mut tokens, text);
    let expr = Parser::new(tokens).whole()?;
    Ok(Answer { expr, unit })
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

    // Lists: groups separated by `;` of elements separated by `,`, `and`, `or`.

    /// Reads a list up to a closing bracket or the end; at least one element.
    fn list(&mut self) -> Parse<Vec<Vec<Expr>>> {
        self.nested(|p| {
            let mut groups = vec![vec![]];
            let mut splits = vec![vec![]]; // the same with `and`/`or` taken for `;`
            loop {
                let first = splits.len() == 1 && groups.len() == 1 && groups[0].is_empty();
                let element = p.element(first)?;
                if let (Some(g), Some(s)) = (groups.last_mut(), splits.last_mut()) {
                    g.extend(element.iter().cloned());
                    s.extend(element);
                }
                if p.take_mark(';') {
                    groups.push(vec![]);
                    splits.push(vec![]);
                } else if p.take_mark(',') {
                    p.take_command(&["and", "or"]);
                } else if p.take_command(&["and", "or"]) {
                    splits.push(vec![]);
                } else {
                    break;
                }
            }
            let pairs = splits.len() > 1 && splits[0].len() > 1;
            let alike = splits
                .iter()
                .all(|s| s.len() == splits[0].len() && s.iter().all(|e| matches!(e, Expr::Rel(..))));
            Ok(if pairs && alike { splits } else { groups })
        })
    }

    /// One element, or two where it contains `\pm` at its own level. The only element of a bracket inside an
    /// element that is being split is split with it.
    fn element(&mut self, first: bool) -> Parse<Vec<Expr>> {
        let (signed, followed) = self.has_plus_minus();
        if !signed || self.splitting && first && !followed {
            return Ok(vec![self.relation()?]);
        }
        let (start, sign, outer) = (self.at, self.plus, std::mem::replace(&mut self.splitting, true));
        self.plus = true;
        let upper = self.relation()?;
        self.at = start;
        self.plus = false;
        let lower = self.relation()?;
        (self.plus, self.splitting) = (sign, outer);
        match (upper, lower) {
            (Expr::Rel(lhs, mut a), Expr::Rel(_, b)) if a.len() == b.len() => {
                if let (Some(x), Some((_, y))) = (a.last_mut(), b.last()) {
                    x.1 = Expr::Set(vec![x.1.clone(), y.clone()]);
                }
                Ok(vec![Expr::Rel(lhs, a)])
            }
            (a, b) => Ok(vec![a, b]),
        }
    }

    /// Whether the element that starts here has a `\pm` outside nested lists, and whether another follows it.
    fn has_plus_minus(&self) -> (bool, bool) {
        if !self.signed {
            return (false, false);
        }
        let mut open = vec![(false, false)]; // (has a separator, has a sign)
        for token in &self.tokens[self.at..] {
            match &token.kind {
                Kind::Mark('(' | '[' | '{') => open.push((false, false)),
                Kind::Command(c) if c == "{" => open.push((false, false)),
                Kind::Mark(')' | ']' | '}') => match (open.pop(), open.last_mut()) {
                    (Some((separated, sign)), Some(outer)) => outer.1 |= sign && !separated,
                    (Some((_, sign)), None) => return (sign, false),
                    _ => return (false, false),
                },
                Kind::Command(c) if c == "}" => match (open.pop(), open.last_mut()) {
                    (Some((separated, sign)), Some(outer)) => outer.1 |= sign && !separated,
                    (Some((_, sign)), None) => return (sign, false),
                    _ => return (false, false),
                },
                Kind::Command(c) if c == "pm" || c == "mp" => {
                    open.iter_mut().rev().take(1).for_each(|o| o.1 = true)
                }
                Kind::Mark(',' | ';') if open.len() == 1 => return (open[0].1, true),
                Kind::Command(c) if open.len() == 1 && (c == "and" || c == "or") => return (open[0].1, true),
                Kind::Mark(',' | ';') => open.iter_mut().rev().take(1).for_each(|o| o.0 = true),
                _ => {}
            }
        }
        (open[0].1, false)
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
            Some(Kind::Mark('!')) if matches!(self.peek_after(1), Some(Kind::Mark('='))) => {
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

/// A list at the top or in a box: one element is itself, several are a set, `;` makes it a set of tuples, and
/// `k = 1, 2, 3` gives `k` three values.
pub(super) fn collect(mut groups: Vec<Vec<Expr>>) -> Parse<Expr> {
    if groups.len() == 1 {
        let mut items = groups.swap_remove(0);
        if items.len() == 1 {
            return Ok(items.swap_remove(0));
        }
        let one_variable = matches!(&items[0], Expr::Rel(lhs, rest) if rest.len() == 1 && rest[0].0 == RelOp::Eq && lhs.only_symbols());
        if one_variable && !items[1..].iter().any(|e| matches!(e, Expr::Rel(..))) {
            let mut values = items.split_off(1);
            if let Some(Expr::Rel(lhs, mut rest)) = items.pop() {
                values.insert(0, rest.swap_remove(0).1);
                return Ok(Expr::Rel(lhs, vec![(RelOp::Eq, Expr::Set(values))]));
            }
        }
        return Ok(Expr::Set(items));
    }
    if groups.iter().all(|g| g.len() == 1) {
        return Ok(Expr::Set(groups.into_iter().flatten().collect()));
    }
    Ok(Expr::Set(groups.into_iter().map(Expr::Tuple).collect()))
}

/// `-1,234,567.8` with nothing around it and no space inside, as a number. (`0,125` is a decimal.)
fn thousands(tokens: &[Token]) -> Option<BigRational> {
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

/// The exact value of `digits` (with an optional point) times `10^exponent`.
pub(super) fn literal(digits: &str, exponent: i64) -> Option<BigRational> {
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let mantissa: BigInt = format!("{whole}{decimals}").parse().ok()?;
    let scale = super::ast::power_of_ten(exponent - decimals.len() as i64)?;
    Some(BigRational::from_integer(mantissa) * scale)
}

/// Cuts running text off the end, and gives the unit that it names, if any.
fn take_unit(tokens: &mut Vec<Token>, text: &str) -> Option<Unit> {
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
        return unit;
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
        let unit = unit::read(&words.join(" "), exponent);
        tokens.truncate(start);
        return unit;
    }
    if text.contains("\\$") || text.starts_with('$') && text.matches('$').count() == 1 {
        return unit::read("dollars", 1);
    }
    None
}
