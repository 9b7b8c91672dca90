//! Whether two scalars are equal: by canonical form, by rounding where one is a decimal, by evaluation.

use std::collections::BTreeSet;

use num_rational::BigRational;
use num_traits::{Signed, ToPrimitive, Zero};

use super::ast::{Const, Expr, Fun};
use super::canon::{Canon, Ratio, Stop};
use super::complex::{Complex, Work};
use super::evaluate::{COARSE, Evaluator, FINE, to_f64};

/// How a question of equality was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Equal(&'static str),
    Unequal(&'static str),
}

impl Outcome {
    pub(crate) fn is_equal(self) -> bool {
        matches!(self, Outcome::Equal(_))
    }

    pub(crate) fn reason(self) -> &'static str {
        match self {
            Outcome::Equal(r) | Outcome::Unequal(r) => r,
        }
    }

    pub(crate) fn of(equal: bool, yes: &'static str, no: &'static str) -> Outcome {
        if equal { Outcome::Equal(yes) } else { Outcome::Unequal(no) }
    }
}

/// Compares scalars; holds what one grading may still spend.
pub(crate) struct Scalars {
    /// Decimal places to which decimals are compared.
    pub(crate) places: u32,
    /// Whether a relation may answer a reference that is a set.
    pub(crate) relation_for_set: bool,
    /// Comparisons of parts left.
    comparisons: usize,
    /// Steps towards canonical forms left.
    steps: usize,
    /// Units of evaluation left.
    pub(crate) work: Work,
}

/// What one grading may spend.
const COMPARISONS: usize = 3000;
const STEPS: usize = 6_000;
const UNITS: usize = 20_000;
/// Most steps of one canonical comparison.
const STEPS_AT_ONCE: usize = 3000;

impl Scalars {
    pub(crate) fn new(places: u32) -> Self {
        Scalars {
            places,
            relation_for_set: false,
            comparisons: COMPARISONS,
            steps: STEPS,
            work: Work::new(UNITS),
        }
    }

    /// Takes one comparison from the budget; false when there is none left.
    pub(crate) fn afford(&mut self) -> bool {
        self.comparisons = self.comparisons.saturating_sub(1);
        self.comparisons > 0
    }

    /// Runs `f` with a fresh context for canonical forms, within the budget.
    pub(crate) fn with_canon<T>(&mut self, f: impl FnOnce(&mut Self, &mut Canon) -> T) -> T {
        let granted = self.steps.min(STEPS_AT_ONCE);
        self.steps -= granted;
        let mut canon = Canon::new(granted);
        let result = f(self, &mut canon);
        self.steps += canon.steps;
        result
    }

    /// Equality of two scalar expressions, `gold` being the reference.
    pub(crate) fn equal(&mut self, gold: &Expr, pred: &Expr) -> Outcome {
        if let (Some(a), Some(b)) = (infinite(gold), infinite(pred)) {
            return Outcome::of(a == b, "infinite", "different infinities");
        }
        if let (Expr::Based(m, b), Expr::Based(n, c)) = (gold, pred)
            && b == c
        {
            return Outcome::of(m == n, "same digits", "different digits");
        }
        // One side names the base, the other only gives digits.
        if let (Expr::Based(m, _), Expr::Num(n)) | (Expr::Num(n), Expr::Based(m, _)) = (gold, pred) {
            return Outcome::of(n.is_integer() && n.to_integer() == *m, "same digits", "different digits");
        }
        // Percent signs: 9 % is 9 as well as 0.09, so that 500 % is 5.
        if let Some((m, n)) = percents(gold, pred) {
            let hundred = BigRational::from_integer(100.into());
            let scaled = match (gold, pred) {
                (Expr::Percent(_), Expr::Percent(_)) => false,
                (Expr::Percent(_), _) => m == &n * &hundred,
                _ => n == &m * &hundred,
            };
            return Outcome::of(m == n || scaled, "percent", "different percentages");
        }
        if let (Some(a), Some(b)) = (gold.number(), pred.number()) {
            return match (gold, pred) {
                (Expr::Num(_), Expr::Num(_)) => Outcome::of(a == b, "equal numbers", "different numbers"),
                _ => Outcome::of(self.round_alike(a, b), "equal after rounding", "different numbers"),
            };
        }
        self.with_canon(|scalars, canon| scalars.by_form(gold, pred, canon))
    }

