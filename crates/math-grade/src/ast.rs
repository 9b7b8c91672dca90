//! What an answer is once read: one tree for numbers, expressions, relations, sets, tuples and matrices.
//!
//! There is no subtraction and no division: `a - b` is `Add[a, Mul[-1, b]]`, `a / b` is `Mul[a, Pow[b, -1]]`.
//! Nothing is simplified here; the parser keeps what was written, because some conventions depend on it.

use std::fmt;

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

use super::clock::Clock;

/// An answer, or a part of one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expr {
    /// An exact number.
    Num(BigRational),
    /// A number written with a decimal point (or as `2.5E3`): exact here, but compared after rounding.
    Dec(BigRational),
    /// `x%`: a hundredth of `x`, with its own convention in comparisons.
    Percent(Box<Expr>),
    /// Digits and the base they are written in: `52_8`.
    Based(BigInt, u32),
    /// A variable, or a text answer (lower case, no spaces).
    Sym(String),
    Const(Const),
    Add(Vec<Expr>),
    Mul(Vec<Expr>),
    Pow(Box<Expr>, Box<Expr>),
    Call(Fun, Vec<Expr>),
    /// An unknown function: `f(x)`.
    Apply(String, Vec<Expr>),
    /// An operator that binds a variable: sums, products, integrals, limits, derivatives.
    Bind(Box<Bind>),
    /// A chain `a < b = c`: the first side, then each relation with its right side.
    Rel(Box<Expr>, Vec<(RelOp, Expr)>),
    /// A finite set, in the order written.
    Set(Vec<Expr>),
    Tuple(Vec<Expr>),
    /// An interval; with both ends open it may as well be a pair, and is compared as either.
    Interval(Box<Interval>),
    Union(Vec<Expr>),
    Intersection(Vec<Expr>),
    Minus(Box<Expr>, Box<Expr>),
    /// `ℕ`, `ℤ`, `ℚ`, `ℝ`, `ℂ`
    Named(char),
    Matrix(Vec<Vec<Expr>>),
    /// A time of day.
    Clock(Clock),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Const {
    Pi,
    E,
    I,
    Infinity,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Interval {
    pub(crate) low: Expr,
    pub(crate) high: Expr,
    pub(crate) low_open: bool,
    pub(crate) high_open: bool,
}

/// An operator with a bound variable. `low` and `high` are a sum's or integral's ends; a limit has its point in
/// `low`; a derivative has neither.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bind {
    pub(crate) kind: BindKind,
    pub(crate) var: String,
    pub(crate) low: Option<Expr>,
    pub(crate) high: Option<Expr>,
    pub(crate) body: Expr,
}

impl Bind {
    /// Derivatives and indefinite integrals are functions of their variable; it is not bound, and its name matters.
    pub(crate) fn binds_nothing(&self) -> bool {
        self.kind == BindKind::Derivative
            || self.kind == BindKind::Integral && self.low.is_none() && self.high.is_none()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BindKind {
    Sum,
    Product,
    Integral,
    /// A limit from above (the default) or both sides.
    Limit,
    LimitBelow,
    Derivative,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RelOp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Approx,
    /// `∉`: never unwrapped to its right side.
    NotIn,
}

impl RelOp {
    /// The same relation read from right to left.
    pub(crate) fn flipped(self) -> Self {
        match self {
            RelOp::Lt => RelOp::Gt,
            RelOp::Le => RelOp::Ge,
            RelOp::Gt => RelOp::Lt,
            RelOp::Ge => RelOp::Le,
            other => other,
        }
    }
}

/// Functions with a meaning. Logarithms take `(argument, base)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Fun {
    Sin,
    Cos,
    Tan,
    Cot,
    Sec,
    Csc,
    Asin,
    Acos,
    Atan,
    Acot,
    Asec,
    Acsc,
    Sinh,
    Cosh,
    Tanh,
    Coth,
    Sech,
    Csch,
    Asinh,
    Acosh,
    Atanh,
    Log,
    Abs,
    Floor,
    Ceil,
    Factorial,
    Binomial,
    Gcd,
    Lcm,
    Max,
    Min,
    Mod,
    Det,
    Re,
    Im,
    Arg,
    Conjugate,
    Transpose,
}

impl Fun {
    /// The function of that name, as LaTeX or plain text spells it (without backslash).
    pub(crate) fn named(name: &str) -> Option<Fun> {
        Some(match name {
            "sin" => Fun::Sin,
            "cos" => Fun::Cos,
            "tan" | "tg" => Fun::Tan,
            "cot" | "ctg" => Fun::Cot,
            "sec" => Fun::Sec,
            "csc" | "cosec" => Fun::Csc,
            "arcsin" | "asin" => Fun::Asin,
            "arccos" | "acos" => Fun::Acos,
            "arctan" | "atan" | "arctg" => Fun::Atan,
            "arccot" | "acot" => Fun::Acot,
            "arcsec" | "asec" => Fun::Asec,
            "arccsc" | "acsc" => Fun::Acsc,
            "sinh" => Fun::Sinh,
            "cosh" => Fun::Cosh,
            "tanh" => Fun::Tanh,
            "coth" => Fun::Coth,
            "sech" => Fun::Sech,
            "csch" => Fun::Csch,
            "arcsinh" | "arsinh" | "asinh" => Fun::Asinh,
            "arccosh" | "arcosh" | "acosh" => Fun::Acosh,
            "arctanh" | "artanh" | "atanh" => Fun::Atanh,
            "floor" => Fun::Floor,
            "ceil" | "ceiling" => Fun::Ceil,
            "gcd" => Fun::Gcd,
            "lcm" => Fun::Lcm,
            "max" | "Max" => Fun::Max,
            "min" | "Min" => Fun::Min,
            "det" => Fun::Det,
            "abs" | "Abs" => Fun::Abs,
            "Re" => Fun::Re,
            "Im" => Fun::Im,
            "arg" => Fun::Arg,
            "factorial" => Fun::Factorial,
            "binomial" => Fun::Binomial,
            "Mod" => Fun::Mod,
            "conjugate" => Fun::Conjugate,
            _ => return None,
        })
    }

