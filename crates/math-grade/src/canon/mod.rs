//! Canonical form: a quotient of polynomials over the rationals in *atoms* (variables, `i`, `π`, `e`, roots of
//! integers, and anything opaque such as `sin(x)` keyed by the canonical form of its argument). Equal forms are
//! a proof of equality; unequal ones a proof of the contrary only where the atoms are independent
//! ([`Canon::is_exact`]), and otherwise a question for [`super::evaluate`].

mod poly;
mod power;

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Signed, Zero};

use super::ast::{BindKind, Const, Expr, Fun};
use super::exact::{based, finite_range, fold, gcd, substitute};
use poly::{Monomial, Poly, divide_by_term};

pub(crate) use poly::Ratio;

/// Why there is no canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Too many terms, digits or steps; the expression may still be evaluated.
    Budget,
    /// `1/0`, `∞ - ∞`: no value at all.
    Undefined,
}

type Form<T> = Result<T, Stop>;
const MAX_TERMS: usize = 200;
const MAX_BITS: u64 = 8192;
const MAX_EXPONENT: i64 = 512;

#[derive(Clone, Debug, PartialEq)]
enum Atom {
    /// A variable, or `π`, or `e`.
    Free,
    I,
    /// `radicand^(1/degree)`
    Root(BigInt, u32),
    /// Only known by its key.
    Opaque,
}

/// The atoms of one comparison, shared by both sides.
#[derive(Debug)]
pub(crate) struct Canon {
    atoms: Vec<Atom>,
    names: HashMap<String, u32>,
    /// Steps left: one for a node, one for a product of two terms; a few microseconds.
    pub(crate) steps: usize,
}

impl Canon {
    /// An empty context that may take so many steps.
    pub(crate) fn new(steps: usize) -> Canon {
        Canon { atoms: Vec::new(), names: HashMap::new(), steps }
    }

    fn spend(&mut self, steps: usize) -> Form<()> {
        self.steps = self.steps.checked_sub(steps + 1).ok_or(Stop::Budget)?;
        Ok(())
    }

    /// Whether unequal forms prove inequality: variables, `i`, square roots of distinct primes and at most one of
    /// `π` and `e` are algebraically independent in the needed sense; opaque atoms need not be.
    pub(crate) fn is_exact(&self) -> bool {
        let independent = |a: &Atom| matches!(a, Atom::Free | Atom::I | Atom::Root(_, 2));
        self.atoms.iter().all(independent)
            && !(self.names.contains_key("\u{1}pi") && self.names.contains_key("\u{1}e"))
    }

    /// The canonical form of a scalar expression.
    pub(crate) fn form(&mut self, e: &Expr) -> Form<Ratio> {
        self.spend(1)?;
        match e {
            Expr::Num(n) | Expr::Dec(n) => Ok(Ratio::constant(n.clone())),
            Expr::Percent(x) => {
                let x = self.form(x)?;
                Ok(Ratio { top: x.top.scale(&BigRational::new(1.into(), 100.into())), bottom: x.bottom })
            }
            Expr::Based(digits, base) => based(digits, *base)
                .map(|n| Ratio::constant(BigRational::from_integer(n)))
                .ok_or(Stop::Undefined),
            Expr::Sym(name) => Ok(self.atom(format!("s{name}"), Atom::Free)),
            Expr::Const(Const::Pi) => Ok(self.atom("\u{1}pi".into(), Atom::Free)),
            Expr::Const(Const::E) => Ok(self.atom("\u{1}e".into(), Atom::Free)),
            Expr::Const(Const::I) => Ok(self.atom("\u{1}i".into(), Atom::I)),
            Expr::Const(Const::Infinity) => Err(Stop::Undefined),
            Expr::Add(xs) => {
                let mut sum = Ratio::constant(BigRational::zero());
                for x in xs {
                    let x = self.form(x)?;
                    sum = self.add(&sum, &x)?;
                }
                Ok(sum)
            }
            Expr::Mul(xs) => {
                let mut product = Ratio::constant(BigRational::one());
                for x in xs {
                    let x = self.form(x)?;
                    product = self.mul(&product, &x)?;
                }
                Ok(product)
            }
            Expr::Pow(base, exponent) => {
                let b = self.form(base)?;
                let e = self.form(exponent)?;
                self.power(b, e)
            }
            Expr::Call(fun, args) => {
                if let (Fun::Det, [Expr::Matrix(rows)]) = (fun, args.as_slice()) {
                    return self.determinant(rows);
                }
                let args = args.iter().map(|a| self.form(a)).collect::<Form<Vec<_>>>()?;
                let numbers: Option<Vec<_>> = args.iter().map(Ratio::as_number).collect();
                if let Some(value) = numbers.and_then(|xs| fold(*fun, &xs)) {
                    return value.map(Ratio::constant);
                }
                if matches!(fun, Fun::Gcd | Fun::Lcm)
                    && let Some(value) = self.common(*fun, &args)?
                {
                    return Ok(value);
                }
                self.opaque(&format!("{fun:?}"), &args)
            }
            Expr::Apply(name, args) => {
                let args = args.iter().map(|a| self.form(a)).collect::<Form<Vec<_>>>()?;
                self.opaque(&format!("f{name}"), &args)
            }
            Expr::Bind(b) => {
                if let (BindKind::Sum | BindKind::Product, Some(low), Some(high)) = (b.kind, &b.low, &b.high)
                {
                    let mut end = |e| self.form(e).ok().and_then(|r| r.as_number());
                    let ends = (end(low), end(high));
                    if let (Some(low), Some(high)) = ends
                        && let Some(terms) = finite_range(&low, &high)
                    {
                        let neutral =
                            if b.kind == BindKind::Sum { BigRational::zero() } else { BigRational::one() };
                        let mut total = Ratio::constant(neutral);
                        for k in terms {
                            let value = self.form(&substitute(
                                &b.body,
                                &b.var,
                                &Expr::Num(BigRational::from_integer(k)),
                            ))?;
                            total = if b.kind == BindKind::Sum {
                                self.add(&total, &value)
                            } else {
                                self.mul(&total, &value)
                            }?;
                        }
                        return Ok(total);
                    }
                }
                // The bound variable's name does not matter.
                let free = b.binds_nothing();
                let body = if free {
                    b.body.clone()
                } else {
                    substitute(&b.body, &b.var, &Expr::Sym("\u{2}".into()))
                };
                let mut parts = vec![self.form(&body)?];
                for end in b.low.iter().chain(b.high.iter()) {
                    parts.push(match end {
                        Expr::Const(Const::Infinity) => self.atom("\u{1}oo".into(), Atom::Opaque),
                        end => self.form(end)?,
                    });
                }
                let var = if free { b.var.as_str() } else { "" };
                self.opaque(&format!("{:?}{var}", b.kind), &parts)
            }
            _ => Err(Stop::Budget),
        }
    }

