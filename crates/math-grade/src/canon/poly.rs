//! Polynomials over the rationals in numbered atoms, and quotients of two of them.

use std::collections::BTreeMap;

use num_rational::BigRational;
use num_traits::{One, Zero};

/// Atoms with their exponents, sorted by atom.
pub(crate) type Monomial = Vec<(u32, u32)>;

/// A polynomial: monomials with non-zero coefficients.
#[derive(Clone, Debug, PartialEq, Default)]
pub(crate) struct Poly(pub(crate) BTreeMap<Monomial, BigRational>);

/// `numerator / denominator`, the latter not zero. Not reduced, so compare with [`Canon::equal`].
#[derive(Clone, Debug)]
pub(crate) struct Ratio {
    pub(crate) top: Poly,
    pub(crate) bottom: Poly,
}

impl Poly {
    pub(crate) fn constant(c: BigRational) -> Poly {
        if c.is_zero() { Poly::default() } else { Poly(BTreeMap::from([(vec![], c)])) }
    }

    pub(crate) fn as_constant(&self) -> Option<BigRational> {
        match self.0.len() {
            0 => Some(BigRational::zero()),
            1 => self.0.get(&vec![]).cloned(),
            _ => None,
        }
    }

    pub(crate) fn add_term(&mut self, monomial: Monomial, c: BigRational) {
        let entry = self.0.entry(monomial);
        let sum = match entry {
            std::collections::btree_map::Entry::Vacant(v) => {
                if !c.is_zero() {
                    v.insert(c);
                }
                return;
            }
            std::collections::btree_map::Entry::Occupied(mut o) => {
                *o.get_mut() += c;
                o
            }
        };
        if sum.get().is_zero() {
            sum.remove();
        }
    }

    pub(crate) fn add(&self, other: &Poly) -> Poly {
        let mut sum = self.clone();
        for (m, c) in &other.0 {
            sum.add_term(m.clone(), c.clone());
        }
        sum
    }

    pub(crate) fn scale(mut self, k: &BigRational) -> Poly {
        if !k.is_one() {
            self.0.values_mut().for_each(|c| *c *= k);
        }
        self
    }
}

impl Ratio {
    pub(crate) fn constant(c: BigRational) -> Ratio {
        Ratio { top: Poly::constant(c), bottom: Poly::constant(BigRational::one()) }
    }

    /// The value, if it is a rational number.
    pub(crate) fn as_number(&self) -> Option<BigRational> {
        Some(self.top.as_constant()? / self.bottom.as_constant()?)
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.top.0.is_empty()
    }
}

/// A polynomial by one term that divides all of its terms.
pub(crate) fn divide_by_term(a: &Ratio, term: &Ratio) -> Ratio {
    let Some((monomial, c)) = term.top.0.first_key_value() else { return a.clone() };
    let lower = |m: &Monomial| {
        let exponent = |atom: u32| monomial.iter().find(|(a, _)| *a == atom).map_or(0, |(_, n)| *n);
        m.iter()
            .map(|&(atom, n)| (atom, n.saturating_sub(exponent(atom))))
            .filter(|(_, n)| *n > 0)
            .collect::<Monomial>()
    };
    Ratio { top: Poly(a.top.0.iter().map(|(m, x)| (lower(m), x / c)).collect()), bottom: a.bottom.clone() }
}
