//! SymPy's `srepr` trees as [`Expr`], and the test that compares our reading of LaTeX with a recorded one.

use num_rational::BigRational;

use super::ast::{Bind, BindKind, Const, Expr, Fun, RelOp};
use super::compare::compare;
use super::equal::Scalars;
use super::lex::Words;
use super::parse::{literal, parse};

/// `Name(args…)`, a number, a string or a list.
#[derive(Clone, Debug)]
enum Tree {
    Node(String, Vec<Tree>),
    Text(String),
}

fn read_tree(s: &mut &str) -> Option<Tree> {
    *s = s.trim_start();
    if let Some(rest) = s.strip_prefix('\'').or_else(|| s.strip_prefix('"')) {
        let quote = s.chars().next()?;
        let mut out = String::new();
        let mut chars = rest.char_indices();
        while let Some((i, c)) = chars.next() {
            if c == '\\' {
                out.push(chars.next()?.1);
            } else if c == quote {
                *s = &rest[i + 1..];
                return Some(Tree::Text(out));
            } else {
                out.push(c);
            }
        }
        return None;
    }
    let end = s.find(|c: char| !(c.is_alphanumeric() || "_.-+".contains(c))).unwrap_or(s.len());
    let mut name = s[..end].to_string();
    *s = &s[end..];
    if let Some(rest) = s.strip_prefix('=') {
        *s = rest;
        let value = read_tree(s)?;
        return Some(Tree::Node(format!("={name}"), vec![value]));
    }
    let (open, close) = if s.starts_with('(') { ('(', ')') } else { ('[', ']') };
    let Some(rest) = s.strip_prefix(open) else { return Some(Tree::Node(name, vec![])) };
    if open == '[' {
        name = "list".into();
    }
    *s = rest;
    let mut args = Vec::new();
    loop {
        *s = s.trim_start_matches([' ', ',', '\n']);
        if let Some(rest) = s.strip_prefix(close) {
            *s = rest;
            break;
        }
        args.push(read_tree(s)?);
    }
    // Function('f')(x)
    if name == "Function"
        && let Some(Tree::Text(f)) = args.first()
    {
        let f = f.clone();
        if let Some(rest) = s.strip_prefix('(') {
            *s = rest;
            let mut inner = Vec::new();
            while !s.starts_with(')') {
                *s = s.trim_start_matches([' ', ',']);
                inner.push(read_tree(s)?);
            }
            *s = &s[1..];
            return Some(Tree::Node(format!("apply {f}"), inner));
        }
    }
    Some(Tree::Node(name, args))
}

fn number(t: &Tree) -> Option<BigRational> {
    match t {
        Tree::Node(n, _) => {
            let (sign, n) = n.strip_prefix('-').map_or((1, n.as_str()), |n| (-1, n));
            Some(literal(n, 0)? * BigRational::from_integer(sign.into()))
        }
        Tree::Text(t) => {
            let (mantissa, exponent) = t.split_once('e').unwrap_or((t, "0"));
            let (sign, mantissa) = mantissa.strip_prefix('-').map_or((1, mantissa), |n| (-1, n));
            Some(
                literal(mantissa, exponent.trim_start_matches('+').parse().ok()?)?
                    * BigRational::from_integer(sign.into()),
            )
        }
    }
}

