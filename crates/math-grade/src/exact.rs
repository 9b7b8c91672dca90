//! Exact arithmetic that canonical forms are made of: functions of rational numbers with rational values, digits
//! in a base, factors, finite ranges, substitution.

use num_bigint::BigInt;
use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

use super::ast::{Expr, Fun};
use super::canon::Stop;

/// The integers of a finite sum's range, if there are not too many.
pub(super) fn finite_range(low: &BigRational, high: &BigRational) -> Option<Vec<BigInt>> {
    if !low.is_integer() || !high.is_integer() {
        return None;
    }
    let count = (high - low).to_integer().to_i64().filter(|n| (-1..100).contains(n))? + 1;
    Some((0..count).map(|i| low.to_integer() + i).collect())
}

/// `e` with the variable `name` replaced.
pub(super) fn substitute(e: &Expr, name: &str, value: &Expr) -> Expr {
    let all = |xs: &[Expr]| xs.iter().map(|x| substitute(x, name, value)).collect();
    match e {
        Expr::Sym(s) if s == name => value.clone(),
        Expr::Add(xs) => Expr::Add(all(xs)),
        Expr::Mul(xs) => Expr::Mul(all(xs)),
        Expr::Pow(a, b) => substitute(a, name, value).pow(substitute(b, name, value)),
        Expr::Percent(a) => Expr::Percent(Box::new(substitute(a, name, value))),
        Expr::Call(f, xs) => Expr::Call(*f, all(xs)),
        Expr::Apply(f, xs) => Expr::Apply(f.clone(), all(xs)),
        Expr::Bind(b) if b.var != name => {
            let mut b = b.clone();
            b.body = substitute(&b.body, name, value);
            b.low = b.low.map(|x| substitute(&x, name, value));
            b.high = b.high.map(|x| substitute(&x, name, value));
            Expr::Bind(b)
        }
        other => other.clone(),
    }
}

/// The value of decimal-looking `digits` read in `base`; `None` if a digit is too large.
pub(super) fn based(digits: &BigInt, base: u32) -> Option<BigInt> {
    let text = digits.abs().to_string();
    let value = text
        .chars()
        .try_fold(BigInt::zero(), |acc, c| c.to_digit(10).filter(|d| *d < base).map(|d| acc * base + d))?;
    Some(if digits.is_negative() { -value } else { value })
}

/// Prime factors with exponents; a large rest without small factors stands for itself.
pub(super) fn factor(n: BigInt) -> Result<Vec<(BigInt, u32)>, Stop> {
    if n.bits() > 512 {
        return Err(Stop::Budget);
    }
    let mut rest = n;
    let mut factors = Vec::new();
    for p in (2..1000_u32).filter(|p| *p == 2 || p % 2 == 1) {
        let mut exponent = 0;
        while rest.bits() > 1 && (&rest % p).is_zero() {
            rest /= p;
            exponent += 1;
        }
        if exponent > 0 {
            factors.push((BigInt::from(p), exponent));
        }
        if rest.is_one() || rest < BigInt::from(p) * p {
            break;
        }
    }
    if !rest.is_one() {
        let root = rest.sqrt();
        if &root * &root == rest { factors.push((root, 2)) } else { factors.push((rest, 1)) }
    }
    Ok(factors)
}

/// Functions of rational numbers with rational values. `None`: not one of those.
pub(super) fn fold(fun: Fun, xs: &[BigRational]) -> Option<Result<BigRational, Stop>> {
    let whole = |n: BigInt| Some(Ok(BigRational::from_integer(n)));
    Some(Ok(match (fun, xs) {
        (Fun::Abs, [x]) => x.abs(),
        (Fun::Re | Fun::Conjugate, [x]) => x.clone(),
        (Fun::Im, [_]) => BigRational::zero(),
        (Fun::Floor, [x]) => x.floor(),
        (Fun::Ceil, [x]) => x.ceil(),
        (Fun::Max, xs) => xs.iter().max()?.clone(),
        (Fun::Min, xs) => xs.iter().min()?.clone(),
        (Fun::Gcd, xs) => xs.iter().cloned().reduce(|a, b| gcd(&a, &b))?.abs(),
        (Fun::Lcm, xs) => xs
            .iter()
            .cloned()
            .reduce(
                |a, b| if a.is_zero() || b.is_zero() { BigRational::zero() } else { (&a * &b) / gcd(&a, &b) },
            )?
            .abs(),
        (Fun::Mod, [_, b]) if b.is_zero() => return Some(Err(Stop::Undefined)),
        (Fun::Mod, [a, b]) => a - b * (a / b).floor(),
        (Fun::Factorial, [n]) => {
            let n = n.is_integer().then(|| n.to_integer().to_u32()).flatten().filter(|n| *n <= 300)?;
            return whole((1..=n).fold(BigInt::one(), |acc, k| acc * k));
        }
        (Fun::Binomial, [n, k]) => {
            let (n, k) = (
                n.is_integer().then(|| n.to_integer())?,
                k.is_integer().then(|| k.to_integer().to_u32()).flatten().filter(|k| *k <= 300)?,
            );
            if n.bits() > 32 {
                return None;
            }
            return whole((0..k).fold(BigInt::one(), |acc, i| acc * (&n - i) / (i + 1)));
        }
        (Fun::Log, [x, _]) if x.is_zero() => return Some(Err(Stop::Undefined)),
        (Fun::Log, [x, b]) => return exact_log(x, b).map(|n| Ok(BigRational::from_integer(n.into()))),
        (Fun::Sin | Fun::Tan | Fun::Asin | Fun::Atan | Fun::Sinh | Fun::Tanh, [x]) if x.is_zero() => {
            BigRational::zero()
        }
        (Fun::Cos | Fun::Cosh, [x]) if x.is_zero() => BigRational::one(),
        _ => return None,
    }))
}

pub(super) fn gcd(a: &BigRational, b: &BigRational) -> BigRational {
    BigRational::new((a.numer() * b.denom()).gcd(&(b.numer() * a.denom())), a.denom() * b.denom())
}

/// `n` with `base^n = x`, for small integers `n`.
fn exact_log(x: &BigRational, base: &BigRational) -> Option<i64> {
    if !x.is_positive() || !base.is_positive() || base.is_one() {
        return None;
    }
    let mut power = BigRational::one();
    for n in 0..64 {
        if power == *x {
            return Some(n);
        }
        if power.recip() == *x {
            return Some(-n);
        }
        power *= base;
        if power.numer().bits() > x.numer().bits().max(x.denom().bits()) + 8 {
            break;
        }
    }
    None
}