    /// By canonical form, else by evaluation.
    fn by_form(&mut self, gold: &Expr, pred: &Expr, canon: &mut Canon) -> Outcome {
        let decimal = is_decimal(gold) || is_decimal(pred);
        let (a, b) = (canon.form(gold), canon.form(pred));
        // `12:00` is no quotient, but it is itself.
        if gold == pred && matches!(a, Err(Stop::Undefined)) {
            return Outcome::Equal("same expression");
        }
        if matches!(a, Err(Stop::Undefined)) || matches!(b, Err(Stop::Undefined)) {
            return Outcome::Unequal("undefined");
        }
        if let (Ok(a), Ok(b)) = (&a, &b) {
            if let (Some(m), Some(n)) = (a.as_number(), b.as_number())
                && (decimal || m == n)
            {
                let outcome =
                    Outcome::of(m == n || self.round_alike(&m, &n), "equal numbers", "different numbers");
                return self.cancelled_symbols(gold, pred, outcome);
            }
            match canon.equal(a, b) {
                Ok(true) => return self.cancelled_symbols(gold, pred, Outcome::Equal("same canonical form")),
                Ok(false) if canon.is_exact() && !decimal => {
                    return Outcome::Unequal("different canonical forms");
                }
                _ => {}
            }
        }
        let outcome = if decimal { self.rounded(gold, pred) } else { None };
        let outcome = outcome.unwrap_or_else(|| numerically(gold, pred, &mut self.work));
        // `sin(e^(9^3))` has a value that cannot be computed here, but it is itself.
        if gold == pred && !outcome.is_equal() {
            return Outcome::Equal("same expression");
        }
        if self.work.units == 0 && !outcome.is_equal() {
            return Outcome::Unequal("step budget spent");
        }
        if outcome.is_equal() { self.cancelled_symbols(gold, pred, outcome) } else { outcome }
    }

    /// A prediction must not bring variables that the reference does not have, even if they cancel: `0·x` and
    /// `x/x` are not answers.
    fn cancelled_symbols(&self, gold: &Expr, pred: &Expr, outcome: Outcome) -> Outcome {
        let (mut in_gold, mut in_pred) = (BTreeSet::new(), BTreeSet::new());
        gold.symbols(&mut in_gold);
        pred.symbols(&mut in_pred);
        if !outcome.is_equal() || in_pred.is_subset(&in_gold) {
            outcome
        } else {
            Outcome::Unequal("variables that the reference does not have")
        }
    }

    /// Both round to the same number of [`Self::places`] decimals, half to even, and do not differ by more than
    /// one part in ten thousand (so that a tiny decimal is not equal to every other); with fewer than six places
    /// by ten times as much for each.
    fn round_alike(&self, a: &BigRational, b: &BigRational) -> bool {
        let scale = BigRational::from_integer(num_traits::pow(10.into(), self.places.min(100) as usize));
        let round = |x: &BigRational| half_even(&(x * &scale));
        let parts = num_traits::pow(10.into(), self.places.saturating_sub(2).min(4) as usize);
        let gap = (a - b).abs() * BigRational::from_integer(parts);
        // Nothing is rounded *to* an integer: 2.9999999 is not 3.
        let whole = a.is_integer() || b.is_integer();
        if whole { a == b } else { round(a) == round(b) && gap <= a.abs().max(b.abs()) }
    }

    /// A decimal against a constant: equal if the constant rounds to it.
    fn rounded(&mut self, gold: &Expr, pred: &Expr) -> Option<Outcome> {
        let mut fine = Evaluator::new(COARSE, 0, false, &mut self.work);
        let (a, b) = (fine.value(gold)?, fine.value(pred)?);
        let (mut symbols, no) = (BTreeSet::new(), Outcome::Unequal("different numbers"));
        gold.symbols(&mut symbols);
        pred.symbols(&mut symbols);
        if !symbols.is_empty() {
            return None;
        }
        if !real(&a) || !real(&b) {
            return Some(no);
        }
        let (a, b) = (to_f64(&a.re), to_f64(&b.re));
        if !a.is_finite() || !b.is_finite() {
            return Some(no);
        }
        if a.abs().max(b.abs()) > 1e9 {
            return Some(Outcome::of(
                (a - b).abs() <= 1e-15 * a.abs(),
                "equal after rounding",
                "different numbers",
            ));
        }
        let exact = |x: f64| BigRational::from_float(x).unwrap_or_else(BigRational::zero);
        Some(Outcome::of(self.round_alike(&exact(a), &exact(b)), "equal after rounding", "different numbers"))
    }
}

/// The value of a constant as a float, for ordering; `None` if it is not a real constant.
pub(crate) fn approximate(e: &Expr, work: &mut Work) -> Option<f64> {
    if let Some(n) = e.number() {
        return n.to_f64();
    }
    if let Some(positive) = infinite(e) {
        return Some(if positive { f64::INFINITY } else { f64::NEG_INFINITY });
    }
    let mut symbols = BTreeSet::new();
    e.symbols(&mut symbols);
    if !symbols.is_empty() {
        return None;
    }
    let value = Evaluator::new(COARSE, 0, false, work).value(e)?;
    real(&value).then(|| to_f64(&value.re))
}

/// The canonical form of `left - right`, in `canon`.
pub(crate) fn difference(canon: &mut Canon, left: &Expr, right: &Expr) -> Option<Ratio> {
    canon.form(&left.clone().minus(right.clone())).ok()
}

/// `∞` (true) or `-∞` (false), written as such.
pub(crate) fn infinite(e: &Expr) -> Option<bool> {
    match e {
        Expr::Const(Const::Infinity) => Some(true),
        Expr::Mul(xs) => match xs.as_slice() {
            [Expr::Num(n), Expr::Const(Const::Infinity)] => Some(!n.is_negative()),
            _ => None,
        },
        _ => None,
    }
}

