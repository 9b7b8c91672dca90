//! Powers and roots in canonical form.

use num_integer::Integer;
use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive, Zero};

use super::super::exact::factor;
use super::{Atom, Canon, Form, MAX_BITS, MAX_EXPONENT, Ratio, Stop};

impl Canon {
    fn reciprocal(a: Ratio) -> Form<Ratio> {
        if a.is_zero() { Err(Stop::Undefined) } else { Ok(Ratio { top: a.bottom, bottom: a.top }) }
    }

    pub(super) fn power(&mut self, base: Ratio, exponent: Ratio) -> Form<Ratio> {
        let Some(e) = exponent.as_number() else {
            return match base.as_number() {
                Some(b) if b.is_one() => Ok(base),
                Some(b) => self.tower(&b, exponent),
                None => self.opaque("pow", &[base, exponent]),
            };
        };
        if e.is_integer() {
            return match (e.to_i64(), base.as_number()) {
                (Some(n), None) if n.abs() <= MAX_EXPONENT => self.integer_power(base, n),
                (Some(n), Some(b)) if b.is_zero() || affordable(&b, n) => self.integer_power(base, n),
                (_, Some(b)) if b.is_positive() && !b.is_zero() => self.tower(&b, exponent),
                _ => Err(Stop::Budget),
            };
        }
        let (p, q) = (e.numer().to_i64().ok_or(Stop::Budget)?, e.denom().to_u32().ok_or(Stop::Budget)?);
        if q > 64 || p.abs() > MAX_EXPONENT {
            return Err(Stop::Budget);
        }
        if base.is_zero() {
            return if p > 0 { Ok(base) } else { Err(Stop::Undefined) };
        }
        match base.as_number() {
            Some(n) if n.is_positive() || q == 2 => {
                let root = self.root(&n, q)?;
                self.integer_power(root, p)
            }
            _ => {
                let root = self.opaque(&format!("root{q}"), &[base])?;
                self.integer_power(root, p)
            }
        }
    }

    /// A power that is not computed: known by its base, reduced to one that is no power itself, and its exponent. Equal
    /// towers have equal forms; that unequal ones differ is not concluded.
    fn tower(&mut self, base: &BigRational, exponent: Ratio) -> Form<Ratio> {
        let (mut root, mut scale) = (base.clone(), 1_u32);
        if base.is_integer() && base.is_positive() && base.numer().bits() <= 256 && !base.is_one() {
            let factors = factor(base.numer().clone())?;
            scale = factors.iter().fold(0, |g, (_, n)| g.gcd(n));
            let power = factors.iter().map(|(p, n)| num_traits::pow(p.clone(), (n / scale) as usize));
            root = BigRational::from_integer(power.product());
        }
        let scale = BigRational::from_integer(scale.into());
        let exponent = Ratio { top: exponent.top.scale(&scale), bottom: exponent.bottom };
        self.opaque("pow", &[Ratio::constant(root), exponent])
    }

    fn integer_power(&mut self, base: Ratio, n: i64) -> Form<Ratio> {
        if let Some(b) = base.as_number() {
            if b.is_zero() && n <= 0 {
                // 0^0 is 1, as everywhere in computer algebra.
                return if n == 0 { Ok(Ratio::constant(BigRational::one())) } else { Err(Stop::Undefined) };
            }
            let bits = b.numer().bits().max(b.denom().bits());
            if !affordable(&b, n) {
                return Err(Stop::Budget);
            }
            self.spend((bits.saturating_mul(n.unsigned_abs()) / 64).min(MAX_BITS) as usize)?;
            let power = num_traits::pow(
                b.clone(),
                if bits <= 1 { (n.unsigned_abs() % 2) as usize } else { n.unsigned_abs() as usize },
            );
            return Ok(Ratio::constant(if n < 0 { power.recip() } else { power }));
        }
        let mut base = if n < 0 { Self::reciprocal(base)? } else { base };
        let mut left = n.unsigned_abs();
        let mut out = Ratio::constant(BigRational::one());
        while left > 0 {
            if left & 1 == 1 {
                out = self.mul(&out, &base)?;
            }
            left >>= 1;
            if left > 0 {
                base = self.mul(&base, &base)?;
            }
        }
        Ok(out)
    }

    /// The `q`-th root of a rational number (a negative one only for `q = 2`), as roots of primes.
    fn root(&mut self, n: &BigRational, q: u32) -> Form<Ratio> {
        let mut out = if n.is_negative() {
            self.atom("\u{1}i".into(), Atom::I)
        } else {
            Ratio::constant(BigRational::one())
        };
        for (part, inverse) in [(n.numer().abs(), false), (n.denom().clone(), true)] {
            for (prime, exponent) in factor(part)? {
                // 1/p^{e/q} = p^{-e/q}; keep roots in the numerator: p^{(q - e mod q)/q} / p^{⌈e/q⌉}.
                let (whole, rest) = if inverse {
                    (-i64::from(exponent.div_ceil(q)), (q - exponent % q) % q)
                } else {
                    (i64::from(exponent / q), exponent % q)
                };
                let outside =
                    self.integer_power(Ratio::constant(BigRational::from_integer(prime.clone())), whole)?;
                out = self.mul(&out, &outside)?;
                if rest > 0 {
                    let g = rest.gcd(&q);
                    let atom = self.atom(format!("r{prime},{}", q / g), Atom::Root(prime, q / g));
                    let inside = self.integer_power(atom, i64::from(rest / g))?;
                    out = self.mul(&out, &inside)?;
                }
            }
        }
        Ok(out)
    }
}

/// Whether `b^n` is small enough to be computed.
fn affordable(b: &BigRational, n: i64) -> bool {
    let bits = b.numer().bits().max(b.denom().bits());
    bits <= 1 || bits.saturating_mul(n.unsigned_abs()) <= MAX_BITS
}