    /// Whether two forms are the same function: `a/b = c/d` iff `ad - bc = 0`.
    pub(crate) fn equal(&mut self, a: &Ratio, b: &Ratio) -> Form<bool> {
        Ok(self.product(&a.top, &b.bottom)? == self.product(&b.top, &a.bottom)?)
    }

    /// Whether `a = k·b` for some rational number `k`; gives `k`. Denominators are ignored if `tops_only`.
    pub(crate) fn proportional(
        &mut self,
        a: &Ratio,
        b: &Ratio,
        tops_only: bool,
    ) -> Form<Option<BigRational>> {
        let (left, right) = if tops_only {
            (a.top.clone(), b.top.clone())
        } else {
            (self.product(&a.top, &b.bottom)?, self.product(&b.top, &a.bottom)?)
        };
        let ((Some((m, x)), Some((n, y))), true) =
            ((left.0.first_key_value(), right.0.first_key_value()), left.0.len() == right.0.len())
        else {
            return Ok(None);
        };
        let k = x / y;
        Ok((m == n && left == right.scale(&k)).then_some(k))
    }

    fn atom(&mut self, name: String, kind: Atom) -> Ratio {
        let next = self.atoms.len() as u32;
        let id = *self.names.entry(name).or_insert(next);
        if id == next {
            self.atoms.push(kind);
        }
        Ratio {
            top: Poly(BTreeMap::from([(vec![(id, 1)], BigRational::one())])),
            bottom: Poly::constant(BigRational::one()),
        }
    }

    /// `name(args)`, known by name and arguments alone.
    fn opaque(&mut self, name: &str, args: &[Ratio]) -> Form<Ratio> {
        let mut key = format!("o{name}(");
        for arg in args {
            let lead = arg.bottom.0.first_key_value().map_or_else(BigRational::one, |(_, c)| c.recip());
            for poly in [&arg.top, &arg.bottom] {
                for (monomial, c) in &poly.0 {
                    let _ = write!(key, "{}{monomial:?}", c * &lead);
                }
                key.push('/');
            }
        }
        if key.len() > 4096 {
            return Err(Stop::Budget);
        }
        Ok(self.atom(key, Atom::Opaque))
    }

    fn add(&mut self, a: &Ratio, b: &Ratio) -> Form<Ratio> {
        if a.bottom == b.bottom {
            return Ok(Ratio { top: a.top.add(&b.top), bottom: a.bottom.clone() });
        }
        let top = self.product(&a.top, &b.bottom)?.add(&self.product(&b.top, &a.bottom)?);
        Ok(Ratio { top, bottom: self.product(&a.bottom, &b.bottom)? })
    }

    fn mul(&mut self, a: &Ratio, b: &Ratio) -> Form<Ratio> {
        let mut r = Ratio { top: self.product(&a.top, &b.top)?, bottom: self.product(&a.bottom, &b.bottom)? };
        // Keep numbers (and numeric denominators) in lowest terms.
        if let Some(c) = r.bottom.as_constant() {
            r.top = r.top.scale(&c.recip());
            r.bottom = Poly::constant(BigRational::one());
        } else if r.top == r.bottom {
            r = Ratio::constant(BigRational::one());
        }
        Ok(r)
    }

