//! Complex numbers over arbitrary-precision floats, with principal branches. Results are `None` at poles and
//! where an argument is so large that reducing it would take unbounded work.

use astro_float::{BigFloat, Consts, RoundingMode};
use num_bigint::{BigInt, Sign};
use num_rational::BigRational;

const RM: RoundingMode = RoundingMode::None;

#[derive(Clone, Debug)]
pub(crate) struct Complex {
    pub(crate) re: BigFloat,
    pub(crate) im: BigFloat,
}

/// What evaluations may still cost, and the constants that they share (π, ln 2, … to the bits so far needed).
pub(crate) struct Work {
    consts: Option<Consts>,
    /// One for a node of an expression, [`TRANSCENDENTAL`] for a logarithm or sine; about half a microsecond.
    pub(crate) units: usize,
}

/// Units of one call of a transcendental function.
const TRANSCENDENTAL: usize = 30;

impl Work {
    pub(crate) fn new(units: usize) -> Work {
        Work { consts: None, units }
    }

    /// Pays, or says that there is nothing left.
    pub(crate) fn spend(&mut self, units: usize) -> Option<()> {
        self.units = self.units.saturating_sub(units);
        (self.units > 0).then_some(())
    }
}

/// A precision; also notes when an addition lost its smaller term.
pub(crate) struct Field<'w> {
    bits: usize,
    pub(crate) work: &'w mut Work,
    pub(crate) absorbed: bool,
}

impl Complex {
    pub(crate) fn real(re: BigFloat, field: &Field<'_>) -> Complex {
        Complex { re, im: field.float(0.0) }
    }

    pub(crate) fn neg(&self) -> Complex {
        Complex { re: self.re.neg(), im: self.im.neg() }
    }

    pub(crate) fn is_finite(&self) -> bool {
        let finite = |x: &BigFloat| !x.is_nan() && !x.is_inf();
        finite(&self.re) && finite(&self.im)
    }

    fn is_zero(&self) -> bool {
        self.re.is_zero() && self.im.is_zero()
    }

    fn is_real(&self) -> bool {
        self.im.is_zero()
    }

    /// The larger part's binary exponent; `None` for zero.
    pub(crate) fn exponent(&self) -> Option<i32> {
        let part = |x: &BigFloat| if x.is_zero() { None } else { x.exponent() };
        part(&self.re).max(part(&self.im))
    }
}

impl<'w> Field<'w> {
    pub(crate) fn new(bits: usize, work: &'w mut Work) -> Self {
        Field { bits, work, absorbed: false }
    }

    pub(crate) fn float(&self, x: f64) -> BigFloat {
        BigFloat::from_f64(x, self.bits)
    }

    pub(crate) fn small(&self, x: f64) -> Complex {
        Complex { re: self.float(x), im: self.float(0.0) }
    }

    pub(crate) fn i(&self) -> Complex {
        Complex { re: self.float(0.0), im: self.float(1.0) }
    }

    pub(crate) fn integer(&self, n: &BigInt) -> BigFloat {
        let (sign, words) = n.to_u64_digits();
        let keep = self.bits / 64 + 1;
        let dropped = words.len().saturating_sub(keep);
        let base = self.float(2f64.powi(64));
        let mut value = self.float(0.0);
        for &word in words.iter().rev().take(keep) {
            let word = BigFloat::from_u64(word, self.bits);
            value = value.mul(&base, self.bits, RM).add(&word, self.bits, RM);
        }
        if dropped > 0
            && let Some(e) = value.exponent()
        {
            value.set_exponent(e.saturating_add(64 * i32::try_from(dropped).unwrap_or(i32::MAX / 64)));
        }
        if sign == Sign::Minus { value.neg() } else { value }
    }

    pub(crate) fn rational(&self, n: &BigRational) -> BigFloat {
        let top = self.integer(n.numer());
        if n.is_integer() { top } else { top.div(&self.integer(n.denom()), self.bits, RM) }
    }

    pub(crate) fn pi(&mut self) -> BigFloat {
        self.apply(|p, c| c.pi(p, RM))
    }

