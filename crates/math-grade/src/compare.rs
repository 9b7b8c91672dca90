//! Equality of answers of every kind, by Math-Verify's conventions: what the reference is decides how the
//! prediction is read, so the comparison is not symmetric (an assignment unwraps to its value, an inequality
//! accepts an interval and not the reverse).

use super::ast::{Const, Expr, Fun, Interval, RelOp};
use super::equal::{Outcome, Scalars, approximate, difference, infinite};
use super::parse::Answer;
use super::region;

const NO: Outcome = Outcome::Unequal("different kinds of answer");
/// Largest set, tuple or matrix that is compared entry by entry.
const MAX_ITEMS: usize = 400;

/// Compares a prediction with a reference.
pub(crate) fn compare(gold: &Expr, pred: &Expr, scalars: &mut Scalars) -> Outcome {
    if !scalars.afford() {
        return Outcome::Unequal("step budget spent");
    }
    let (gold, pred) = (shorten(gold), shorten(pred));
    let (gold_assigns, gold_equates, pred_equates) =
        (is_assignment(&gold), is_equation(&gold), is_equation(&pred));
    // 9 and x = 9; x = 9 and 9; but not 2x = 9 and 9.
    let (gold, pred) = if pred_equates && !gold_equates {
        (gold, last_side(pred))
    } else if gold_assigns && !pred_equates {
        (last_side(gold), pred)
    } else {
        (gold, pred)
    };
    match (&gold, &pred) {
        (Expr::Clock(a), Expr::Clock(b)) => Outcome::of(a.same(*b), "same time", "different times"),
        (Expr::Clock(a), other) => a.as_number().map_or(NO, |a| compare(&a, other, scalars)),
        (other, Expr::Clock(b)) => b.as_number().map_or(NO, |b| compare(other, &b, scalars)),
        (Expr::Rel(..), Expr::Rel(..)) => relations(&gold, &pred, scalars),
        (Expr::Rel(..), _) if is_set(&pred) => Outcome::of(
            region::solves(&gold, &pred, &mut scalars.work),
            "solution set",
            "another solution set",
        ),
        // A union has no other reading, so that a relation may be it; an interval may be a pair.
        (_, Expr::Rel(..)) if matches!(gold, Expr::Union(_)) || scalars.relation_for_set && is_set(&gold) => {
            Outcome::of(
                region::solves(&pred, &gold, &mut scalars.work),
                "solution set",
                "another solution set",
            )
        }
        (Expr::Rel(..), _) | (_, Expr::Rel(..)) => NO,
        _ if is_set(&gold) || is_set(&pred) => sets(&gold, &pred, scalars),
        _ if has_matrix(&gold) || has_matrix(&pred) => match (matrix(&gold), matrix(&pred)) {
            (Some(a), Some(b)) => matrices(&a, &b, scalars),
            _ => NO,
        },
        (Expr::Sym(_), _) | (_, Expr::Sym(_)) => symbols(&gold, &pred, scalars),
        _ => scalars.equal(&gold, &pred),
    }
}

/// A chain `x = a = b` is `x = b`.
fn shorten(e: &Expr) -> Expr {
    match e {
        Expr::Rel(first, rest) if is_assignment(e) => {
            Expr::Rel(first.clone(), rest.last().cloned().into_iter().collect())
        }
        other => other.clone(),
    }
}

fn is_equation(e: &Expr) -> bool {
    matches!(e, Expr::Rel(_, rest) if rest.iter().all(|(op, _)| *op == RelOp::Eq))
}

fn is_assignment(e: &Expr) -> bool {
    is_equation(e) && matches!(e, Expr::Rel(first, _) if first.only_symbols())
}

fn last_side(e: Expr) -> Expr {
    match e {
        Expr::Rel(first, mut rest) => rest.pop().map_or(*first, |(_, side)| side),
        other => other,
    }
}

