//! Commands: functions with and without brackets, roots, fractions, operators that bind a variable, matrices,
//! Greek letters, named sets.

use super::super::ast::{Bind, BindKind, Const, Expr, Fun};
use super::super::lex::{Kind, Unreadable};
use super::super::vocabulary::has;
use super::list::collect;
use super::operand::divide;
use super::{Parse, Parser};

const GREEK: &str = "alpha|beta|gamma|delta|epsilon|varepsilon|zeta|eta|theta|vartheta|iota|kappa|lambda|mu|nu|\
    xi|omicron|varpi|rho|varrho|sigma|varsigma|tau|upsilon|phi|varphi|chi|psi|omega|Gamma|\
    Delta|Theta|Lambda|Xi|Pi|Sigma|Upsilon|Phi|Psi|Omega|ell|hbar|triangle|angle|ldots|dots|\
    cdots|prime|aleph|nabla|partial|square";

/// Commands that begin an operand.
const OPERANDS: &str = "{|lbrace|lbrack|lgroup|langle|lvert|lVert|lfloor|lceil|llcorner|ulcorner|frac|dfrac|tfrac|\
    cfrac|sqrt|plainsqrt|cbrt|pi|infty|infinity|inf|oo|ln|log|lg|exp|exponentialE|binom|\
    dbinom|tbinom|sum|prod|int|lim|begin|boxed|fbox|overline|bar|vec|hat|widehat|tilde|\
    widetilde|overrightarrow|dot|ddot|mathbb|R|N|Z|Q|C|emptyset|varnothing|imath|jmath|\
    mathring|underline|char";

impl Parser {
    /// Whether `\name` can begin an operand.
    pub(super) fn starts_operand(&self, name: &str) -> bool {
        Fun::named(name).is_some()
            || has(GREEK, name)
            || name == "|"
            || has(OPERANDS, name)
            || matches!(name, "vert" | "lvert" | "rvert" | "Vert") && self.bars == 0
    }

    /// The operand that `\name`, just taken, begins.
    pub(super) fn command(&mut self, name: &str) -> Parse<Expr> {
        if let Some(fun) = Fun::named(name) {
            return self.function(fun);
        }
        Ok(match name {
            "pi" => self.subscripted_constant(Const::Pi)?,
            "infty" | "infinity" | "inf" | "oo" => Expr::Const(Const::Infinity),
            "exponentialE" => Expr::Const(Const::E),
            "imath" => Expr::Const(Const::I),
            "emptyset" | "varnothing" => Expr::Set(vec![]),
            "ln" => self.logarithm(Expr::Const(Const::E))?,
            "log" | "lg" => self.logarithm(Expr::int(10))?,
            "exp" => {
                let power = self.power_mark()?;
                let value = Expr::Const(Const::E).pow(self.single_argument()?);
                power.map_or(value.clone(), |p| value.pow(p))
            }
            "frac" | "dfrac" | "tfrac" | "cfrac" => self.fraction()?,
            "binom" | "dbinom" | "tbinom" => {
                let n = self.argument()?;
                Expr::Call(Fun::Binomial, vec![n, self.argument()?])
            }
            "sqrt" | "plainsqrt" | "cbrt" => self.root(name)?,
            "sum" => self.summation(BindKind::Sum)?,
            "prod" => self.summation(BindKind::Product)?,
            "int" => self.integral()?,
            "lim" => self.limit()?,
            "begin" => self.environment()?,
            "boxed" | "fbox" | "underline" => {
                self.expect_mark('{')?;
                let groups = self.list()?;
                self.expect_mark('}')?;
                collect(groups)?
            }
            "{" | "lbrace" if self.is_command("begin") => {
                self.at += 1;
                let system = self.environment()?;
                self.closing('S');
                system
            }
            "{" | "lbrace" => self.bracketed('S')?,
            "lbrack" => self.bracketed('[')?,
            "lgroup" | "langle" => {
                let inner = self.bracketed('(')?;
                match inner {
                    Expr::Interval(i) => Expr::Tuple(vec![i.low, i.high]),
                    other => other,
                }
            }
            "lfloor" | "llcorner" => self.enclosed(Fun::Floor, &["rfloor", "lrcorner"])?,
            "lceil" | "ulcorner" => self.enclosed(Fun::Ceil, &["rceil", "urcorner"])?,
            "lvert" | "vert" | "|" | "lVert" | "Vert" => {
                self.bars += 1;
                let inner = self.additive()?;
                self.bars -= 1;
                if !self.take_command(&["rvert", "vert", "|", "rVert", "Vert"]) && !self.take_mark('|') {
                    return Err(Unreadable::Syntax);
                }
                Expr::Call(Fun::Abs, vec![inner])
            }
            "overline" | "bar" | "vec" | "hat" | "widehat" | "tilde" | "widetilde" | "overrightarrow"
            | "dot" | "ddot" | "mathring" => {
                let accent = match name {
                    "overline" => "bar",
                    "overrightarrow" => "vec",
                    "widehat" => "hat",
                    "widetilde" => "tilde",
                    other => other,
                };
                let inner = self.raw()?;
                self.subscripted(Expr::Sym(format!("{accent}{{{}}}", inner.to_lowercase())))?
            }
            "mathbb" => {
                let c =
                    self.raw()?.chars().next().filter(|c| "NZQRC".contains(*c)).ok_or(Unreadable::Syntax)?;
                Expr::Named(c)
            }
            "R" | "N" | "Z" | "Q" | "C" => Expr::Named(name.chars().next().unwrap_or('R')),
            _ if has(GREEK, name) => {
                let named = Expr::Sym(name.to_string());
                let value = self.subscripted(named)?;
                if self.is_mark('{') && matches!(self.peek_after(1), Some(Kind::Mark('}'))) {
                    self.at += 2;
                }
                value
            }
            _ => return Err(Unreadable::Syntax),
        })
    }