    fn product(&mut self, a: &Poly, b: &Poly) -> Form<Poly> {
        if let Some(c) = b.as_constant() {
            return Ok(if c.is_zero() { Poly::default() } else { a.clone().scale(&c) });
        }
        let mut out = Poly::default();
        self.spend(a.0.len() * b.0.len())?;
        for (m, x) in &a.0 {
            for (n, y) in &b.0 {
                let (monomial, c) = self.times(m, n);
                let c = x * y * c;
                let bits = c.numer().bits() + c.denom().bits();
                if bits > MAX_BITS {
                    return Err(Stop::Budget);
                }
                if bits > 256 {
                    self.spend(bits as usize / 32)?;
                }
                out.add_term(monomial, c);
            }
            if out.0.len() > MAX_TERMS {
                return Err(Stop::Budget);
            }
        }
        Ok(out)
    }

    /// The product of two monomials, with `i² = -1` and `(r^{1/n})^n = r` reduced into the coefficient.
    fn times(&self, m: &Monomial, n: &Monomial) -> (Monomial, BigRational) {
        let mut merged: Monomial = Vec::with_capacity(m.len() + n.len());
        let (mut i, mut j) = (0, 0);
        while i < m.len() || j < n.len() {
            match (m.get(i), n.get(j)) {
                (Some(&(a, x)), Some(&(b, y))) if a == b => {
                    merged.push((a, x + y));
                    (i, j) = (i + 1, j + 1);
                }
                (Some(&(a, x)), Some(&(b, _))) if a < b => {
                    merged.push((a, x));
                    i += 1;
                }
                (Some(&(a, x)), None) => {
                    merged.push((a, x));
                    i += 1;
                }
                (_, Some(&(b, y))) => {
                    merged.push((b, y));
                    j += 1;
                }
                (None, None) => break,
            }
        }
        let mut c = BigRational::one();
        merged.retain_mut(|(atom, exponent)| match &self.atoms[*atom as usize] {
            Atom::I => {
                if *exponent % 4 >= 2 {
                    c = -&c;
                }
                *exponent %= 2;
                *exponent > 0
            }
            Atom::Root(radicand, degree) => {
                let whole = *exponent / degree;
                *exponent %= degree;
                c *= BigRational::from_integer(num_traits::pow(radicand.clone(), whole as usize));
                *exponent > 0
            }
            _ => *exponent > 0,
        });
        (merged, c)
    }

    /// Greatest common divisor or least common multiple of polynomials, as far as it shows in their contents and
    /// common monomials (or they are the same).
    fn common(&mut self, fun: Fun, args: &[Ratio]) -> Form<Option<Ratio>> {
        let content = |p: &Poly| p.0.values().cloned().reduce(|a, b| gcd(&a, &b)).map(|c| c.abs());
        let shared = |p: &Poly, atom: u32| {
            p.0.keys().map(|m| m.iter().find(|(a, _)| *a == atom).map_or(0, |(_, n)| *n)).min().unwrap_or(0)
        };
        let mut out: Option<Ratio> = None;
        for arg in args {
            if arg.bottom.as_constant().is_none() || arg.is_zero() {
                return Ok(None);
            }
            let Some(so_far) = out else {
                out = Some(arg.clone());
                continue;
            };
            let divisor = if so_far.top == arg.top {
                so_far.clone()
            } else {
                let (Some(a), Some(b)) = (content(&so_far.top), content(&arg.top)) else { return Ok(None) };
                let monomial: Monomial = (0..self.atoms.len() as u32)
                    .map(|i| (i, shared(&so_far.top, i).min(shared(&arg.top, i))))
                    .filter(|(_, n)| *n > 0)
                    .collect();
                Ratio {
                    top: Poly(BTreeMap::from([(monomial, gcd(&a, &b))])),
                    bottom: Poly::constant(BigRational::one()),
                }
            };
            out = Some(if fun == Fun::Gcd {
                divisor
            } else {
                let product = self.mul(&so_far, arg)?;
                // Divide term by term: the divisor is a monomial or the polynomial itself.
                if so_far.top == arg.top { so_far } else { divide_by_term(&product, &divisor) }
            });
        }
        Ok(out)
    }

    fn determinant(&mut self, rows: &[Vec<Expr>]) -> Form<Ratio> {
        let n = rows.len();
        if n > 4 || rows.iter().any(|r| r.len() != n) {
            return Err(Stop::Undefined);
        }
        if n == 1 {
            return self.form(&rows[0][0]);
        }
        let mut sum = Ratio::constant(BigRational::zero());
        for column in 0..n {
            let minor: Vec<Vec<Expr>> = rows[1..]
                .iter()
                .map(|r| r.iter().enumerate().filter(|(j, _)| *j != column).map(|(_, e)| e.clone()).collect())
                .collect();
            let (entry, minor) = (self.form(&rows[0][column])?, self.determinant(&minor)?);
            let mut term = self.mul(&entry, &minor)?;
            if column % 2 == 1 {
                term.top = term.top.scale(&-BigRational::one());
            }
            sum = self.add(&sum, &term)?;
        }
        Ok(sum)
    }
}