    /// Applies one of the real functions, which want the constants; NaN when there is nothing left to spend.
    fn apply(&mut self, f: impl FnOnce(usize, &mut Consts) -> BigFloat) -> BigFloat {
        if self.work.spend(TRANSCENDENTAL).is_none() {
            return BigFloat::nan(None);
        }
        if self.work.consts.is_none() {
            self.work.consts = Consts::new().ok();
        }
        let bits = self.bits;
        self.work.consts.as_mut().map_or_else(|| BigFloat::nan(None), |c| f(bits, c))
    }

    pub(crate) fn add(&mut self, a: &Complex, b: &Complex) -> Complex {
        if let (Some(x), Some(y)) = (a.exponent(), b.exponent()) {
            let gap = i64::from(x) - i64::from(y);
            self.absorbed |= gap.unsigned_abs() > self.bits as u64 + 40;
        }
        Complex { re: a.re.add(&b.re, self.bits, RM), im: a.im.add(&b.im, self.bits, RM) }
    }

    pub(crate) fn mul(&self, a: &Complex, b: &Complex) -> Complex {
        let m = |x: &BigFloat, y: &BigFloat| x.mul(y, self.bits, RM);
        if a.is_real() && b.is_real() {
            return Complex { re: m(&a.re, &b.re), im: self.float(0.0) };
        }
        Complex {
            re: m(&a.re, &b.re).sub(&m(&a.im, &b.im), self.bits, RM),
            im: m(&a.re, &b.im).add(&m(&a.im, &b.re), self.bits, RM),
        }
    }

    pub(crate) fn div(&self, a: &Complex, b: &Complex) -> Option<Complex> {
        if b.is_zero() {
            return None;
        }
        if b.is_real() {
            return Some(Complex { re: a.re.div(&b.re, self.bits, RM), im: a.im.div(&b.re, self.bits, RM) });
        }
        let norm = b.re.mul(&b.re, self.bits, RM).add(&b.im.mul(&b.im, self.bits, RM), self.bits, RM);
        let conjugate = Complex { re: b.re.clone(), im: b.im.neg() };
        let top = self.mul(a, &conjugate);
        Some(Complex { re: top.re.div(&norm, self.bits, RM), im: top.im.div(&norm, self.bits, RM) })
    }

    pub(crate) fn abs(&self, z: &Complex) -> BigFloat {
        if z.is_real() {
            return z.re.abs();
        }
        z.re.mul(&z.re, self.bits, RM).add(&z.im.mul(&z.im, self.bits, RM), self.bits, RM).sqrt(self.bits, RM)
    }

    /// The argument in (-π, π].
    fn arg(&mut self, z: &Complex) -> BigFloat {
        let pi = self.pi();
        let half = pi.div(&self.float(2.0), self.bits, RM);
        if z.re.is_zero() {
            return if z.im.is_negative() { half.neg() } else { half };
        }
        if z.is_real() {
            return if z.re.is_negative() { pi } else { self.float(0.0) };
        }
        let slope = z.im.div(&z.re, self.bits, RM);
        let angle = self.apply(|p, c| slope.atan(p, RM, c));
        if !z.re.is_negative() {
            angle
        } else if z.im.is_negative() {
            angle.sub(&pi, self.bits, RM)
        } else {
            angle.add(&pi, self.bits, RM)
        }
    }

    /// Refuses arguments of transcendental functions that are huge, and notes those too small to be seen (their
    /// square, in a cosine).
    fn tame(&mut self, z: &Complex, largest: i32) -> Option<()> {
        let Some(e) = z.exponent() else { return Some(()) };
        self.absorbed |= i64::from(e) < -(self.bits as i64) / 2;
        (e <= largest).then_some(())
    }

    pub(crate) fn exp(&mut self, z: &Complex) -> Option<Complex> {
        self.tame(z, 24)?;
        let size = self.apply(|p, c| z.re.exp(p, RM, c));
        if z.is_real() {
            return Some(Complex::real(size, self));
        }
        let (cos, sin) = (self.apply(|p, c| z.im.cos(p, RM, c)), self.apply(|p, c| z.im.sin(p, RM, c)));
        Some(Complex { re: size.mul(&cos, self.bits, RM), im: size.mul(&sin, self.bits, RM) })
    }

