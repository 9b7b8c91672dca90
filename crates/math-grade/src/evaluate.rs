//! High-precision evaluation at seeded points: the question that canonical forms leave open is put to random
//! numbers. Two expressions that agree to a hundred digits at several random points are equal; the chance of an
//! accident is nil, and the ways to provoke one (a term too small to be seen) are watched for.

use astro_float::BigFloat;
use num_traits::{Signed, ToPrimitive};

use super::ast::{BindKind, Const, Expr, Fun};
use super::complex::{Complex, Field, Work};
use super::exact::{based, finite_range, substitute};

/// A value for every variable, and the arithmetic.
pub(crate) struct Evaluator<'w> {
    field: Field<'w>,
    point: u64,
    complex_point: bool,
}

/// Bits of the first, watchful evaluation and of the deciding one.
pub(crate) const COARSE: usize = 192;
pub(crate) const FINE: usize = 384;

impl<'w> Evaluator<'w> {
    /// `point` chooses the variables' values; it and the names are all that they depend on. At a complex point
    /// they have imaginary parts.
    pub(crate) fn new(bits: usize, point: u64, complex_point: bool, work: &'w mut Work) -> Self {
        Evaluator { field: Field::new(bits, work), point, complex_point }
    }

    /// A sum lost a term entirely: the result may hide a small difference.
    pub(crate) fn absorbed(&self) -> bool {
        self.field.absorbed
    }

