//! Numbers and ratios.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::One;

use super::super::ast::Expr;
use super::super::lex::{Kind, Unreadable};
use super::operand::{MAX_CHAIN, divide};
use super::{Parse, Parser};

impl Parser {
    /// A number after its digits were seen: groups of thousands, a repeating decimal, a base.
    pub(super) fn number(&mut self, digits: &str, exponent: i64) -> Parse<Expr> {
        self.at += 1;
        // 1 234 567
        let mut digits = digits.to_string();
        if exponent == 0 && digits.len() <= 3 && !digits.contains('.') && !digits.starts_with('0') {
            while let Some(Kind::Number(group, 0)) = self.peek() {
                let whole = group.split('.').next().unwrap_or(group);
                if whole.len() != 3 || !self.tokens[self.at].spaced || digits.contains('.') {
                    break;
                }
                digits.push_str(group);
                self.at += 1;
            }
        }
        let value = literal(&digits, exponent).ok_or(Unreadable::TooLong)?;
        if digits.contains('.')
            && (self.is_command("overline") || self.is_command("bar") || self.is_command("dot"))
        {
            return self.repeating(&digits, value);
        }
        if self.is_mark('_') {
            self.at += 1;
            let base = self.raw()?;
            let integer = value.is_integer().then(|| value.to_integer());
            return match (integer, base.parse::<u32>()) {
                (Some(digits), Ok(base @ 2..=36)) => Ok(Expr::Based(digits, base)),
                _ => Ok(Expr::Num(value)),
            };
        }
        Ok(if digits.contains('.') || exponent != 0 { Expr::Dec(value) } else { Expr::Num(value) })
    }

    /// `0.1\overline{6}`
    fn repeating(&mut self, digits: &str, value: BigRational) -> Parse<Expr> {
        self.at += 1;
        let period = self.raw()?;
        let repeated: BigInt = period.parse().map_err(|_| Unreadable::Syntax)?;
        let places = digits.split('.').nth(1).map_or(0, str::len);
        let ten = BigInt::from(10);
        let nines = num_traits::pow(ten.clone(), period.len()) - BigInt::one();
        let tail = BigRational::new(repeated, nines * num_traits::pow(ten, places));
        Ok(Expr::Num(value + tail))
    }

    /// `a : b` is a quotient; `a : b : c` and `0 : b` are compared part by part.
    pub(super) fn ratio(&mut self, first: Expr) -> Parse<Expr> {
        let mut parts = vec![first];
        while parts.len() <= MAX_CHAIN && self.take_mark(':') {
            parts.push(self.unary()?);
        }
        let first = parts.remove(0);
        if first == Expr::int(0) {
            parts.insert(0, first);
        } else if parts.len() == 1 {
            return Ok(divide(first, parts.swap_remove(0)));
        } else {
            parts = parts.into_iter().map(|p| divide(p, first.clone())).collect();
        }
        Ok(Expr::Apply(":".into(), parts))
    }
}

/// The exact value of `digits` (with an optional point) times `10^exponent`.
pub(crate) fn literal(digits: &str, exponent: i64) -> Option<BigRational> {
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
    let mantissa: BigInt = format!("{whole}{decimals}").parse().ok()?;
    let scale = super::super::ast::power_of_ten(exponent - decimals.len() as i64)?;
    Some(BigRational::from_integer(mantissa) * scale)
}