pub(super) fn is_set(e: &Expr) -> bool {
    matches!(
        e,
        Expr::Set(_)
            | Expr::Tuple(_)
            | Expr::Interval(_)
            | Expr::Union(_)
            | Expr::Intersection(_)
            | Expr::Minus(..)
            | Expr::Named(_)
    )
}

/// An answer in which names do not count, nor the order of a tuple: variables are numbered as they appear, and
/// tuples and open intervals (which may be pairs) are sets.
pub(crate) fn loose(e: &Expr) -> Expr {
    let names = std::cell::RefCell::new(Vec::<String>::new());
    let numbered = e.map(&|e| match e {
        Expr::Sym(name) => {
            let mut names = names.borrow_mut();
            let i = names.iter().position(|n| n == name).unwrap_or_else(|| {
                names.push(name.clone());
                names.len() - 1
            });
            Some(Expr::Sym(format!("\u{6}{i}")))
        }
        _ => None,
    });
    fn unordered(e: &Expr) -> Option<Expr> {
        match e {
            Expr::Tuple(xs) => Some(Expr::Set(xs.iter().map(|x| x.map(&unordered)).collect())),
            Expr::Interval(i)
                if i.low_open && i.high_open && infinite(&i.low).or(infinite(&i.high)).is_none() =>
            {
                Some(Expr::Set(vec![i.low.map(&unordered), i.high.map(&unordered)]))
            }
            _ => None,
        }
    }
    numbered.map(&unordered)
}

// Relations.

fn relations(gold: &Expr, pred: &Expr, scalars: &mut Scalars) -> Outcome {
    let (Expr::Rel(g0, g), Expr::Rel(p0, p)) = (gold, pred) else { return NO };
    let (yes, no) = ("same relation", Outcome::Unequal("another relation"));
    if g.len() != p.len() || g.len() > 16 {
        return no;
    }
    // Link by link, as written or with the whole chain read backwards.
    let links = |first: &Expr, rest: &[(RelOp, Expr)]| -> Vec<(Expr, RelOp, Expr)> {
        let sides: Vec<&Expr> = std::iter::once(first).chain(rest.iter().map(|(_, e)| e)).collect();
        rest.iter().enumerate().map(|(i, (op, _))| (sides[i].clone(), *op, sides[i + 1].clone())).collect()
    };
    let (g, p) = (links(g0, g), links(p0, p));
    if g.iter().zip(&p).all(|(g, p)| link(g, p, scalars)) {
        return Outcome::Equal(yes);
    }
    let backwards: Vec<_> = p.into_iter().rev().map(|(a, op, b)| (b, op.flipped(), a)).collect();
    Outcome::of(
        g.len() > 1 && g.iter().zip(&backwards).all(|(g, p)| link(g, p, scalars)),
        yes,
        "another relation",
    )
}

fn link(gold: &(Expr, RelOp, Expr), pred: &(Expr, RelOp, Expr), scalars: &mut Scalars) -> bool {
    let (gl, gop, gr) = gold;
    let (pl, pop, pr) = pred;
    if is_set(gr) || is_set(pr) || is_set(gl) || is_set(pl) || has_matrix(gr) || has_matrix(pr) {
        return gop == pop && compare(gl, pl, scalars).is_equal() && compare(gr, pr, scalars).is_equal();
    }
    let same = gop == pop;
    let flipped = *gop == pop.flipped();
    if !same && !flipped {
        return false;
    }
    if same && scalars.equal(gl, pl).is_equal() && scalars.equal(gr, pr).is_equal() {
        return true;
    }
    // Both sides moved to the left: equal up to a factor, positive where the direction matters.
    let equation = matches!(gop, RelOp::Eq | RelOp::Ne);
    let decided = scalars.with_canon(|_, canon| {
        let (g, p) = (difference(canon, gl, gr)?, difference(canon, pl, pr)?);
        if g.is_zero() || p.is_zero() {
            return Some(g.is_zero() && p.is_zero() && same);
        }
        if let Ok(Some(k)) = canon.proportional(&g, &p, equation) {
            return Some(equation || if num_traits::Signed::is_positive(&k) { same } else { flipped });
        }
        (canon.is_exact() && !equation).then_some(false)
    });
    if let Some(decided) = decided {
        return decided;
    }
    let (left, right) = (gl.clone().minus(gr.clone()), pl.clone().minus(pr.clone()));
    same && scalars.equal(&left, &right).is_equal()
        || flipped && scalars.equal(&left, &right.neg()).is_equal()
}