    /// `sin^{-1}` is the inverse function, not the reciprocal.
    pub(crate) fn inverse(self) -> Option<Fun> {
        Some(match self {
            Fun::Sin => Fun::Asin,
            Fun::Cos => Fun::Acos,
            Fun::Tan => Fun::Atan,
            Fun::Cot => Fun::Acot,
            Fun::Sec => Fun::Asec,
            Fun::Csc => Fun::Acsc,
            Fun::Sinh => Fun::Asinh,
            Fun::Cosh => Fun::Acosh,
            Fun::Tanh => Fun::Atanh,
            _ => return None,
        })
    }
}

impl Expr {
    pub(crate) fn int(n: i64) -> Expr {
        Expr::Num(BigRational::from_integer(n.into()))
    }

    pub(crate) fn neg(self) -> Expr {
        match self {
            Expr::Num(n) => Expr::Num(-n),
            Expr::Dec(n) => Expr::Dec(-n),
            Expr::Percent(x) => Expr::Percent(Box::new(x.neg())),
            Expr::Mul(mut factors) => {
                factors.insert(0, Expr::int(-1));
                Expr::Mul(factors)
            }
            other => Expr::Mul(vec![Expr::int(-1), other]),
        }
    }

    pub(crate) fn minus(self, other: Expr) -> Expr {
        Expr::Add(vec![self, other.neg()])
    }

    pub(crate) fn pow(self, exponent: Expr) -> Expr {
        Expr::Pow(Box::new(self), Box::new(exponent))
    }

    pub(crate) fn interval(low: Expr, high: Expr, low_open: bool, high_open: bool) -> Expr {
        Expr::Interval(Box::new(Interval { low, high, low_open, high_open }))
    }

    /// The value, if this is written as an exact or decimal number.
    pub(crate) fn number(&self) -> Option<&BigRational> {
        match self {
            Expr::Num(n) | Expr::Dec(n) => Some(n),
            _ => None,
        }
    }

    /// Nothing but variables, as in `x`, `A/B`, `f(x)`, `x + y`: the left side of an assignment.
    pub(crate) fn only_symbols(&self) -> bool {
        match self {
            Expr::Sym(_) => true,
            Expr::Pow(b, e) => b.only_symbols() && (**e == Expr::int(-1) || e.only_symbols()),
            Expr::Add(xs) | Expr::Mul(xs) | Expr::Call(_, xs) | Expr::Apply(_, xs) | Expr::Tuple(xs) => {
                !xs.is_empty() && xs.iter().all(Expr::only_symbols)
            }
            Expr::Interval(i) => i.low.only_symbols() && i.high.only_symbols(),
            _ => false,
        }
    }