    fn subscripted_constant(&mut self, value: Const) -> Parse<Expr> {
        if self.is_mark('_') {
            return self.subscripted(Expr::Sym(format!("{value:?}").to_lowercase()));
        }
        Ok(Expr::Const(value))
    }

    fn enclosed(&mut self, fun: Fun, close: &[&str]) -> Parse<Expr> {
        let bars = std::mem::replace(&mut self.bars, 0);
        let inner = self.additive()?;
        self.bars = bars;
        if self.take_command(close) { Ok(Expr::Call(fun, vec![inner])) } else { Err(Unreadable::Syntax) }
    }

    /// `^p` after a function's name.
    fn power_mark(&mut self) -> Parse<Option<Expr>> {
        if !self.is_mark('^') {
            return Ok(None);
        }
        self.at += 1;
        self.exponent().map(Some)
    }

    fn function(&mut self, fun: Fun) -> Parse<Expr> {
        let power = self.power_mark()?;
        let args = self.arguments()?;
        let arity = match fun {
            Fun::Binomial | Fun::Mod => 2..=2,
            Fun::Gcd | Fun::Lcm | Fun::Max | Fun::Min => 1..=64,
            _ => 1..=1,
        };
        if !arity.contains(&args.len()) {
            return Err(Unreadable::Syntax);
        }
        Ok(match power {
            Some(p) if p == Expr::int(-1) && fun.inverse().is_some() => {
                Expr::Call(fun.inverse().unwrap_or(fun), args)
            }
            Some(p) => Expr::Call(fun, args).pow(p),
            None => Expr::Call(fun, args),
        })
    }

    fn logarithm(&mut self, base: Expr) -> Parse<Expr> {
        let mut base = base;
        let mut power = self.power_mark()?;
        if self.take_mark('_') {
            base = self.argument()?;
            power = power.or(self.power_mark()?);
        }
        let value = Expr::Call(Fun::Log, vec![self.single_argument()?, base]);
        Ok(power.map_or(value.clone(), |p| value.pow(p)))
    }

    fn single_argument(&mut self) -> Parse<Expr> {
        let mut args = self.arguments()?;
        if args.len() == 1 { Ok(args.swap_remove(0)) } else { Err(Unreadable::Syntax) }
    }

    /// The arguments: a bracket, or the factors that follow up to the next function or sign.
    fn arguments(&mut self) -> Parse<Vec<Expr>> {
        let open = match self.peek() {
            Some(Kind::Mark(c @ ('(' | '[' | '{'))) => Some(*c),
            Some(Kind::Command(c)) if c == "lgroup" => Some('('),
            Some(Kind::Command(c)) if c == "lbrack" => Some('['),
            Some(Kind::Command(c)) if c == "{" || c == "lbrace" => Some('S'),
            _ => None,
        };
        if let Some(open) = open {
            self.at += 1;
            let bars = std::mem::replace(&mut self.bars, 0);
            let groups = self.list()?;
            self.bars = bars;
            self.closing(open).ok_or(Unreadable::Syntax)?;
            return Ok(groups.into_iter().flatten().collect());
        }
        self.nested(|p| {
            let negative = p.take_mark('-');
            let value = match p.peek() {
                Some(Kind::Command(c))
                    if Fun::named(c).is_some() || matches!(c.as_str(), "ln" | "log" | "lg" | "exp") =>
                {
                    p.factor()?
                }
                _ => p.product(false)?,
            };
            Ok(vec![if negative { value.neg() } else { value }])
        })
    }

    fn root(&mut self, name: &str) -> Parse<Expr> {
        let index = if name == "cbrt" {
            Expr::int(3)
        } else if name == "sqrt" && self.take_mark('[') {
            let index = self.additive()?;
            self.expect_mark(']')?;
            index
        } else {
            Expr::int(2)
        };
        let body = if name == "sqrt" { self.argument()? } else { self.operand()? };
        let exponent = divide(Expr::int(1), index);
        Ok(body.pow(exponent))
    }

