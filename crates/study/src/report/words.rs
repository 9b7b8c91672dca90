//! Numbers as text for a reader: percent, points, p-values, durations, counts. Markup is `maud`'s.

use stats::Interval;

use crate::results::Unit;

/// `text` with control characters other than line breaks and tabs replaced: XML has no form for them.
pub(super) fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c }).collect()
}

/// The size of a number with so many decimals, a tie upwards as in the page's figures: 12.5 is 13 and not 12.
fn fixed(x: f64, digits: usize) -> String {
    let (x, scale) = (x.abs(), 10_f64.powi(digits as i32));
    let scaled = x * scale;
    // The product has no rounding of its own.
    let tie = scaled.fract() == 0.5 && x.mul_add(scale, -scaled) == 0.0;
    format!("{:.digits$}", if tie { x.next_up() } else { x })
}

/// A share as percent, one decimal where it is small or there are enough problems to mean it.
pub(crate) fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    let one = percent > 0.0 && percent < 9.95 || percent > 99.0 && percent < 100.0;
    fixed(percent, usize::from(one)) + "\u{202f}%"
}

/// A difference of shares in percentage points, with its sign.
pub(crate) fn points(difference: f64) -> String {
    let points = 100.0 * difference;
    let digits = usize::from(points.abs() < 9.95);
    let number = fixed(points, digits);
    let sign = match number.trim_matches(['0', '.']) {
        "" => "±",
        _ if points < 0.0 => "−",
        _ => "+",
    };
    format!("{sign}{number}")
}

/// A number with a true minus sign and `digits` decimals.
pub(crate) fn number(x: f64, digits: usize) -> String {
    let text = fixed(x, digits);
    if x < 0.0 && text.contains(|c: char| ('1'..='9').contains(&c)) { format!("−{text}") } else { text }
}

/// The ends of an interval: `[0.10 to 0.30]`.
pub(crate) fn range(i: &Interval, write: impl Fn(f64) -> String) -> String {
    format!("[{} to {}]", write(i.low), write(i.high))
}

/// An estimate with the ends of its interval.
pub(super) fn between(i: &Interval, write: impl Fn(f64) -> String) -> String {
    format!("{} {}", write(i.estimate), range(i, &write))
}

/// A p-value, never as zero.
pub(crate) fn p_value(p: f64) -> String {
    if p < 0.001 { "p\u{202f}<\u{202f}0.001".into() } else { format!("p\u{202f}=\u{202f}{p:.3}") }
}

/// A size of an effect in its unit, without a sign: `2.7 heads`, `15 points`.
pub(crate) fn amount(unit: Option<Unit>, size: f64) -> String {
    match unit {
        Some(Unit::Heads) => plural(shortest(size), "head"),
        Some(Unit::EdgesPerHead) => plural(shortest(size), "edge") + " a head",
        Some(Unit::Correlation) => format!("r = {}", number(size, 2)),
        Some(Unit::Accuracy) => format!("{} points", points(size).trim_start_matches('+')),
        None => number(size, 3),
    }
}

/// A difference with its unit, its sign and the ends of its interval: `+1 head [−1 to +2]`.
pub(super) fn effect(unit: Option<Unit>, i: &Interval) -> String {
    let signed = |x: f64| if x > 0.0 { format!("+{}", shortest(x)) } else { shortest(x) };
    match unit {
        Some(Unit::Heads) => format!("{} {}", plural(signed(i.estimate), "head"), range(i, signed)),
        Some(Unit::EdgesPerHead) => {
            format!("{} a head {}", plural(signed(i.estimate), "edge"), range(i, signed))
        }
        Some(Unit::Correlation) => format!("r = {}", between(i, |x| number(x, 2))),
        Some(Unit::Accuracy) => format!("{} points {}", points(i.estimate), range(i, points)),
        None => between(i, |x| number(x, 3)),
    }
}

/// What a metric is called, and its unit.
pub(super) fn metric(name: &str) -> (&str, &str) {
    match name {
        "logit-diff" => ("logit difference", "logits"),
        "prob-diff" => ("probability difference", "of probability"),
        "kl" => ("KL divergence", "nats"),
        "nll" => ("negative log-likelihood", "nats"),
        other => (other, "in its unit"),
    }
}

/// A stated rate as percent: `5 %`.
pub(super) fn rate(share: f64) -> String {
    format!("{}\u{202f}%", shortest(100.0 * share))
}

/// A number with at most one decimal.
fn shortest(x: f64) -> String {
    number(x, 1).trim_end_matches(".0").to_owned()
}

fn plural(n: String, noun: &str) -> String {
    let many = if matches!(n.as_str(), "1" | "+1" | "−1") { "" } else { "s" };
    format!("{n} {noun}{many}")
}

/// Seconds for people.
pub(super) fn duration(seconds: f64) -> String {
    if seconds < 59.5 {
        return format!("{seconds:.1}\u{202f}s");
    }
    let whole = seconds.round() as u64;
    if whole < 3600 {
        format!("{}\u{202f}min {:02}\u{202f}s", whole / 60, whole % 60)
    } else {
        format!("{}\u{202f}h {:02}\u{202f}min", whole / 3600, whole % 3600 / 60)
    }
}

/// `1 head`, `3 heads`; irregular nouns give their plural after a bar: `entry|entries`.
pub(crate) fn count(n: usize, noun: &str) -> String {
    match noun.split_once('|') {
        Some((one, many)) => format!("{n} {}", if n == 1 { one } else { many }),
        None => format!("{n} {noun}{}", if n == 1 { "" } else { "s" }),
    }
}

/// Whole numbers in groups of three.
pub(super) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(percent(0.314), "31\u{202f}%");
        assert_eq!((percent(0.125), percent(0.0625)), ("13\u{202f}%".into(), "6.3\u{202f}%".into()));
        assert_eq!(percent(0.0513), "5.1\u{202f}%");
        assert_eq!((percent(0.0), percent(1.0)), ("0\u{202f}%".into(), "100\u{202f}%".into()));
        assert_eq!(
            (points(-0.0001), points(-0.25), points(0.031)),
            ("±0.0".into(), "−25".into(), "+3.1".into())
        );
        assert_eq!((number(-0.0, 2), number(-1.5, 1)), ("0.00".into(), "−1.5".into()));
        let i = Interval { estimate: -2.0, low: -3.04, high: 0.26 };
        let of = |unit| (effect(Some(unit), &i), amount(Some(unit), 2.667));
        assert_eq!(of(Unit::Heads), ("−2 heads [−3 to +0.3]".into(), "2.7 heads".into()));
        assert_eq!(
            of(Unit::EdgesPerHead),
            ("−2 edges a head [−3 to +0.3]".into(), "2.7 edges a head".into())
        );
        assert_eq!(
            (amount(Some(Unit::EdgesPerHead), 1.0), rate(0.05)),
            ("1 edge a head".into(), "5\u{202f}%".into())
        );
        let i = Interval { estimate: 0.113, low: 0.01, high: 0.215 };
        let of = |unit| (effect(Some(unit), &i), amount(Some(unit), 0.146));
        assert_eq!(of(Unit::Accuracy), ("+11 points [+1.0 to +22]".into(), "15 points".into()));
        assert_eq!(of(Unit::Correlation), ("r = 0.11 [0.01 to 0.21]".into(), "r = 0.15".into()));
        assert_eq!(duration(312.0), "5\u{202f}min 12\u{202f}s");
        assert_eq!(grouped(1_543_714), "1\u{202f}543\u{202f}714");
        assert_eq!((count(1, "head"), count(0, "head")), ("1 head".into(), "0 heads".into()));
    }
}
