//! Sets of real numbers as unions of intervals, and the solution sets of inequalities in one variable, so that
//! `1 ≤ |z| ≤ 3/2` is `[-3/2, -1] ∪ [1, 3/2]`. Only for constant ends and for polynomials of degree up to two
//! in `x` or `|x|`; anything else is not decided here.

use std::collections::BTreeSet;

use num_traits::ToPrimitive;

use super::ast::{Expr, Fun, RelOp};
use super::complex::Work;
use super::equal::approximate;
use super::exact::substitute;

/// A piece of the real line; a point is a closed piece with equal ends. Ends are floats with the expression that
/// they came from only through the tolerance of [`SAME`].
#[derive(Clone, Copy, Debug)]
struct Piece {
    low: f64,
    high: f64,
    low_open: bool,
    high_open: bool,
}

/// Relative difference below which two ends are the same.
const SAME: f64 = 1e-12;

fn alike(a: f64, b: f64) -> bool {
    a == b || a.is_finite() && b.is_finite() && (a - b).abs() <= SAME * a.abs().max(b.abs()).max(1e-3)
}

/// Whether two sets are the same union of intervals and points.
pub(crate) fn same(gold: &Expr, pred: &Expr, work: &mut Work) -> bool {
    if !one_variable(gold, pred) {
        return false;
    }
    match (pieces(gold, work), pieces(pred, work)) {
        (Some(a), Some(b)) => same_pieces(a, b),
        _ => false,
    }
}

/// Whether `set` is the solution set of the relation `gold`.
pub(crate) fn solves(gold: &Expr, set: &Expr, work: &mut Work) -> bool {
    if !one_variable(gold, set) {
        return false;
    }
    match (solution(gold, work), pieces(set, work)) {
        (Some(a), Some(b)) => same_pieces(a, b),
        _ => false,
    }
}

/// Whether no more than one variable occurs in both together; unknown functions are variables here.
fn one_variable(a: &Expr, b: &Expr) -> bool {
    let mut names = BTreeSet::new();
    a.symbols(&mut names);
    b.symbols(&mut names);
    let (mut values_a, mut values_b) = (Vec::new(), Vec::new());
    applications(a, &mut values_a);
    applications(b, &mut values_b);
    names.len() <= 1 && (values_a.is_empty() || values_b.is_empty() || values_a[0] == values_b[0])
}

fn same_pieces(a: Vec<Piece>, b: Vec<Piece>) -> bool {
    let (a, b) = (merged(a), merged(b));
    a.len() == b.len()
        && a.iter().zip(&b).all(|(x, y)| {
            alike(x.low, y.low)
                && alike(x.high, y.high)
                && x.low_open == y.low_open
                && x.high_open == y.high_open
        })
}

/// The set as pieces, in any order and perhaps touching.
fn pieces(e: &Expr, work: &mut Work) -> Option<Vec<Piece>> {
    Some(match e {
        Expr::Interval(i) => {
            let (low, high) = (approximate(&i.low, work)?, approximate(&i.high, work)?);
            vec![Piece {
                low,
                high,
                low_open: i.low_open || low.is_infinite(),
                high_open: i.high_open || high.is_infinite(),
            }]
        }
        Expr::Set(xs) if xs.len() > 1 && xs.iter().all(|x| matches!(x, Expr::Rel(..))) => listed(xs, work)?,
        Expr::Set(xs) => xs.iter().map(|x| approximate(x, work).map(point)).collect::<Option<_>>()?,
        Expr::Named('R') => vec![everything()],
        Expr::Union(parts) => parts.iter().map(|p| pieces(p, work)).collect::<Option<Vec<_>>>()?.concat(),
        Expr::Intersection(parts) => parts
            .iter()
            .map(|p| pieces(p, work))
            .collect::<Option<Vec<_>>>()?
            .into_iter()
            .reduce(|a, b| intersect(&a, &b))?,
        Expr::Minus(a, b) => intersect(&pieces(a, work)?, &complement(pieces(b, work)?)),
        Expr::Rel(..) => solution(e, work)?,
        Expr::Tuple(_) | Expr::Clock(_) => return None,
        other => vec![point(approximate(other, work)?)],
    })
}

/// Relations with commas between them: what satisfies all, or, where nothing does (`x < 1, x > 3`), each.
fn listed(relations: &[Expr], work: &mut Work) -> Option<Vec<Piece>> {
    let sets = relations.iter().map(|r| pieces(r, work)).collect::<Option<Vec<_>>>()?;
    let all = sets.iter().skip(1).fold(merged(sets[0].clone()), |all, set| intersect(&all, set));
    Some(if all.is_empty() { sets.concat() } else { all })
}

fn point(x: f64) -> Piece {
    Piece { low: x, high: x, low_open: false, high_open: false }
}

fn everything() -> Piece {
    Piece { low: f64::NEG_INFINITY, high: f64::INFINITY, low_open: true, high_open: true }
}