// Sets, tuples, intervals.

fn sets(gold: &Expr, pred: &Expr, scalars: &mut Scalars) -> Outcome {
    let (yes, no) = ("same set", Outcome::Unequal("different sets"));
    if let (Some(a), Some(b)) = (relation_list(gold), relation_list(pred)) {
        let joined = a.0 == b.0 || a.0.is_none() || b.0.is_none();
        if joined && unordered(a.1, b.1, scalars).is_equal() {
            return Outcome::Equal("same relations");
        }
    }
    match (gold, pred) {
        (Expr::Named(a), Expr::Named(b)) => return Outcome::of(a == b, yes, "different sets"),
        (Expr::Interval(a), Expr::Interval(b)) => {
            return Outcome::of(intervals(a, b, scalars), "same interval", "different intervals");
        }
        (Expr::Set(a), Expr::Set(b)) => return unordered(a, b, scalars),
        (Expr::Union(a), Expr::Union(b)) | (Expr::Intersection(a), Expr::Intersection(b))
            if a.len() == b.len() && a.iter().zip(b).all(|(x, y)| compare(x, y, scalars).is_equal()) =>
        {
            return Outcome::Equal(yes);
        }
        (Expr::Minus(a, b), Expr::Minus(c, d))
            if compare(a, c, scalars).is_equal() && compare(b, d, scalars).is_equal() =>
        {
            return Outcome::Equal(yes);
        }
        _ => {}
    }
    if let (Some(a), Some(b)) = (ordered(gold, pred), ordered(pred, gold)) {
        return sequences(&a, &b, scalars);
    }
    Outcome::of(region::same(gold, pred, &mut scalars.work), yes, no.reason())
}

/// Relations that are joined: by "or" (true), by "and" (false), or by commas alone.
fn relation_list(e: &Expr) -> Option<(Option<bool>, &[Expr])> {
    let (word, items) = match e {
        Expr::Union(xs) => (Some(true), xs),
        Expr::Intersection(xs) => (Some(false), xs),
        Expr::Set(xs) => (None, xs),
        _ => return None,
    };
    items.iter().all(|e| matches!(e, Expr::Rel(..))).then_some((word, items))
}

fn intervals(a: &Interval, b: &Interval, scalars: &mut Scalars) -> bool {
    let mut end = |x: &Expr, y: &Expr| {
        infinite(x).map_or_else(|| compare(x, y, scalars).is_equal(), |s| infinite(y) == Some(s))
    };
    let ends = end(&a.low, &b.low) && end(&a.high, &b.high);
    // Whether an infinite end is closed makes no difference.
    let low_open = a.low_open == b.low_open || infinite(&a.low).is_some();
    let high_open = a.high_open == b.high_open || infinite(&a.high).is_some();
    ends && low_open && high_open
}

/// The items in the order in which they count: a tuple's and an open interval's as written; a set's as written
/// when it is the prediction of a tuple, by size when it is the reference.
fn ordered(e: &Expr, other: &Expr) -> Option<Vec<Expr>> {
    match e {
        Expr::Tuple(xs) => Some(xs.clone()),
        Expr::Interval(i) if i.low_open && i.high_open => Some(vec![i.low.clone(), i.high.clone()]),
        Expr::Set(xs) if matches!(other, Expr::Tuple(_) | Expr::Interval(_)) => Some(xs.clone()),
        Expr::Set(xs) if xs.len() == 1 => Some(xs.clone()),
        _ if !is_set(e) && matches!(other, Expr::Set(xs) if xs.len() == 1) => Some(vec![e.clone()]),
        _ => None,
    }
}