    fn fraction(&mut self) -> Parse<Expr> {
        // \frac{d}{dx} …
        if let [Kind::Mark('{'), Kind::Letter('d'), Kind::Mark('}'), Kind::Mark('{'), Kind::Letter('d')] =
            self.tokens[self.at..].iter().take(5).map(|t| t.kind.clone()).collect::<Vec<_>>().as_slice()
        {
            self.at += 5;
            let var = self.variable_name()?;
            self.expect_mark('}')?;
            let body = self.product(true)?;
            return Ok(Expr::Bind(Box::new(Bind {
                kind: BindKind::Derivative,
                var,
                low: None,
                high: None,
                body,
            })));
        }
        let top = self.fraction_part()?;
        let bottom = self.fraction_part()?;
        Ok(divide(top, bottom))
    }

    fn fraction_part(&mut self) -> Parse<Expr> {
        if self.is_mark('-') {
            return Err(Unreadable::Syntax);
        }
        self.argument()
    }

    fn variable_name(&mut self) -> Parse<String> {
        let name = match self.peek() {
            Some(Kind::Letter(c)) => c.to_lowercase().to_string(),
            Some(Kind::Command(c)) if has(GREEK, c) => c.clone(),
            _ => return Err(Unreadable::Syntax),
        };
        self.at += 1;
        Ok(name)
    }

    /// `_{k = 1}^{n} body`, the two scripts in either order.
    fn summation(&mut self, kind: BindKind) -> Parse<Expr> {
        let (mut var, mut low, mut high) = (String::new(), None, None);
        for _ in 0..2 {
            if self.take_mark('_') {
                self.expect_mark('{')?;
                var = self.variable_name()?;
                self.expect_mark('=')?;
                low = Some(self.additive()?);
                self.expect_mark('}')?;
            } else if self.take_mark('^') {
                high = Some(self.exponent()?);
            }
        }
        if low.is_none() {
            return Err(Unreadable::Syntax);
        }
        self.bound.push(var.clone());
        let body = self.term();
        self.bound.pop();
        Ok(Expr::Bind(Box::new(Bind { kind, var, low, high, body: body? })))
    }

    fn integral(&mut self) -> Parse<Expr> {
        let (mut low, mut high) = (None, None);
        for _ in 0..2 {
            let lower = self.is_mark('_');
            if lower || self.is_mark('^') {
                self.at += 1;
                let empty = self.is_mark('{') && matches!(self.peek_after(1), Some(Kind::Mark('}')));
                let end = if empty {
                    self.at += 2;
                    None
                } else if lower {
                    Some(self.argument()?)
                } else {
                    Some(self.exponent()?)
                };
                if lower { low = end } else { high = end }
            }
        }
        let outer = self.integral.replace(None);
        let body = self.additive();
        let var = self.integral.take().flatten().unwrap_or_else(|| "x".into());
        self.integral = outer;
        Ok(Expr::Bind(Box::new(Bind { kind: BindKind::Integral, var, low, high, body: body? })))
    }

    /// `d x` stands here.
    pub(super) fn at_differential(&self) -> bool {
        matches!(self.peek(), Some(Kind::Letter('d')))
            && match self.peek_after(1) {
                Some(Kind::Letter(_)) => true,
                Some(Kind::Command(c)) => has(GREEK, c),
                _ => false,
            }
    }

    pub(super) fn differential(&mut self) {
        self.at += 1;
        if let Ok(name) = self.variable_name() {
            self.integral = Some(Some(name));
        }
    }

    fn limit(&mut self) -> Parse<Expr> {
        self.expect_mark('_')?;
        self.expect_mark('{')?;
        let var = self.variable_name()?;
        if !self.take_command(&["to", "rightarrow", "Rightarrow", "longrightarrow", "Longrightarrow"]) {
            return Err(Unreadable::Syntax);
        }
        self.below = false;
        let point = self.additive()?;
        self.expect_mark('}')?;
        // From infinity there is only one side to come from.
        let below = std::mem::take(&mut self.below) || point == Expr::Const(Const::Infinity);
        let kind = if below { BindKind::LimitBelow } else { BindKind::Limit };
        let body = self.term()?;
        Ok(Expr::Bind(Box::new(Bind { kind, var, low: Some(point), high: None, body })))
    }

    /// `{n \choose k}` and `{a \over b}`, after the first part was read as a group's only element.
    pub(super) fn infix_in_group(&mut self, first: Expr) -> Parse<Expr> {
        if self.take_command(&["choose"]) {
            return Ok(Expr::Call(Fun::Binomial, vec![first, self.additive()?]));
        }
        if self.take_command(&["over"]) {
            return Ok(divide(first, self.additive()?));
        }
        Ok(first)
    }
}
