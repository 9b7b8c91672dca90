//! Lists: elements separated by commas, semicolons, "and" and "or", with `\pm` for two of them.

use super::super::ast::{Expr, RelOp};
use super::super::lex::Kind;
use super::{Parse, Parser};

/// The word between two elements of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connective {
    And,
    Or,
}

impl Parser {
    /// Reads a list up to a closing bracket or the end; at least one element.
    pub(super) fn list(&mut self) -> Parse<Vec<Vec<Expr>>> {
        self.nested(|p| {
            let mut groups = vec![vec![]];
            let mut splits = vec![vec![]]; // the same with `and`/`or` taken for `;`
            let mut joints = Vec::new();
            loop {
                let first = splits.len() == 1 && groups.len() == 1 && groups[0].is_empty();
                let element = p.element(first)?;
                if let (Some(g), Some(s)) = (groups.last_mut(), splits.last_mut()) {
                    g.extend(element.iter().cloned());
                    s.extend(element);
                }
                if p.take_mark(';') {
                    groups.push(vec![]);
                    splits.push(vec![]);
                    joints.push(None);
                    continue;
                }
                let comma = p.take_mark(',');
                let word = p.connective();
                if !comma && word.is_none() {
                    break;
                }
                if !comma {
                    splits.push(vec![]);
                }
                joints.push(word);
            }
            if groups.len() == 1
                && let Some(set) = inequalities(&groups[0], &joints)
            {
                return Ok(vec![vec![set]]);
            }
            let pairs = splits.len() > 1 && splits[0].len() > 1;
            let alike = splits
                .iter()
                .all(|s| s.len() == splits[0].len() && s.iter().all(|e| matches!(e, Expr::Rel(..))));
            Ok(if pairs && alike { splits } else { groups })
        })
    }

    /// Takes `and`, `or`, `\land`, `\lor`.
    fn connective(&mut self) -> Option<Connective> {
        if self.take_command(&["or", "lor", "vee"]) {
            Some(Connective::Or)
        } else if self.take_command(&["and", "land", "wedge"]) {
            Some(Connective::And)
        } else {
            None
        }
    }

    /// One element, or two where it contains `\pm` at its own level. The only element of a bracket inside an
    /// element that is being split is split with it.
    fn element(&mut self, first: bool) -> Parse<Vec<Expr>> {
        let (signed, followed) = self.has_plus_minus();
        if !signed || self.splitting && first && !followed {
            return Ok(vec![self.relation()?]);
        }
        let (start, sign, outer) = (self.at, self.plus, std::mem::replace(&mut self.splitting, true));
        self.plus = true;
        let upper = self.relation()?;
        self.at = start;
        self.plus = false;
        let lower = self.relation()?;
        (self.plus, self.splitting) = (sign, outer);
        match (upper, lower) {
            (Expr::Rel(lhs, mut a), Expr::Rel(_, b)) if a.len() == b.len() => {
                if let (Some(x), Some((_, y))) = (a.last_mut(), b.last()) {
                    x.1 = Expr::Set(vec![x.1.clone(), y.clone()]);
                }
                Ok(vec![Expr::Rel(lhs, a)])
            }
            (a, b) => Ok(vec![a, b]),
        }
    }

    /// Whether the element that starts here has a `\pm` outside nested lists, and whether another follows it.
    fn has_plus_minus(&self) -> (bool, bool) {
        if !self.signed {
            return (false, false);
        }
        let mut open = vec![(false, false)]; // (has a separator, has a sign)
        for token in &self.tokens[self.at..] {
            match &token.kind {
                Kind::Mark('(' | '[' | '{') => open.push((false, false)),
                Kind::Command(c) if c == "{" => open.push((false, false)),
                Kind::Mark(')' | ']' | '}') => match (open.pop(), open.last_mut()) {
                    (Some((separated, sign)), Some(outer)) => outer.1 |= sign && !separated,
                    (Some((_, sign)), None) => return (sign, false),
                    _ => return (false, false),
                },
                Kind::Command(c) if c == "}" => match (open.pop(), open.last_mut()) {
                    (Some((separated, sign)), Some(outer)) => outer.1 |= sign && !separated,
                    (Some((_, sign)), None) => return (sign, false),
                    _ => return (false, false),
                },
                Kind::Command(c) if c == "pm" || c == "mp" => {
                    open.iter_mut().rev().take(1).for_each(|o| o.1 = true)
                }
                Kind::Mark(',' | ';') if open.len() == 1 => return (open[0].1, true),
                Kind::Command(c) if open.len() == 1 && (c == "and" || c == "or") => return (open[0].1, true),
                Kind::Mark(',' | ';') => open.iter_mut().rev().take(1).for_each(|o| o.0 = true),
                _ => {}
            }
        }
        (open[0].1, false)
    }
}

/// Relations joined all by "or", or all by "and", with an inequality among them: a union or intersection of solution
/// sets. With commas alone it stays a list.
fn inequalities(items: &[Expr], joints: &[Option<Connective>]) -> Option<Expr> {
    let relations = items.iter().all(|e| matches!(e, Expr::Rel(..)));
    let unequal =
        items.iter().any(|e| matches!(e, Expr::Rel(_, rest) if rest.iter().any(|(op, _)| *op != RelOp::Eq)));
    let last = joints.last().copied().flatten()?;
    // In "a, b or c" the last word stands for all.
    if !relations || !unequal || joints.iter().any(|j| j.is_some_and(|j| j != last)) {
        return None;
    }
    Some(match last {
        Connective::Or => Expr::Union(items.to_vec()),
        Connective::And => Expr::Intersection(items.to_vec()),
    })
}

/// A list at the top or in a box: one element is itself, several are a set, `;` makes it a set of tuples, and
/// `k = 1, 2, 3` gives `k` three values.
pub(super) fn collect(mut groups: Vec<Vec<Expr>>) -> Parse<Expr> {
    if groups.len() == 1 {
        let mut items = groups.swap_remove(0);
        if items.len() == 1 {
            return Ok(items.swap_remove(0));
        }
        let one_variable = matches!(&items[0], Expr::Rel(lhs, rest) if rest.len() == 1 && rest[0].0 == RelOp::Eq && lhs.only_symbols());
        if one_variable && !items[1..].iter().any(|e| matches!(e, Expr::Rel(..))) {
            let mut values = items.split_off(1);
            if let Some(Expr::Rel(lhs, mut rest)) = items.pop() {
                values.insert(0, rest.swap_remove(0).1);
                return Ok(Expr::Rel(lhs, vec![(RelOp::Eq, Expr::Set(values))]));
            }
        }
        return Ok(Expr::Set(items));
    }
    if groups.iter().all(|g| g.len() == 1) {
        return Ok(Expr::Set(groups.into_iter().flatten().collect()));
    }
    Ok(Expr::Set(groups.into_iter().map(Expr::Tuple).collect()))
}