fn sequences(a: &[Expr], b: &[Expr], scalars: &mut Scalars) -> Outcome {
    if a.len() != b.len() || a.len() > MAX_ITEMS {
        return Outcome::Unequal("different lengths");
    }
    for (x, y) in a.iter().zip(b) {
        if !compare(x, y, scalars).is_equal() {
            return Outcome::Unequal("an entry differs");
        }
    }
    Outcome::Equal("equal entries")
}

/// Equality as sets: repetitions aside, every element has its partner.
fn unordered(gold: &[Expr], pred: &[Expr], scalars: &mut Scalars) -> Outcome {
    let (gold, pred) = (distinct(gold), distinct(pred));
    if gold.len() != pred.len() || gold.len() > MAX_ITEMS {
        return Outcome::Unequal("different numbers of elements");
    }
    // Where all are real constants, order them: n comparisons instead of n².
    let mut keys = |xs: &[Expr]| {
        xs.iter().map(|x| approximate(&last_side(x.clone()), &mut scalars.work)).collect::<Option<Vec<f64>>>()
    };
    if let (Some(a), Some(b)) = (keys(&gold), keys(&pred)) {
        let sorted = |xs: &[Expr], keys: Vec<f64>| {
            let mut order: Vec<usize> = (0..xs.len()).collect();
            order.sort_by(|&i, &j| keys[i].total_cmp(&keys[j]));
            order.into_iter().map(|i| xs[i].clone()).collect::<Vec<_>>()
        };
        let in_order = sequences(&sorted(&gold, a), &sorted(&pred, b), scalars);
        if in_order.is_equal() || !gold.iter().any(|e| matches!(e, Expr::Rel(..))) {
            return in_order;
        }
    }
    let mut left = pred;
    for g in &gold {
        match left
            .iter()
            .position(|p| p == g)
            .or_else(|| left.iter().position(|p| compare(g, p, scalars).is_equal()))
        {
            Some(i) => left.swap_remove(i),
            None => return Outcome::Unequal("an element has no partner"),
        };
    }
    Outcome::Equal("same elements")
}

/// The elements without exact repetitions.
fn distinct(xs: &[Expr]) -> Vec<Expr> {
    let mut out: Vec<Expr> = Vec::with_capacity(xs.len());
    for x in xs.iter().take(2 * MAX_ITEMS) {
        if !out.contains(x) {
            out.push(x.clone());
        }
    }
    out
}

// Matrices.

fn has_matrix(e: &Expr) -> bool {
    match e {
        Expr::Matrix(_) => true,
        Expr::Call(Fun::Det, _) => false,
        Expr::Add(_) | Expr::Mul(_) | Expr::Pow(..) | Expr::Call(..) => {
            e.children().into_iter().any(has_matrix)
        }
        _ => false,
    }
}

