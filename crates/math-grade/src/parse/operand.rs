//! Arithmetic: sums, products written and implied, powers, numbers, variables, brackets, fractions, matrices.

use num_rational::BigRational;
use num_traits::Signed;

use super::super::ast::{Const, Expr, Fun};
use super::super::lex::{Kind, Unreadable};
use super::number::literal;
use super::{Parse, Parser};

/// Longest chain that nests what it is applied to: `x!!!`, `x^a^b`, `a \mod b \mod c`.
pub(super) const MAX_CHAIN: usize = 12;

impl Parser {
    /// `a + b - c \pm d`
    pub(super) fn additive(&mut self) -> Parse<Expr> {
        let mut terms = vec![self.term()?];
        loop {
            if self.take_mark('+') {
                terms.push(self.term()?);
            } else if self.take_mark('-') {
                terms.push(self.term()?.neg());
            } else if self.is_command("pm") || self.is_command("mp") {
                let negative = self.is_command("pm") != self.plus;
                self.at += 1;
                let term = self.term()?;
                terms.push(if negative { term.neg() } else { term });
            } else {
                break;
            }
        }
        Ok(if terms.len() == 1 { terms.swap_remove(0) } else { Expr::Add(terms) })
    }

    /// `a b \cdot c / d \mod e`, left to right.
    pub(super) fn term(&mut self) -> Parse<Expr> {
        self.nested(|p| {
            let mut left = p.unary()?;
            let mut remainders = 0;
            loop {
                if p.is_mark('*') && !matches!(p.peek_after(1), Some(Kind::Mark('*')))
                    || p.is_command("times")
                    || p.is_command("cdot")
                    || p.is_command("ast")
                {
                    p.at += 1;
                    left = multiply(left, p.unary()?);
                } else if p.is_mark(':') {
                    left = p.ratio(left)?;
                } else if p.is_mark('/') || p.is_command("div") {
                    p.at += 1;
                    let right = p.unary()?;
                    left = divide(left, right);
                } else if p.take_command(&["mod", "bmod"]) {
                    left = Expr::Call(Fun::Mod, vec![left, p.unary()?]);
                    remainders += 1;
                } else if p.take_command(&["pmod"]) {
                    left = Expr::Call(Fun::Mod, vec![left, p.argument()?]);
                    remainders += 1;
                } else {
                    return Ok(left);
                }
                if remainders > MAX_CHAIN {
                    return Err(Unreadable::TooDeep);
                }
            }
        })
    }

    pub(super) fn unary(&mut self) -> Parse<Expr> {
        let mut negative = false;
        loop {
            if self.take_mark('-') {
                negative = !negative;
            } else if self.is_command("pm") || self.is_command("mp") {
                negative ^= self.is_command("pm") != self.plus;
                self.at += 1;
            } else if !self.take_mark('+') {
                break;
            }
        }
        let product = self.product(true)?;
        Ok(if negative { product.neg() } else { product })
    }

    /// Factors side by side. With `functions` false (an argument without brackets) it ends before a function.
    pub(super) fn product(&mut self, functions: bool) -> Parse<Expr> {
        let mut factors = vec![self.factor()?];
        let mut mixed = self.last_was_integer();
        while self.starts_factor(functions) {
            if self.integral.is_some() && self.at_differential() {
                self.differential();
                break;
            }
            let fraction = self.starts_fraction();
            let number = matches!(self.peek(), Some(Kind::Number(..)));
            let slashed = number
                && matches!(self.peek_after(1), Some(Kind::Mark('/')))
                && matches!(self.peek_after(2), Some(Kind::Number(..)));
            if number && mixed && !self.number_may_follow() {
                return Err(Unreadable::Syntax);
            }
            let mut next = self.factor()?;
            if mixed && slashed {
                // 3 1/2
                self.at += 1;
                next = divide(next, self.factor()?);
            }
            let joins = mixed && (fraction || slashed || number && self.last_was_integer());
            match (factors.last().and_then(Expr::number), next.number()) {
                (Some(a), Some(b)) if joins && !b.is_negative() => {
                    let sum = if a.is_negative() { a - b } else { a + b };
                    factors.pop();
                    factors.push(Expr::Num(sum));
                    mixed = number && !slashed;
                }
                _ => {
                    factors.push(next);
                    mixed = false;
                }
            }
        }
        Ok(factors.into_iter().reduce(multiply).unwrap_or(Expr::int(1)))
    }