    pub(crate) fn ln(&mut self, z: &Complex) -> Option<Complex> {
        if z.is_zero() {
            return None;
        }
        let size = self.abs(z);
        let re = self.apply(|p, c| size.ln(p, RM, c));
        let im = self.arg(z);
        Some(Complex { re, im })
    }

    pub(crate) fn sqrt(&mut self, z: &Complex) -> Option<Complex> {
        if z.is_real() {
            let root = z.re.abs().sqrt(self.bits, RM);
            return Some(if z.re.is_negative() {
                Complex { re: self.float(0.0), im: root }
            } else {
                Complex::real(root, self)
            });
        }
        let half = self.small(0.5);
        self.pow(z, &half)
    }

    pub(crate) fn powi(&mut self, z: &Complex, n: i64) -> Option<Complex> {
        if z.is_zero() && n < 0 {
            return None;
        }
        let (mut base, mut out, mut left) = (z.clone(), self.small(1.0), n.unsigned_abs());
        while left > 0 {
            if left & 1 == 1 {
                out = self.mul(&out, &base);
            }
            left >>= 1;
            if left > 0 {
                base = self.mul(&base, &base);
            }
            if base.exponent().is_some_and(|e| e.unsigned_abs() > 1 << 26) {
                return None;
            }
        }
        let one = self.small(1.0);
        if n < 0 { self.div(&one, &out) } else { Some(out) }
    }

    pub(crate) fn pow(&mut self, z: &Complex, e: &Complex) -> Option<Complex> {
        if z.is_zero() {
            return (e.re.is_positive() && !e.re.is_zero()).then(|| self.small(0.0));
        }
        let log = self.ln(z)?;
        let product = self.mul(&log, e);
        self.exp(&product)
    }

    pub(crate) fn sin(&mut self, z: &Complex) -> Option<Complex> {
        self.tame(z, 256)?;
        if z.is_real() {
            let s = self.apply(|p, c| z.re.sin(p, RM, c));
            return Some(Complex::real(s, self));
        }
        // sin z = sinh(iz) / i
        let turned = self.mul(&self.i(), z);
        let (s, _) = self.sinh_cosh(&turned)?;
        self.div(&s, &self.i())
    }

    pub(crate) fn cos(&mut self, z: &Complex) -> Option<Complex> {
        self.tame(z, 256)?;
        if z.is_real() {
            let c = self.apply(|p, c| z.re.cos(p, RM, c));
            return Some(Complex::real(c, self));
        }
        let turned = self.mul(&self.i(), z);
        self.sinh_cosh(&turned).map(|(_, c)| c)
    }

    /// `None` where the cosine vanishes up to rounding.
    pub(crate) fn tan(&mut self, z: &Complex) -> Option<Complex> {
        let (s, c) = (self.sin(z)?, self.cos(z)?);
        if c.exponent().is_none_or(|e| i64::from(e) < 32 - self.bits as i64) {
            return None;
        }
        self.div(&s, &c)
    }

    pub(crate) fn sinh_cosh(&mut self, z: &Complex) -> Option<(Complex, Complex)> {
        let up = self.exp(z)?;
        let down = self.exp(&z.neg())?;
        let two = self.small(2.0);
        let (difference, sum) = (self.add(&up, &down.neg()), self.add(&up, &down));
        Some((self.div(&difference, &two)?, self.div(&sum, &two)?))
    }

    fn one_minus_square(&mut self, z: &Complex) -> Complex {
        let square = self.mul(z, z);
        let one = self.small(1.0);
        self.add(&one, &square.neg())
    }