/// The matrix that a sum, product or transpose of matrices and scalars is.
fn matrix(e: &Expr) -> Option<Vec<Vec<Expr>>> {
    let rows = match e {
        Expr::Matrix(rows) => rows.clone(),
        Expr::Add(xs) => {
            let mut parts = xs.iter().map(matrix).collect::<Option<Vec<_>>>()?.into_iter();
            let mut sum = parts.next()?;
            for part in parts {
                if part.len() != sum.len() || part[0].len() != sum[0].len() {
                    return None;
                }
                sum = sum
                    .into_iter()
                    .zip(part)
                    .map(|(a, b)| a.into_iter().zip(b).map(|(x, y)| Expr::Add(vec![x, y])).collect())
                    .collect();
            }
            sum
        }
        Expr::Mul(xs) => {
            let (mut scale, mut product) = (Vec::new(), None::<Vec<Vec<Expr>>>);
            for x in xs {
                if !has_matrix(x) {
                    scale.push(x.clone());
                    continue;
                }
                let right = matrix(x)?;
                product = Some(match product {
                    None => right,
                    Some(left)
                        if left[0].len() == right.len()
                            && left.len() * right[0].len() * right.len() <= MAX_ITEMS =>
                    {
                        let entry = |row: &[Expr], j: usize| {
                            Expr::Add(
                                row.iter()
                                    .zip(&right)
                                    .map(|(x, r)| Expr::Mul(vec![x.clone(), r[j].clone()]))
                                    .collect(),
                            )
                        };
                        left.iter().map(|row| (0..right[0].len()).map(|j| entry(row, j)).collect()).collect()
                    }
                    Some(_) => return None,
                });
            }
            let times = |x: Expr| Expr::Mul(scale.iter().cloned().chain([x]).collect());
            product?.into_iter().map(|row| row.into_iter().map(times).collect()).collect()
        }
        Expr::Call(Fun::Transpose, xs) => {
            let inner = matrix(xs.first()?)?;
            (0..inner[0].len()).map(|j| inner.iter().map(|row| row[j].clone()).collect()).collect()
        }
        _ => return None,
    };
    Some(rows)
}

fn matrices(a: &[Vec<Expr>], b: &[Vec<Expr>], scalars: &mut Scalars) -> Outcome {
    if a.len() != b.len() || a[0].len() != b[0].len() {
        return Outcome::Unequal("different shapes");
    }
    let flat = |m: &[Vec<Expr>]| m.iter().flatten().cloned().collect::<Vec<_>>();
    sequences(&flat(a), &flat(b), scalars)
}

// Names.

/// A variable or text answer: by name, with `east` (a product of letters) the same as `\text{east}`.
fn symbols(gold: &Expr, pred: &Expr, scalars: &mut Scalars) -> Outcome {
    if let (Some(a), Some(b)) = (spelled(gold), spelled(pred)) {
        return Outcome::of(a == b, "same name", "different names");
    }
    scalars.equal(gold, pred)
}

fn spelled(e: &Expr) -> Option<String> {
    match e {
        Expr::Sym(name) => Some(name.clone()),
        Expr::Const(Const::E) => Some("e".into()),
        Expr::Const(Const::I) => Some("i".into()),
        Expr::Mul(xs) => {
            xs.iter().map(|x| if matches!(x, Expr::Mul(_)) { None } else { spelled(x) }).collect()
        }
        _ => None,
    }
}

/// An answer that is text with numbers in it, spelled out: `june20` for `\text{June}\ 20`; `None` if it has no word.
pub(crate) fn text_of(answer: &Answer) -> Option<String> {
    fn spell(e: &Expr, out: &mut String, words: &mut bool) -> Option<()> {
        match e {
            Expr::Sym(name) => {
                *words |= name.chars().count() > 1;
                out.push_str(name);
            }
            Expr::Const(Const::E) => out.push('e'),
            Expr::Const(Const::I) => out.push('i'),
            Expr::Num(n) if n.is_integer() && !num_traits::Signed::is_negative(n) => {
                out.push_str(&n.to_string())
            }
            Expr::Mul(xs) => xs.iter().try_for_each(|x| match x {
                Expr::Mul(_) => None,
                x => spell(x, out, words),
            })?,
            _ => return None,
        }
        Some(())
    }
    let (mut out, mut words) = (String::new(), answer.noun.chars().count() > 1);
    spell(&answer.expr, &mut out, &mut words)?;
    out.push_str(&answer.noun);
    // `7may` is a text in letters too, as `\text{7 May}` is read.
    let letters = out.chars().filter(|c| c.is_alphabetic()).count();
    (words || letters > 2).then_some(out)
}