    /// `!=` stands here, and not a factorial before an equals sign: `3! = 6`, `3!=6`.
    pub(super) fn at_unequal(&self) -> bool {
        let glued = self.tokens.get(self.at + 1).is_some_and(|t| t.kind == Kind::Mark('=') && !t.spaced);
        let factorial = !self.tokens[self.at].spaced
            && self.at > 0
            && matches!(self.tokens[self.at - 1].kind, Kind::Number(..));
        self.is_mark('!') && glued && !factorial
    }

    fn last_was_integer(&self) -> bool {
        self.at > 0 && matches!(&self.tokens[self.at - 1].kind, Kind::Number(n, 0) if !n.contains('.'))
    }

    /// After an integer, a number may follow only as the next group of thousands or part of a mixed number.
    fn number_may_follow(&self) -> bool {
        let fraction = matches!(self.peek_after(1), Some(Kind::Command(c)) if matches!(c.as_str(), "frac" | "dfrac" | "tfrac"));
        fraction || matches!(self.peek_after(1), Some(Kind::Mark('/')))
    }

    fn starts_fraction(&self) -> bool {
        let frac = |k: Option<&Kind>| matches!(k, Some(Kind::Command(c)) if matches!(c.as_str(), "frac" | "dfrac" | "tfrac" | "cfrac"));
        frac(self.peek()) || self.is_mark('{') && frac(self.peek_after(1))
    }

    fn starts_factor(&self, functions: bool) -> bool {
        match self.peek() {
            Some(Kind::Number(..) | Kind::Letter(_) | Kind::Text(_)) => true,
            Some(Kind::Mark('|')) => self.bars == 0,
            Some(Kind::Mark(c)) => "([{".contains(*c),
            Some(Kind::Command(c)) => {
                (functions || Fun::named(c).is_none() && !matches!(c.as_str(), "ln" | "log" | "lg" | "exp"))
                    && self.starts_operand(c)
            }
            _ => false,
        }
    }

    /// A factor with its factorials, degree and percent signs.
    pub(super) fn factor(&mut self) -> Parse<Expr> {
        self.nested(|p| {
            if p.integral.is_some() && p.at_differential() {
                p.differential();
                return Ok(Expr::int(1));
            }
            let mut value = p.power()?;
            for _ in 0..MAX_CHAIN {
                if p.is_mark('!') && !p.at_unequal() {
                    p.at += 1;
                    value = Expr::Call(Fun::Factorial, vec![value]);
                } else if p.take_mark('%') {
                    value = if value == Expr::Const(Const::Infinity) {
                        value
                    } else {
                        Expr::Percent(Box::new(value))
                    };
                } else if p.take_command(&["percent", "percentage", "pct"]) {
                    value = Expr::Percent(Box::new(value));
                } else if !p.take_command(&["degree", "degrees"]) {
                    return Ok(value);
                }
            }
            Err(Unreadable::TooDeep)
        })
    }

    /// `a^b`, right-associative through the exponent's braces; `a^\circ`, `A^T`, `a^{th}`.
    fn power(&mut self) -> Parse<Expr> {
        let mut base = self.operand()?;
        for _ in 0..MAX_CHAIN {
            let starred = self.is_mark('*') && matches!(self.peek_after(1), Some(Kind::Mark('*')));
            if !self.is_mark('^') && !starred {
                return Ok(base);
            }
            self.at += if starred { 2 } else { 1 };
            let braced = self.is_mark('{');
            let inner = usize::from(braced);
            let closes = !braced || matches!(self.peek_after(2), Some(Kind::Mark('}')));
            let width = 1 + 2 * inner;
            match self.peek_after(inner) {
                Some(Kind::Command(c)) if closes && matches!(c.as_str(), "circ" | "degree") => {
                    self.at += width
                }
                Some(Kind::Command(c)) if closes && matches!(c.as_str(), "top" | "intercal") => {
                    self.at += width;
                    base = Expr::Call(Fun::Transpose, vec![base]);
                }
                Some(Kind::Letter('T')) if closes && matches!(base, Expr::Matrix(_)) => {
                    self.at += width;
                    base = Expr::Call(Fun::Transpose, vec![base]);
                }
                Some(Kind::Text(t)) if closes && matches!(t.as_str(), "th" | "st" | "nd" | "rd") => {
                    self.at += width
                }
                Some(Kind::Mark(sign @ ('+' | '-'))) if braced && closes => {
                    self.below = *sign == '-';
                    self.at += width;
                }
                _ => {
                    let exponent = self.exponent()?;
                    base = match base {
                        Expr::Percent(_) => return Err(Unreadable::Syntax),
                        base => base.pow(exponent),
                    };
                    base = self.subscripted(base)?;
                }
            }
        }
        Err(Unreadable::TooDeep)
    }