    /// `-i ln(iz + √(1-z²))`
    pub(crate) fn asin(&mut self, z: &Complex) -> Option<Complex> {
        self.tame(z, 256)?;
        let inner = self.one_minus_square(z);
        let root = self.sqrt(&inner)?;
        let turned = self.mul(&self.i(), z);
        let sum = self.add(&turned, &root);
        let log = self.ln(&sum)?;
        let turn_back = self.i().neg();
        let mut value = self.mul(&turn_back, &log);
        if z.is_real() && !inner.re.is_negative() {
            value.im = self.float(0.0);
        }
        Some(value)
    }

    pub(crate) fn acos(&mut self, z: &Complex) -> Option<Complex> {
        let asin = self.asin(z)?;
        let half = self.pi().div(&self.float(2.0), self.bits, RM);
        let half = Complex::real(half, self);
        Some(self.add(&half, &asin.neg()))
    }

    pub(crate) fn atan(&mut self, z: &Complex) -> Option<Complex> {
        self.tame(z, 256)?;
        if z.is_real() {
            let a = self.apply(|p, c| z.re.atan(p, RM, c));
            return Some(Complex::real(a, self));
        }
        let (one, turned) = (self.small(1.0), self.mul(&self.i(), z));
        let (down, up) = (self.add(&one, &turned.neg()), self.add(&one, &turned));
        let (down, up) = (self.ln(&down)?, self.ln(&up)?);
        let difference = self.add(&down, &up.neg());
        let half_i = Complex { re: self.float(0.0), im: self.float(0.5) };
        Some(self.mul(&half_i, &difference))
    }

    pub(crate) fn asinh(&mut self, z: &Complex) -> Option<Complex> {
        let (one, square) = (self.small(1.0), self.mul(z, z));
        let sum = self.add(&square, &one);
        let root = self.sqrt(&sum)?;
        let inner = self.add(z, &root);
        self.ln(&inner)
    }

    pub(crate) fn acosh(&mut self, z: &Complex) -> Option<Complex> {
        let one = self.small(1.0);
        let (up, down) = (self.add(z, &one), self.add(z, &one.neg()));
        let (up, down) = (self.sqrt(&up)?, self.sqrt(&down)?);
        let product = self.mul(&up, &down);
        let inner = self.add(z, &product);
        self.ln(&inner)
    }

    pub(crate) fn atanh(&mut self, z: &Complex) -> Option<Complex> {
        let one = self.small(1.0);
        let (up, down) = (self.add(&one, z), self.add(&one, &z.neg()));
        let (up, down) = (self.ln(&up)?, self.ln(&down)?);
        let difference = self.add(&up, &down.neg());
        Some(self.mul(&self.small(0.5), &difference))
    }

    /// The integer that a real value is, up to rounding.
    pub(crate) fn nearest_integer(&mut self, z: &Complex) -> Option<i64> {
        if !z.is_real() || z.exponent().is_some_and(|e| e > 50) {
            return None;
        }
        let near = super::evaluate::to_f64(&z.re).round();
        let gap = z.re.sub(&self.float(near), self.bits, RM);
        let close = gap.is_zero() || gap.exponent().is_some_and(|e| i64::from(e) < 64 - self.bits as i64);
        close.then_some(near as i64)
    }

    /// The floor of a real number, with values within rounding of an integer taken for it.
    pub(crate) fn floor(&mut self, z: &Complex) -> Option<Complex> {
        if !z.is_real() || z.exponent().is_some_and(|e| e > self.bits as i32 / 2) {
            return None;
        }
        if let Some(n) = self.nearest_integer(z) {
            return Some(self.small(n as f64));
        }
        Some(Complex::real(z.re.floor(), self))
    }

    /// Whether `|a - b| ≤ 2^-bits · max(|a|, |b|)`.
    pub(crate) fn close(&self, a: &Complex, b: &Complex, bits: i64) -> bool {
        let gap = Complex { re: a.re.sub(&b.re, self.bits, RM), im: a.im.sub(&b.im, self.bits, RM) };
        match (gap.exponent(), a.exponent().max(b.exponent())) {
            (Some(e), Some(scale)) => i64::from(e) <= i64::from(scale) - bits,
            (gap, _) => gap.is_none(),
        }
    }
}