fn expr(t: &Tree) -> Option<Expr> {
    let Tree::Node(name, args) = t else { return None };
    let args: Vec<Tree> =
        args.iter().filter(|a| !matches!(a, Tree::Node(n, _) if n.starts_with('='))).cloned().collect();
    let all = || args.iter().map(expr).collect::<Option<Vec<_>>>();
    let relation = |op| -> Option<Expr> {
        let mut xs = all()?;
        let right = xs.pop()?;
        Some(Expr::Rel(Box::new(xs.pop()?), vec![(op, right)]))
    };
    let bound = |kind| -> Option<Expr> {
        let body = expr(&args[0])?;
        let Tree::Node(_, limits) = &args[1] else { return None };
        let Some(Expr::Sym(var)) = expr(&limits[0]) else { return None };
        Some(Expr::Bind(Box::new(Bind {
            kind,
            var,
            low: limits.get(1).and_then(expr),
            high: limits.get(2).and_then(expr),
            body,
        })))
    };
    Some(match name.as_str() {
        "Integer" => Expr::Num(number(&args[0])?),
        "Rational" => Expr::Num(number(&args[0])? / number(&args[1])?),
        "Float" => {
            let Tree::Text(text) = &args[0] else { return None };
            // The shortest decimal of the recorded double: 1.1, not 1.1000000000000001.
            Expr::Dec(number(&Tree::Text(format!("{:e}", text.parse::<f64>().ok()?)))?)
        }
        "Symbol" => match &args[0] {
            Tree::Text(s) => Expr::Sym(s.replace(' ', "").to_lowercase()),
            Tree::Node(..) => return None,
        },
        "pi" => Expr::Const(Const::Pi),
        "E" => Expr::Const(Const::E),
        "I" => Expr::Const(Const::I),
        "oo" => Expr::Const(Const::Infinity),
        "-oo" => Expr::Const(Const::Infinity).neg(),
        "EmptySet" => Expr::Set(vec![]),
        "Naturals" => Expr::Named('N'),
        "Integers" => Expr::Named('Z'),
        "Rationals" => Expr::Named('Q'),
        "Reals" => Expr::Named('R'),
        "Complexes" => Expr::Named('C'),
        "Add" | "MatAdd" => Expr::Add(all()?),
        "Mul" | "MatMul" => Expr::Mul(all()?),
        "Pow" => {
            let mut xs = all()?;
            let exponent = xs.pop()?;
            xs.pop()?.pow(exponent)
        }
        "UnevaluatedExpr" => expr(&args[0])?,
        "exp" => Expr::Const(Const::E).pow(expr(&args[0])?),
        "log" => {
            let base = args.get(1).map_or(Some(Expr::Const(Const::E)), expr)?;
            Expr::Call(Fun::Log, vec![expr(&args[0])?, base])
        }
        "Equality" => relation(RelOp::Eq)?,
        "Unequality" => relation(RelOp::Ne)?,
        "StrictLessThan" => relation(RelOp::Lt)?,
        "LessThan" => relation(RelOp::Le)?,
        "StrictGreaterThan" => relation(RelOp::Gt)?,
        "GreaterThan" => relation(RelOp::Ge)?,
        "Not" => match expr(&args[0])? {
            Expr::Rel(a, mut b) => {
                b[0].0 = RelOp::NotIn;
                Expr::Rel(a, b)
            }
            _ => return None,
        },
        "FiniteSet" => Expr::Set(all()?),
        "Tuple" => Expr::Tuple(all()?),
        "Union" => Expr::Union(all()?),
        "Intersection" => Expr::Intersection(all()?),
        "Complement" => {
            let mut xs = all()?;
            let b = xs.pop()?;
            Expr::Minus(Box::new(xs.pop()?), Box::new(b))
        }
        "Interval" => {
            let open = |i: usize| matches!(&args[i], Tree::Node(n, _) if n == "true");
            Expr::interval(expr(&args[0])?, expr(&args[1])?, open(2), open(3))
        }
        "ImmutableDenseMatrix" | "MutableDenseMatrix" | "Matrix" => {
            let Tree::Node(_, rows) = &args[0] else { return None };
            Expr::Matrix(
                rows.iter()
                    .map(
                        |r| {
                            if let Tree::Node(_, cells) = r { cells.iter().map(expr).collect() } else { None }
                        },
                    )
                    .collect::<Option<_>>()?,
            )
        }
        "Sum" => bound(BindKind::Sum)?,
        "Product" => bound(BindKind::Product)?,
        "Integral" => bound(BindKind::Integral)?,
        "Derivative" => bound(BindKind::Derivative)?,
        "Limit" => {
            let Some(Expr::Sym(var)) = expr(&args[1]) else { return None };
            let below = matches!(args.get(3), Some(Tree::Text(d)) if d == "-")
                || format!("{:?}", args.get(3)).contains("\"-\"");
            let kind = if below { BindKind::LimitBelow } else { BindKind::Limit };
            Expr::Bind(Box::new(Bind {
                kind,
                var,
                low: Some(expr(&args[2])?),
                high: None,
                body: expr(&args[0])?,
            }))
        }
        "ceiling" => Expr::Call(Fun::Ceil, all()?),
        other => match other.strip_prefix("apply ") {
            Some(f) => Expr::Apply(f.to_lowercase(), all()?),
            None => Expr::Call(Fun::named(other)?, all()?),
        },
    })
}

#[test]
#[ignore = "needs shared data (SPARKS_SHARED)"]
fn latex_reads_as_recorded() {
    let path = crate::shared_data("latex_parse_dev.jsonl");
    let text = std::fs::read_to_string(path).expect("readable");
    let (mut rows, mut equal, mut unread, mut other) = (0, 0, vec![], vec![]);
    for line in text.lines() {
        let row: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let latex = row["latex"].as_str().unwrap_or_default();
        rows += 1;
        let tree = row["sympy_srepr"].as_str().and_then(|s| read_tree(&mut &*s)).and_then(|t| expr(&t));
        let Some(expected) = tree else {
            other.push(format!("(srepr) {latex}: {}", row["sympy_srepr"]));
            continue;
        };
        match parse(latex, Words::Letters) {
            Err(e) => unread.push(format!("{latex}: {e:?}")),
            Ok(answer) => {
                let mut outcome = compare(&answer.expr, &expected, &mut Scalars::new(9));
                if !outcome.is_equal() && expected == answer.expr {
                    outcome = super::equal::Outcome::Equal("same tree");
                }
                if outcome.is_equal() {
                    equal += 1;
                } else {
                    other.push(format!("{latex}: {} not {expected} ({})", answer.expr, outcome.reason()));
                }
            }
        }
    }
    let report = format!("{equal} of {rows}\nunread:\n{}\nother:\n{}", unread.join("\n"), other.join("\n"));
    assert!(equal * 100 >= rows * 95, "{report}");
    if std::env::var_os("SPARKS_REPORT").is_some() {
        std::fs::write(std::env::temp_dir().join("latex_report.txt"), report).expect("written");
    }
}