    /// The parts, for walks that treat every node alike.
    pub(crate) fn children(&self) -> Vec<&Expr> {
        match self {
            Expr::Add(xs) | Expr::Mul(xs) | Expr::Call(_, xs) | Expr::Apply(_, xs) => xs.iter().collect(),
            Expr::Set(xs) | Expr::Tuple(xs) | Expr::Union(xs) | Expr::Intersection(xs) => xs.iter().collect(),
            Expr::Pow(a, b) | Expr::Minus(a, b) => vec![a, b],
            Expr::Percent(a) => vec![a],
            Expr::Rel(a, rest) => std::iter::once(&**a).chain(rest.iter().map(|(_, e)| e)).collect(),
            Expr::Interval(i) => vec![&i.low, &i.high],
            Expr::Matrix(rows) => rows.iter().flatten().collect(),
            Expr::Bind(b) => b.low.iter().chain(b.high.iter()).chain(std::iter::once(&b.body)).collect(),
            Expr::Num(_)
            | Expr::Dec(_)
            | Expr::Based(..)
            | Expr::Sym(_)
            | Expr::Const(_)
            | Expr::Clock(_)
            | Expr::Named(_) => vec![],
        }
    }

    /// A copy in which every part that `change` has another for is replaced, the outermost first; what is
    /// replaced is not looked into.
    pub(crate) fn map(&self, change: &dyn Fn(&Expr) -> Option<Expr>) -> Expr {
        if let Some(other) = change(self) {
            return other;
        }
        let one = |e: &Expr| e.map(change);
        let all = |xs: &[Expr]| xs.iter().map(one).collect::<Vec<Expr>>();
        match self {
            Expr::Add(xs) => Expr::Add(all(xs)),
            Expr::Mul(xs) => Expr::Mul(all(xs)),
            Expr::Call(fun, xs) => Expr::Call(*fun, all(xs)),
            Expr::Apply(name, xs) => Expr::Apply(name.clone(), all(xs)),
            Expr::Set(xs) => Expr::Set(all(xs)),
            Expr::Tuple(xs) => Expr::Tuple(all(xs)),
            Expr::Union(xs) => Expr::Union(all(xs)),
            Expr::Intersection(xs) => Expr::Intersection(all(xs)),
            Expr::Pow(a, b) => one(a).pow(one(b)),
            Expr::Minus(a, b) => Expr::Minus(Box::new(one(a)), Box::new(one(b))),
            Expr::Percent(a) => Expr::Percent(Box::new(one(a))),
            Expr::Rel(a, rest) => {
                Expr::Rel(Box::new(one(a)), rest.iter().map(|(op, e)| (*op, one(e))).collect())
            }
            Expr::Interval(i) => Expr::interval(one(&i.low), one(&i.high), i.low_open, i.high_open),
            Expr::Matrix(rows) => Expr::Matrix(rows.iter().map(|row| all(row)).collect()),
            Expr::Bind(b) => Expr::Bind(Box::new(Bind {
                low: b.low.as_ref().map(one),
                high: b.high.as_ref().map(one),
                body: one(&b.body),
                ..(**b).clone()
            })),
            Expr::Num(_)
            | Expr::Dec(_)
            | Expr::Based(..)
            | Expr::Sym(_)
            | Expr::Const(_)
            | Expr::Clock(_)
            | Expr::Named(_) => self.clone(),
        }
    }

