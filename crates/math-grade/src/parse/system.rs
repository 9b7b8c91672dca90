//! Environments with rows: matrices, and systems of equations (`cases`, `aligned`, an `array` of relations).

use super::super::ast::{Expr, Fun};
use super::super::lex::{Kind, Token, Unreadable};
use super::list::collect;
use super::{Parse, Parser};

impl Parser {
    /// `\begin{pmatrix} a & b \\ c & d \end{pmatrix}`, `\begin{cases} x = 1 \\ y = 2 \end{cases}`
    pub(super) fn environment(&mut self) -> Parse<Expr> {
        let name = self.raw()?;
        let name = name.trim_end_matches('*');
        match name {
            "array" => {
                self.raw()?;
                if self.rows_have_relations() { self.system(true) } else { self.matrix(name) }
            }
            "matrix" if self.rows_have_relations() => self.system(true),
            "matrix" | "pmatrix" | "bmatrix" | "Bmatrix" | "vmatrix" | "smallmatrix" => self.matrix(name),
            "cases" | "dcases" | "rcases" => self.system(true),
            "aligned" | "align" | "gathered" | "gather" | "split" | "eqnarray" | "alignedat" => {
                self.system(false)
            }
            _ => Err(Unreadable::Syntax),
        }
    }

    fn matrix(&mut self, name: &str) -> Parse<Expr> {
        let mut rows = vec![vec![]];
        loop {
            if self.take_command(&["end"]) {
                break;
            }
            if matches!(self.peek(), Some(Kind::Row)) {
                self.at += 1;
                if !self.is_command("end") {
                    rows.push(vec![]);
                }
                continue;
            }
            let cell = self.additive()?;
            rows.last_mut().ok_or(Unreadable::Syntax)?.push(cell);
            if !self.take_mark('&') && !matches!(self.peek(), Some(Kind::Row)) && !self.is_command("end") {
                return Err(Unreadable::Syntax);
            }
        }
        if self.raw()? != name || rows[0].is_empty() || rows.iter().any(|r| r.len() != rows[0].len()) {
            return Err(Unreadable::Syntax);
        }
        Ok(if name == "vmatrix" {
            Expr::Call(Fun::Det, vec![Expr::Matrix(rows)])
        } else {
            Expr::Matrix(rows)
        })
    }

    /// Where the environment that starts here ends (at its `\end`).
    fn end_of_environment(&self) -> Parse<usize> {
        let mut depth = 1;
        for (i, token) in self.tokens.iter().enumerate().skip(self.at) {
            match &token.kind {
                Kind::Command(c) if c == "begin" => depth += 1,
                Kind::Command(c) if c == "end" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Ok(i);
            }
        }
        Err(Unreadable::Syntax)
    }

    fn rows_have_relations(&self) -> bool {
        let end = self.end_of_environment().unwrap_or(self.at);
        self.tokens[self.at..end].iter().any(|t| is_relation(&t.kind))
    }

    /// Rows of relations, a list as if commas stood between them; with `conditions`, a second cell that begins with no
    /// relation sign is the condition under which the first is the value.
    fn system(&mut self, conditions: bool) -> Parse<Expr> {
        let end = self.end_of_environment()?;
        let body = self.tokens[self.at..end].to_vec();
        self.at = end + 1;
        self.raw()?;
        let mut items = Vec::new();
        for row in body.split(|t| t.kind == Kind::Row).filter(|r| !r.is_empty()) {
            let mut cells = vec![vec![]];
            for (i, token) in row.iter().enumerate() {
                let after = row.get(i + 1).map(|t| &t.kind);
                let before = i.checked_sub(1).map(|i| &row[i].kind);
                let aligned = after.is_some_and(is_relation) || before.is_some_and(is_relation);
                match token.kind {
                    Kind::Mark('&') if conditions && !aligned => cells.push(vec![]),
                    Kind::Mark('&') => {}
                    _ => cells.last_mut().ok_or(Unreadable::Syntax)?.push(token.clone()),
                }
            }
            match cells.as_slice() {
                [one] => items.extend(self.cell(one)?),
                [value, condition] => {
                    let (value, condition) = (collect(vec![self.cell(value)?])?, self.condition(condition)?);
                    items.push(Expr::Tuple(vec![value, condition]));
                }
                _ => return Err(Unreadable::Syntax),
            }
        }
        if items.is_empty() { Err(Unreadable::Syntax) } else { collect(vec![items]) }
    }

    /// Reads the tokens of a cell as a list, within the budget of this reading.
    fn cell(&mut self, tokens: &[Token]) -> Parse<Vec<Expr>> {
        let stop = |t: &Token| matches!(t.kind, Kind::Mark(',' | ';' | ':'));
        let kept = tokens.iter().rposition(|t| !stop(t)).map_or(0, |i| i + 1);
        if kept == 0 {
            return Err(Unreadable::Syntax);
        }
        let mut inner = Parser::new(tokens[..kept].to_vec());
        (inner.depth, inner.steps) = (self.depth + 1, self.steps);
        let groups = inner.list()?;
        self.steps = inner.steps;
        if inner.at < inner.tokens.len() {
            return Err(Unreadable::Syntax);
        }
        Ok(groups.into_iter().flatten().collect())
    }

    /// `if x > 0`, `x > 0`, `otherwise`
    fn condition(&mut self, tokens: &[Token]) -> Parse<Expr> {
        let small = |t: &Token| matches!(&t.kind, Kind::Text(t) if matches!(t.trim(), "if" | "for" | "when" | "where"));
        let from = tokens.iter().position(|t| !small(t)).ok_or(Unreadable::Syntax)?;
        collect(vec![self.cell(&tokens[from..])?])
    }
}

fn is_relation(kind: &Kind) -> bool {
    match kind {
        Kind::Mark(c) => "=<>".contains(*c),
        Kind::Command(c) => {
            matches!(c.as_str(), "le" | "leq" | "ge" | "geq" | "lt" | "gt" | "ne" | "neq" | "in" | "equiv")
        }
        _ => false,
    }
}