    /// `{…}`, a signed number, a variable, a bracket: what stands above.
    pub(super) fn exponent(&mut self) -> Parse<Expr> {
        self.nested(|p| {
            if p.take_mark('-') {
                return Ok(p.exponent()?.neg());
            }
            if p.take_mark('+') {
                return p.exponent();
            }
            if let Some(Kind::Number(digits, exponent)) = p.peek().cloned() {
                p.at += 1; // a subscript after it belongs to the base: x^2_i
                let value = literal(&digits, exponent).ok_or(Unreadable::TooLong)?;
                return Ok(if digits.contains('.') { Expr::Dec(value) } else { Expr::Num(value) });
            }
            if p.is_command("frac") || p.is_command("sqrt") {
                return p.operand();
            }
            if matches!(p.peek(), Some(Kind::Letter(_))) && matches!(p.peek_after(1), Some(Kind::Mark('_'))) {
                let after = p.tokens.remove(p.at + 1); // likewise: read the letter alone
                let value = p.letter();
                p.tokens.insert(p.at, after);
                return value;
            }
            p.argument()
        })
    }

    /// A LaTeX argument: a brace group, or one token (one *digit*, so that `\frac12` is a half).
    pub(super) fn argument(&mut self) -> Parse<Expr> {
        if let Some(Kind::Number(n, 0)) = self.peek() {
            let (first, rest) = n.split_at(1);
            if rest.is_empty() || first == "." || rest.starts_with('.') {
                return self.operand();
            }
            let digit = literal(first, 0).ok_or(Unreadable::Syntax)?;
            let rest = rest.to_string();
            self.split_number(rest);
            return Ok(Expr::Num(digit));
        }
        if self.is_mark('{') {
            self.at += 1;
            return self.bracketed('{');
        }
        if let Some(Kind::Letter(_)) = self.peek() {
            return self.letter();
        }
        self.operand()
    }

    /// Leaves `rest` as the number at the current place. The step is undone by nothing: a second reading for
    /// `\pm` sees single digits, which read the same.
    fn split_number(&mut self, rest: String) {
        let token = &mut self.tokens[self.at];
        let digit = match &token.kind {
            Kind::Number(n, _) => n[..1].to_string(),
            _ => return,
        };
        let mut first = token.clone();
        first.kind = Kind::Number(digit, 0);
        token.kind = Kind::Number(rest, 0);
        token.spaced = false;
        self.tokens.insert(self.at, first);
        self.at += 1;
    }

    /// A number, variable, bracket, function, fraction, …
    pub(super) fn operand(&mut self) -> Parse<Expr> {
        self.nested(|p| match p.peek().cloned() {
            Some(Kind::Number(digits, exponent)) => p.number(&digits, exponent),
            Some(Kind::Letter(_)) => p.letter(),
            Some(Kind::Text(text)) => {
                p.at += 1;
                let name: String =
                    text.chars().filter(|c| !c.is_whitespace() && !"()".contains(*c)).collect();
                p.subscripted(Expr::Sym(name.to_lowercase()))
            }
            Some(Kind::Mark(open @ ('(' | '[' | '{'))) => {
                p.at += 1;
                let inner = p.bracketed(open)?;
                p.subscripted(inner)
            }
            Some(Kind::Mark('|')) => {
                p.at += 1;
                p.bars += 1;
                let inner = p.additive();
                let inner = inner?;
                p.bars -= 1;
                p.expect_mark('|')?;
                Ok(Expr::Call(Fun::Abs, vec![inner]))
            }
            Some(Kind::Command(name)) => {
                p.at += 1;
                p.command(&name)
            }
            _ => Err(Unreadable::Syntax),
        })
    }