    /// Arithmetic, for what is to be done with values.
    pub(crate) fn field(&mut self) -> &mut Field<'w> {
        &mut self.field
    }

    /// The value of a scalar, `None` where it has none (poles, overflow, sets, too much work).
    pub(crate) fn value(&mut self, e: &Expr) -> Option<Complex> {
        self.field.work.spend(1)?;
        let value = match e {
            Expr::Num(n) | Expr::Dec(n) => Complex::real(self.field.rational(n), &self.field),
            Expr::Percent(x) => {
                let x = self.value(x)?;
                let hundred = self.field.small(100.0);
                self.field.div(&x, &hundred)?
            }
            Expr::Based(digits, base) => {
                Complex::real(self.field.integer(&based(digits, *base)?), &self.field)
            }
            Expr::Sym(name) => self.symbol(name),
            Expr::Const(Const::Pi) => {
                let pi = self.field.pi();
                Complex::real(pi, &self.field)
            }
            Expr::Const(Const::E) => {
                let one = self.field.small(1.0);
                self.field.exp(&one)?
            }
            Expr::Const(Const::I) => self.field.i(),
            Expr::Const(Const::Infinity) => return None,
            Expr::Add(xs) => {
                let xs = self.values(xs)?;
                xs.into_iter().reduce(|a, b| self.field.add(&a, &b))?
            }
            Expr::Mul(xs) => {
                let xs = self.values(xs)?;
                xs.into_iter().reduce(|a, b| self.field.mul(&a, &b))?
            }
            Expr::Pow(base, exponent) => self.power(base, exponent)?,
            Expr::Call(fun, args) => self.call(*fun, args)?,
            Expr::Apply(name, args) => {
                let args = self.values(args)?;
                self.unknown(name, &args)
            }
            Expr::Bind(b) => self.bound(b)?,
            _ => return None,
        };
        value.is_finite().then_some(value)
    }

    fn values(&mut self, xs: &[Expr]) -> Option<Vec<Complex>> {
        xs.iter().map(|x| self.value(x)).collect()
    }

    /// A number in ±[½, 2½], from a hash of name and point.
    fn symbol(&self, name: &str) -> Complex {
        let h = hash(name, self.point);
        let part = |bits: u64| 0.5 + 2.0 * (bits % 1_000_003) as f64 / 1_000_003.0;
        let re = if self.point % 2 == 1 && h >> 63 == 1 { -part(h) } else { part(h) };
        let im = if self.complex_point { part(h.rotate_left(29)) - 1.5 } else { 0.0 };
        Complex { re: self.field.float(re), im: self.field.float(im) }
    }

    /// An unknown function: a cubic with coefficients from its name.
    fn unknown(&mut self, name: &str, args: &[Complex]) -> Complex {
        let mut total = self.symbol(&format!("\u{3}{name}"));
        for (i, arg) in args.iter().enumerate() {
            let mut power = arg.clone();
            for k in 0..3 {
                let c = self.symbol(&format!("\u{3}{name}{i},{k}"));
                let term = self.field.mul(&c, &power);
                total = self.field.add(&total, &term);
                power = self.field.mul(&power, arg);
            }
        }
        total
    }

    fn power(&mut self, base: &Expr, exponent: &Expr) -> Option<Complex> {
        let whole = exponent.number().filter(|n| n.is_integer()).map(|n| n.to_integer().to_i64());
        let b = self.value(base)?;
        match whole {
            Some(Some(n)) if n.abs() <= 100_000 => self.field.powi(&b, n),
            Some(_) => None,
            None if exponent.number().is_some_and(|n| *n.numer() == 1.into() && *n.denom() == 2.into()) => {
                self.field.sqrt(&b)
            }
            None if *base == Expr::Const(Const::E) => {
                let e = self.value(exponent)?;
                self.field.exp(&e)
            }
            None => {
                let e = self.value(exponent)?;
                if let Some(n) = self.field.nearest_integer(&e).filter(|n| n.abs() <= 4096) {
                    return self.field.powi(&b, n);
                }
                self.field.pow(&b, &e)
            }
        }
    }

    fn call(&mut self, fun: Fun, args: &[Expr]) -> Option<Complex> {
        let xs = self.values(args)?;
        let f = &mut self.field;
        let one = f.small(1.0);
        match (fun, xs.as_slice()) {
            (Fun::Sin, [x]) => f.sin(x),
            (Fun::Cos, [x]) => f.cos(x),
            (Fun::Tan, [x]) => f.tan(x),
            (Fun::Cot, [x]) => f.tan(x).and_then(|t| f.div(&one, &t)),
            (Fun::Sec, [x]) => f.cos(x).and_then(|t| f.div(&one, &t)),
            (Fun::Csc, [x]) => f.sin(x).and_then(|t| f.div(&one, &t)),
            (Fun::Asin, [x]) => f.asin(x),
            (Fun::Acos, [x]) => f.acos(x),
            (Fun::Atan, [x]) => f.atan(x),
            (Fun::Acot, [x]) => f.div(&one, x).and_then(|y| f.atan(&y)),
            (Fun::Asec, [x]) => f.div(&one, x).and_then(|y| f.acos(&y)),
            (Fun::Acsc, [x]) => f.div(&one, x).and_then(|y| f.asin(&y)),
            (Fun::Sinh, [x]) => f.sinh_cosh(x).map(|(s, _)| s),
            (Fun::Cosh, [x]) => f.sinh_cosh(x).map(|(_, c)| c),
            (Fun::Tanh, [x]) => f.sinh_cosh(x).and_then(|(s, c)| f.div(&s, &c)),
            (Fun::Coth, [x]) => f.sinh_cosh(x).and_then(|(s, c)| f.div(&c, &s)),
            (Fun::Sech, [x]) => f.sinh_cosh(x).and_then(|(_, c)| f.div(&one, &c)),
            (Fun::Csch, [x]) => f.sinh_cosh(x).and_then(|(s, _)| f.div(&one, &s)),
            (Fun::Asinh, [x]) => f.asinh(x),
            (Fun::Acosh, [x]) => f.acosh(x),
            (Fun::Atanh, [x]) => f.atanh(x),
            (Fun::Log, [x, base]) => {
                let (x, base) = (f.ln(x)?, f.ln(base)?);
                f.div(&x, &base)
            }
            (Fun::Abs, [x]) => Some(Complex::real(f.abs(x), f)),
            (Fun::Re, [x]) => Some(Complex::real(x.re.clone(), f)),
            (Fun::Im, [x]) => Some(Complex::real(x.im.clone(), f)),
            (Fun::Arg, [x]) => f.ln(x).map(|l| Complex::real(l.im, f)),
            (Fun::Conjugate, [x]) => Some(Complex { re: x.re.clone(), im: x.im.neg() }),
            (Fun::Floor, [x]) => f.floor(x),
            (Fun::Ceil, [x]) => f.floor(&x.neg()).map(|y| y.neg()),
            (Fun::Mod, [a, b]) => {
                let quotient = f.div(a, b)?;
                let quotient = f.floor(&quotient)?;
                let whole = f.mul(b, &quotient);
                Some(f.add(a, &whole.neg()))
            }
            (Fun::Max | Fun::Min, xs) => {
                if xs.iter().any(|x| !x.im.is_zero()) {
                    return None;
                }
                let better = |a: Complex, b: Complex| {
                    let less = a.re.cmp(&b.re).is_some_and(|o| o < 0);
                    if less == (fun == Fun::Max) { b } else { a }
                };
                xs.iter().cloned().reduce(better)
            }
            (Fun::Factorial, [x]) => match f.nearest_integer(x) {
                Some(n @ 0..=2000) => f.work.spend(n as usize / 2).and(Some((1..=n).fold(one, |acc, k| {
                    let k = f.small(k as f64);
                    f.mul(&acc, &k)
                }))),
                Some(_) => None,
                None => Some(self.unknown("!", &xs)),
            },
            (Fun::Binomial, [n, k]) => match f.nearest_integer(k) {
                Some(k @ 0..=300) => {
                    f.work.spend(2 * k as usize)?;
                    let mut out = one;
                    for i in 0..k {
                        let (i, next) = (f.small(i as f64), f.small((i + 1) as f64));
                        let top = f.add(n, &i.neg());
                        let factor = f.div(&top, &next)?;
                        out = f.mul(&out, &factor);
                    }
                    Some(out)
                }
                _ => Some(self.unknown("binomial", &xs)),
            },
            // Symmetric in their arguments.
            (Fun::Gcd | Fun::Lcm, xs) => {
                let sum = xs.iter().cloned().reduce(|a, b| f.add(&a, &b))?;
                let product = xs.iter().cloned().reduce(|a, b| f.mul(&a, &b))?;
                Some(self.unknown(if fun == Fun::Gcd { "gcd" } else { "lcm" }, &[sum, product]))
            }
            _ => None,
        }
    }

    /// Finite sums and products are computed; other binding operators are unknown functions of their ends and of
    /// the body's values at three places, so that equal bodies and ends agree and others do not.
    fn bound(&mut self, b: &super::ast::Bind) -> Option<Complex> {
        if let (BindKind::Sum | BindKind::Product, Some(Expr::Num(low)), Some(Expr::Num(high))) =
            (b.kind, &b.low, &b.high)
            && let Some(range) = finite_range(low, high)
        {
            let sum = b.kind == BindKind::Sum;
            let mut total = self.field.small(if sum { 0.0 } else { 1.0 });
            for k in range {
                let term =
                    substitute(&b.body, &b.var, &Expr::Num(num_rational::BigRational::from_integer(k)));
                let term = self.value(&term)?;
                total = if sum { self.field.add(&total, &term) } else { self.field.mul(&total, &term) };
            }
            return Some(total);
        }
        let mut parts = Vec::new();
        if b.binds_nothing() {
            parts.push(self.symbol(&format!("\u{4}{}", b.var)));
        }
        for place in ["\u{4}1", "\u{4}2", "\u{4}3"] {
            let var = if b.binds_nothing() {
                b.body.clone()
            } else {
                substitute(&b.body, &b.var, &Expr::Sym(place.into()))
            };
            parts.push(self.value(&var)?);
        }
        for end in b.low.iter().chain(b.high.iter()) {
            parts.push(match end {
                Expr::Const(Const::Infinity) => self.symbol("\u{4}oo"),
                Expr::Mul(xs)
                    if xs.len() == 2
                        && xs[1] == Expr::Const(Const::Infinity)
                        && xs[0].number().is_some_and(Signed::is_negative) =>
                {
                    self.symbol("\u{4}-oo")
                }
                end => self.value(end)?,
            });
        }
        Some(self.unknown(&format!("{:?}", b.kind), &parts))
    }
}

/// FNV-1a over the name, then mixed with the point (SplitMix64's finaliser).
fn hash(name: &str, point: u64) -> u64 {
    let mut h = 0xcbf2_9ce4_8422_2325_u64;
    for b in name.bytes() {
        h = (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3);
    }
    h = h.wrapping_add(point.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    h = (h ^ (h >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    h = (h ^ (h >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    h ^ (h >> 31)
}

/// A float as `f64`, for rounding and ordering.
pub(crate) fn to_f64(x: &BigFloat) -> f64 {
    let Some((words, _, sign, exponent, _)) = x.as_raw_parts() else { return f64::NAN };
    let Some(&top) = words.last() else { return 0.0 };
    if x.is_zero() {
        return 0.0;
    }
    let next = if words.len() > 1 { words[words.len() - 2] as f64 / 2f64.powi(64) } else { 0.0 };
    let mantissa = (top as f64 + next) / 2f64.powi(64);
    let value = if exponent.abs() > 1020 {
        if exponent > 0 { f64::INFINITY } else { 0.0 }
    } else {
        mantissa * 2f64.powi(exponent)
    };
    if sign == astro_float::Sign::Neg { -value } else { value }
}