/// Sorted, without empty pieces, with those joined that touch.
fn merged(mut parts: Vec<Piece>) -> Vec<Piece> {
    parts.retain(|p| {
        p.low < p.high && !alike(p.low, p.high) || alike(p.low, p.high) && !p.low_open && !p.high_open
    });
    parts.sort_by(|a, b| a.low.total_cmp(&b.low).then(a.low_open.cmp(&b.low_open)));
    let mut out: Vec<Piece> = Vec::with_capacity(parts.len());
    for p in parts {
        match out.last_mut() {
            Some(last)
                if p.low < last.high && !alike(p.low, last.high)
                    || alike(p.low, last.high) && !(p.low_open && last.high_open) =>
            {
                if alike(p.high, last.high) {
                    last.high_open &= p.high_open;
                } else if p.high > last.high {
                    (last.high, last.high_open) = (p.high, p.high_open);
                }
                if alike(p.low, last.low) {
                    last.low_open &= p.low_open;
                }
            }
            _ => out.push(p),
        }
    }
    out
}

fn intersect(a: &[Piece], b: &[Piece]) -> Vec<Piece> {
    let mut out = Vec::new();
    for x in a.iter().take(64) {
        for y in b.iter().take(64) {
            let (low, low_open) = match (alike(x.low, y.low), x.low > y.low) {
                (true, _) => (x.low, x.low_open || y.low_open),
                (_, true) => (x.low, x.low_open),
                _ => (y.low, y.low_open),
            };
            let (high, high_open) = match (alike(x.high, y.high), x.high < y.high) {
                (true, _) => (x.high, x.high_open || y.high_open),
                (_, true) => (x.high, x.high_open),
                _ => (y.high, y.high_open),
            };
            if low <= high {
                out.push(Piece { low, high, low_open, high_open });
            }
        }
    }
    merged(out)
}

fn complement(parts: Vec<Piece>) -> Vec<Piece> {
    let mut out = Vec::new();
    let mut from = (f64::NEG_INFINITY, true);
    for p in merged(parts) {
        out.push(Piece { low: from.0, low_open: from.1, high: p.low, high_open: !p.low_open });
        from = (p.high, !p.high_open);
    }
    out.push(Piece { low: from.0, low_open: from.1, high: f64::INFINITY, high_open: true });
    merged(out)
}

/// The outermost values of unknown functions.
fn applications<'a>(e: &'a Expr, out: &mut Vec<&'a Expr>) {
    match e {
        Expr::Apply(..) => out.push(e),
        _ => e.children().into_iter().for_each(|c| applications(c, out)),
    }
}

/// The real numbers that satisfy a chain of relations in one variable.
fn solution(relation: &Expr, work: &mut Work) -> Option<Vec<Piece>> {
    // `0 < f(x) < 1` is about the values of f.
    let mut values = Vec::new();
    applications(relation, &mut values);
    let renamed;
    let relation = match values.as_slice() {
        [] => relation,
        [first, rest @ ..] if rest.iter().all(|v| v == first) => {
            renamed = relation.map(&|e| (e == *first).then(|| Expr::Sym("\u{5}value".into())));
            &renamed
        }
        _ => return None,
    };
    let Expr::Rel(first, rest) = relation else { return None };
    let mut names = BTreeSet::new();
    relation.symbols(&mut names);
    let (&name, true) = (names.first()?, names.len() == 1) else { return None };
    let mut left = &**first;
    let mut all = vec![everything()];
    for (op, right) in rest {
        if super::compare::is_set(right) {
            all = intersect(
                &all,
                &if *op == RelOp::NotIn { complement(pieces(right, work)?) } else { pieces(right, work)? },
            );
        } else {
            all = intersect(&all, &one_relation(&left.clone().minus(right.clone()), *op, name, work)?);
        }
        left = right;
    }
    Some(all)
}

/// Where `f(x) op 0`: the signs of `f` between its roots.
fn one_relation(f: &Expr, op: RelOp, name: &str, work: &mut Work) -> Option<Vec<Piece>> {
    let mut roots = real_roots(f, name, work)?;
    roots.sort_by(f64::total_cmp);
    roots.dedup_by(|a, b| alike(*a, *b));
    let holds = |sign: f64| match op {
        RelOp::Lt => sign < 0.0,
        RelOp::Le => sign <= 0.0,
        RelOp::Gt => sign > 0.0,
        RelOp::Ge => sign >= 0.0,
        RelOp::Eq => sign == 0.0,
        RelOp::Ne => sign != 0.0,
        RelOp::Approx | RelOp::NotIn => false,
    };
    let mut at = |x: f64| {
        approximate(&substitute(f, name, &Expr::Num(num_rational::BigRational::from_float(x)?)), work)
    };
    let ends: Vec<f64> =
        [f64::NEG_INFINITY].into_iter().chain(roots.iter().copied()).chain([f64::INFINITY]).collect();
    let mut out = Vec::new();
    for pair in ends.windows(2) {
        let middle = match (pair[0].is_finite(), pair[1].is_finite()) {
            (true, true) => (pair[0] + pair[1]) / 2.0,
            (true, false) => pair[0] + 1.0,
            (false, true) => pair[1] - 1.0,
            (false, false) => 0.0,
        };
        if holds(at(middle)?) {
            out.push(Piece { low: pair[0], high: pair[1], low_open: true, high_open: true });
        }
    }
    if holds(0.0) {
        out.extend(roots.into_iter().map(point));
    }
    Some(merged(out))
}