fn is_decimal(e: &Expr) -> bool {
    match e {
        Expr::Dec(_) => true,
        Expr::Percent(x) => matches!(**x, Expr::Dec(_)),
        _ => false,
    }
}

/// Two whole numbers of which at least one carries a percent sign.
fn percents(a: &Expr, b: &Expr) -> Option<(BigRational, BigRational)> {
    let whole = |e: &Expr| match e {
        Expr::Num(n) if n.is_integer() => Some(n.clone()),
        Expr::Percent(x) => {
            x.number().filter(|_| matches!(**x, Expr::Num(_))).filter(|n| n.is_integer()).cloned()
        }
        _ => None,
    };
    let signed = matches!(a, Expr::Percent(_)) || matches!(b, Expr::Percent(_));
    if signed { Some((whole(a)?, whole(b)?)) } else { None }
}

fn half_even(x: &BigRational) -> num_bigint::BigInt {
    let floor = x.floor();
    let twice = (x - &floor) * BigRational::from_integer(2.into());
    let up = twice > BigRational::from_integer(1.into())
        || twice == BigRational::from_integer(1.into()) && num_integer::Integer::is_odd(&floor.to_integer());
    floor.to_integer() + i32::from(up)
}

fn real(z: &Complex) -> bool {
    z.im.is_zero() || z.exponent().zip(z.im.exponent()).is_some_and(|(whole, im)| im < whole - 100)
}

/// Evaluation at seeded points, each at two precisions: equal if the values agree to [`AGREEMENT`] bits wherever
/// both exist, at two points or more; constants have one point only.
fn numerically(gold: &Expr, pred: &Expr, work: &mut Work) -> Outcome {
    let mut symbols = BTreeSet::new();
    gold.symbols(&mut symbols);
    pred.symbols(&mut symbols);
    let constant = symbols.is_empty() && !has_unknown(gold) && !has_unknown(pred);
    let entire = is_entire(gold) && is_entire(pred);
    let mut valid = 0;
    for point in 0..if constant { 1 } else { 5 } {
        match at_point(gold, pred, point, entire && point >= 3, work) {
            Some(true) => valid += 1,
            Some(false) => return Outcome::Unequal("different values"),
            None => {}
        }
    }
    Outcome::of(valid >= if constant { 1 } else { 2 }, "equal values", "could not be evaluated")
}

/// Bits that must agree, of [`FINE`].
const AGREEMENT: i64 = 288;

/// Whether the two agree at one point; `None` if either has no value there or one hides a term too small to see.
fn at_point(gold: &Expr, pred: &Expr, point: u64, complex: bool, work: &mut Work) -> Option<bool> {
    let mut coarse = Evaluator::new(COARSE, point, complex, work);
    let (a, b) = (coarse.value(gold)?, coarse.value(pred)?);
    let near = coarse.field().close(&a, &b, 60) || vanishing(&a) && vanishing(&b);
    if !near {
        return Some(false);
    }
    if coarse.absorbed() {
        return None;
    }
    let mut fine = Evaluator::new(FINE, point, complex, work);
    let (c, d) = (fine.value(gold)?, fine.value(pred)?);
    // What shrinks with the precision is rounding error about zero.
    let zero = |x: &Complex, y: &Complex| match (x.exponent(), y.exponent()) {
        (_, None) => true,
        (Some(x), Some(y)) => y < x - 100,
        (None, Some(_)) => false,
    };
    Some(match (zero(&a, &c), zero(&b, &d)) {
        (true, true) => true,
        (false, false) => fine.field().close(&c, &d, AGREEMENT),
        _ => false,
    })
}

fn vanishing(z: &Complex) -> bool {
    z.exponent().is_none_or(|e| e < -100)
}

fn has_unknown(e: &Expr) -> bool {
    matches!(e, Expr::Apply(..) | Expr::Bind(_)) || e.children().into_iter().any(has_unknown)
}

/// Analytic and single-valued, so that identities hold at complex points if they hold at real ones.
fn is_entire(e: &Expr) -> bool {
    let here = match e {
        Expr::Num(_)
        | Expr::Dec(_)
        | Expr::Percent(_)
        | Expr::Based(..)
        | Expr::Sym(_)
        | Expr::Const(_)
        | Expr::Add(_)
        | Expr::Mul(_) => true,
        Expr::Pow(base, exponent) => {
            exponent.number().is_some_and(BigRational::is_integer)
                || **base == Expr::Const(Const::E)
                || base.number().is_some_and(BigRational::is_positive)
        }
        Expr::Call(fun, _) => matches!(
            fun,
            Fun::Sin
                | Fun::Cos
                | Fun::Tan
                | Fun::Cot
                | Fun::Sec
                | Fun::Csc
                | Fun::Sinh
                | Fun::Cosh
                | Fun::Tanh
        ),
        _ => false,
    };
    here && e.children().into_iter().all(is_entire)
}