    /// Free variables, into `out` (bound ones are left out).
    pub(crate) fn symbols<'a>(&'a self, out: &mut std::collections::BTreeSet<&'a str>) {
        match self {
            Expr::Sym(name) => {
                out.insert(name);
            }
            Expr::Bind(b) => {
                let mut inner = std::collections::BTreeSet::new();
                b.body.symbols(&mut inner);
                if !b.binds_nothing() {
                    inner.remove(b.var.as_str());
                }
                out.extend(inner);
                b.low.iter().chain(b.high.iter()).for_each(|e| e.symbols(out));
            }
            _ => self.children().into_iter().for_each(|e| e.symbols(out)),
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, open: &str, xs: &[Expr], close: &str| {
            f.write_str(open)?;
            for (i, x) in xs.iter().enumerate() {
                write!(f, "{}{x}", if i > 0 { ", " } else { "" })?;
            }
            f.write_str(close)
        };
        match self {
            Expr::Num(n) => write!(f, "{n}"),
            Expr::Dec(n) => decimal(f, n),
            Expr::Percent(x) => write!(f, "{x}%"),
            Expr::Based(digits, base) => write!(f, "{digits}_{base}"),
            Expr::Sym(name) => f.write_str(name),
            Expr::Const(c) => f.write_str(match c {
                Const::Pi => "pi",
                Const::E => "e",
                Const::I => "i",
                Const::Infinity => "oo",
            }),
            Expr::Add(xs) => join(f, xs, " + ", |x| matches!(x, Expr::Rel(..))),
            Expr::Mul(xs) => join(f, xs, "*", |x| matches!(x, Expr::Add(_) | Expr::Rel(..)) || fraction(x)),
            Expr::Pow(b, e) => {
                let simple = |x: &Expr| {
                    matches!(x, Expr::Sym(_) | Expr::Const(_))
                        || x.number().is_some_and(|n| n.is_integer() && !n.is_negative())
                };
                if simple(b) { write!(f, "{b}") } else { write!(f, "({b})") }?;
                if simple(e) { write!(f, "^{e}") } else { write!(f, "^({e})") }
            }
            Expr::Call(fun, xs) => {
                write!(f, "{}", format!("{fun:?}").to_lowercase())?;
                list(f, "(", xs, ")")
            }
            Expr::Apply(name, xs) => {
                f.write_str(name)?;
                list(f, "(", xs, ")")
            }
            Expr::Bind(b) => {
                write!(f, "{}({}; {}", format!("{:?}", b.kind).to_lowercase(), b.body, b.var)?;
                for end in b.low.iter().chain(b.high.iter()) {
                    write!(f, ", {end}")?;
                }
                f.write_str(")")
            }
            Expr::Rel(first, rest) => {
                write!(f, "{first}")?;
                for (op, right) in rest {
                    let sign = match op {
                        RelOp::Eq => "=",
                        RelOp::Ne => "!=",
                        RelOp::Lt => "<",
                        RelOp::Le => "<=",
                        RelOp::Gt => ">",
                        RelOp::Ge => ">=",
                        RelOp::Approx => "~=",
                        RelOp::NotIn => "not in",
                    };
                    write!(f, " {sign} {right}")?;
                }
                Ok(())
            }
            Expr::Set(xs) => list(f, "{", xs, "}"),
            Expr::Tuple(xs) => list(f, "(", xs, ")"),
            Expr::Interval(i) => {
                let (open, close) = (if i.low_open { '(' } else { '[' }, if i.high_open { ')' } else { ']' });
                write!(f, "{open}{}, {}{close}", i.low, i.high)
            }
            Expr::Union(xs) => join(f, xs, " U ", |_| false),
            Expr::Intersection(xs) => join(f, xs, " n ", |_| false),
            Expr::Minus(a, b) => write!(f, "{a} \\ {b}"),
            Expr::Named(c) => write!(f, "{c}"),
            Expr::Clock(clock) => write!(f, "{clock}"),
            Expr::Matrix(rows) => {
                f.write_str("[")?;
                for (i, row) in rows.iter().enumerate() {
                    list(f, if i > 0 { ", [" } else { "[" }, row, "]")?;
                }
                f.write_str("]")
            }
        }
    }
}

fn fraction(x: &Expr) -> bool {
    x.number().is_some_and(|n| !n.is_integer())
}

fn join(f: &mut fmt::Formatter<'_>, xs: &[Expr], sign: &str, wrap: impl Fn(&Expr) -> bool) -> fmt::Result {
    for (i, x) in xs.iter().enumerate() {
        f.write_str(if i > 0 { sign } else { "" })?;
        if wrap(x) { write!(f, "({x})") } else { write!(f, "{x}") }?;
    }
    Ok(())
}

/// A decimal fraction in decimal notation; others (which do not arise from parsing) as a ratio.
fn decimal(f: &mut fmt::Formatter<'_>, n: &BigRational) -> fmt::Result {
    let mut scaled = n.clone();
    for places in 0..40_usize {
        if scaled.is_integer() {
            let digits = scaled.numer().abs().to_string();
            let digits = format!("{digits:0>width$}", width = places + 1);
            let (whole, part) = digits.split_at(digits.len() - places);
            let sign = if n.is_negative() { "-" } else { "" };
            return if part.is_empty() {
                write!(f, "{sign}{whole}.0")
            } else {
                write!(f, "{sign}{whole}.{part}")
            };
        }
        scaled *= BigRational::from_integer(10.into());
    }
    match n.to_f64() {
        Some(x) if !x.is_zero() || n.is_zero() => write!(f, "{x}"),
        _ => write!(f, "{n}"),
    }
}

/// `10^n` as a rational, for `|n|` up to [`MAX_SCALE`].
pub(crate) fn power_of_ten(n: i64) -> Option<BigRational> {
    if n.unsigned_abs() > MAX_SCALE {
        return None;
    }
    let power = num_traits::pow(BigInt::from(10), n.unsigned_abs() as usize);
    Some(if n < 0 { BigRational::new(BigInt::one(), power) } else { BigRational::from_integer(power) })
}

/// The largest decimal exponent that a literal may have.
const MAX_SCALE: u64 = 2000;