    /// One letter: `e` and `i` are constants, `f(…)`, `g(…)`, `h(…)` applications, others variables.
    pub(super) fn letter(&mut self) -> Parse<Expr> {
        let Some(Kind::Letter(c)) = self.peek() else { return Err(Unreadable::Syntax) };
        let c = *c;
        self.at += 1;
        let name = c.to_lowercase().to_string();
        if self.is_mark('_') || self.is_mark('\'') {
            return self.subscripted(Expr::Sym(name));
        }
        // `f(x)`, and as SymPy prints it: `f{\left(x \right)}`.
        let braced =
            self.is_mark('{') && self.tokens.get(self.at + 1).is_some_and(|t| t.kind == Kind::Mark('('));
        if matches!(c, 'f' | 'g' | 'h' | 'F' | 'G' | 'H') && (braced || self.is_mark('(')) {
            self.at += 1 + usize::from(braced);
            let groups = self.list()?;
            self.expect_mark(')')?;
            if braced {
                self.expect_mark('}')?;
            }
            return Ok(Expr::Apply(name, groups.into_iter().flatten().collect()));
        }
        Ok(match c {
            'e' => Expr::Const(Const::E),
            'i' | 'I' if !self.bound.contains(&name) => Expr::Const(Const::I),
            _ => Expr::Sym(name),
        })
    }

    /// Takes a subscript and primes: part of a variable's name; of digits, their base; of others, ignored.
    pub(super) fn subscripted(&mut self, value: Expr) -> Parse<Expr> {
        let mut value = value;
        while self.is_mark('\'') {
            self.at += 1;
            if let Expr::Sym(name) = &mut value {
                name.push('\'');
            }
        }
        if !self.take_mark('_') {
            return Ok(value);
        }
        let below = self.raw()?;
        Ok(match value {
            Expr::Sym(name) if below.is_empty() => Expr::Sym(name),
            Expr::Sym(name) => Expr::Sym(with_subscript(&name, &below)),
            Expr::Num(n) if n.is_integer() && matches!(below.parse::<u32>(), Ok(2..=36)) => {
                Expr::Based(n.to_integer(), below.parse().unwrap_or(10))
            }
            Expr::Pow(base, exponent) => match *base {
                // x^2_i
                Expr::Sym(name) => Expr::Sym(with_subscript(&name, &below)).pow(*exponent),
                other => other.pow(*exponent),
            },
            other => other,
        })
    }

    /// The text of a group or token, without spaces.
    pub(super) fn raw(&mut self) -> Parse<String> {
        let mut text = String::new();
        let mut depth = 0_usize;
        loop {
            let kind = self.peek().cloned().ok_or(Unreadable::Syntax)?;
            self.at += 1;
            match kind {
                Kind::Mark('{') if depth == 0 => depth = 1,
                Kind::Mark('{') => {
                    depth += 1;
                    text.push('{');
                }
                Kind::Mark('}') if depth <= 1 => {
                    return if depth == 0 { Err(Unreadable::Syntax) } else { Ok(text) };
                }
                Kind::Mark('}') => {
                    depth -= 1;
                    text.push('}');
                }
                Kind::Mark(c) | Kind::Letter(c) => text.push(c),
                Kind::Number(n, _) | Kind::Text(n) => text.push_str(&n),
                Kind::Command(c) => {
                    text.push('\\');
                    text.push_str(&c);
                }
                Kind::Row => return Err(Unreadable::Syntax),
            }
            if depth == 0 {
                return Ok(text);
            }
        }
    }
}

/// `x_1`, `x_{12}`
fn with_subscript(name: &str, below: &str) -> String {
    let below = below.to_lowercase();
    if below.chars().count() == 1 { format!("{name}_{below}") } else { format!("{name}_{{{below}}}") }
}

/// `a·b`, flat.
pub(super) fn multiply(a: Expr, b: Expr) -> Expr {
    match (a, b) {
        (Expr::Mul(mut xs), Expr::Mul(ys)) => {
            xs.extend(ys);
            Expr::Mul(xs)
        }
        (Expr::Mul(mut xs), y) => {
            xs.push(y);
            Expr::Mul(xs)
        }
        (x, Expr::Mul(mut ys)) => {
            ys.insert(0, x);
            Expr::Mul(ys)
        }
        (x, y) => Expr::Mul(vec![x, y]),
    }
}

/// `a / b`; of two integers, a fraction.
pub(super) fn divide(a: Expr, b: Expr) -> Expr {
    match (&a, &b) {
        (Expr::Num(p), Expr::Num(q)) if *q != BigRational::from_integer(0.into()) => Expr::Num(p / q),
        _ => multiply(a, b.pow(Expr::int(-1))),
    }
}