/// The real roots of a polynomial of degree up to two in `x`, or in `|x|`.
fn real_roots(f: &Expr, name: &str, work: &mut Work) -> Option<Vec<f64>> {
    if mentions_abs(f, name) {
        // f(|x|): on each half-line it is a polynomial; the corner at 0 is a place where the sign may change.
        let plus = real_roots(&without_abs(f, name, false), name, work)?;
        let minus = real_roots(&without_abs(f, name, true), name, work)?;
        let mut roots: Vec<f64> =
            plus.into_iter().filter(|x| *x >= 0.0).chain(minus.into_iter().filter(|x| *x <= 0.0)).collect();
        let at_zero = approximate(&substitute(f, name, &Expr::int(0)), work)?;
        if at_zero == 0.0 {
            roots.push(0.0);
        }
        return Some(roots);
    }
    let (a, b, c) = quadratic(f, name, work)?;
    Some(if a == 0.0 {
        if b == 0.0 { vec![] } else { vec![-c / b] }
    } else {
        let d = b * b - 4.0 * a * c;
        if alike(b * b, 4.0 * a * c) {
            vec![-b / (2.0 * a)]
        } else if d < 0.0 {
            vec![]
        } else {
            // Without cancellation (Higham 2002, §1.8).
            let q = -0.5 * (b + d.sqrt().copysign(b));
            if q == 0.0 { vec![0.0] } else { vec![q / a, c / q] }
        }
    })
}

/// Coefficients of `a x² + b x + c`, if `f` is that: from its form, checked by structure.
fn quadratic(f: &Expr, name: &str, work: &mut Work) -> Option<(f64, f64, f64)> {
    let free = |e: &Expr| {
        let mut names = BTreeSet::new();
        e.symbols(&mut names);
        !names.contains(name)
    };
    if free(f) {
        return Some((0.0, 0.0, approximate(f, work)?));
    }
    match f {
        Expr::Sym(_) => Some((0.0, 1.0, 0.0)),
        Expr::Add(xs) => xs.iter().try_fold((0.0, 0.0, 0.0), |sum, x| {
            quadratic(x, name, work).map(|q| (sum.0 + q.0, sum.1 + q.1, sum.2 + q.2))
        }),
        Expr::Mul(xs) => xs.iter().try_fold((0.0, 0.0, 1.0), |p, x| product(p, quadratic(x, name, work)?)),
        Expr::Pow(base, exponent) => {
            let n = exponent.number().filter(|n| n.is_integer())?.to_i32()?;
            let base = quadratic(base, name, work)?;
            match n {
                1 => Some(base),
                2 => product(base, base),
                _ => None,
            }
        }
        _ => None,
    }
}

fn product(p: (f64, f64, f64), q: (f64, f64, f64)) -> Option<(f64, f64, f64)> {
    let (fourth, third) = (p.0 * q.0, p.0 * q.1 + p.1 * q.0);
    (fourth == 0.0 && third == 0.0).then_some((
        p.0 * q.2 + p.1 * q.1 + p.2 * q.0,
        p.1 * q.2 + p.2 * q.1,
        p.2 * q.2,
    ))
}

fn is_abs_of(e: &Expr, name: &str) -> bool {
    matches!(e, Expr::Call(Fun::Abs, xs) if matches!(xs.as_slice(), [Expr::Sym(s)] if s == name))
}

fn mentions_abs(e: &Expr, name: &str) -> bool {
    is_abs_of(e, name) || e.children().into_iter().any(|c| mentions_abs(c, name))
}

/// `|x|` replaced by `x` or `-x`.
fn without_abs(e: &Expr, name: &str, negative: bool) -> Expr {
    let all = |xs: &[Expr]| xs.iter().map(|x| without_abs(x, name, negative)).collect();
    match e {
        _ if is_abs_of(e, name) => {
            let x = Expr::Sym(name.into());
            if negative { x.neg() } else { x }
        }
        Expr::Add(xs) => Expr::Add(all(xs)),
        Expr::Mul(xs) => Expr::Mul(all(xs)),
        Expr::Pow(a, b) => without_abs(a, name, negative).pow((**b).clone()),
        other => other.clone(),
    }
}
