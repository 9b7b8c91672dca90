//! Numbers as text for a reader: percent, points, p-values, durations, counts. Markup is `maud`'s.

use stats::Interval;

/// `text` with control characters other than line breaks and tabs replaced: XML has no form for them.
pub(super) fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { '\u{fffd}' } else { c }).collect()
}

/// A share as percent, one decimal where it is small or there are enough problems to mean it.
pub(super) fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    if percent > 0.0 && percent < 9.95 || percent > 99.0 && percent < 100.0 {
        format!("{percent:.1}\u{202f}%")
    } else {
        format!("{percent:.0}\u{202f}%")
    }
}

/// A difference of shares in percentage points, with its sign.
pub(super) fn points(difference: f64) -> String {
    let points = 100.0 * difference;
    let digits = usize::from(points.abs() < 9.95);
    let number = format!("{:.digits$}", points.abs());
    let sign = match number.trim_matches(['0', '.']) {
        "" => "±",
        _ if points < 0.0 => "−",
        _ => "+",
    };
    format!("{sign}{number}")
}

/// A number with a true minus sign and `digits` decimals.
pub(super) fn number(x: f64, digits: usize) -> String {
    let text = format!("{:.digits$}", x.abs());
    if x < 0.0 && text.contains(|c: char| ('1'..='9').contains(&c)) { format!("−{text}") } else { text }
}

/// The ends of an interval: `[0.10 to 0.30]`.
pub(super) fn range(i: &Interval, write: impl Fn(f64) -> String) -> String {
    format!("[{} to {}]", write(i.low), write(i.high))
}

/// An estimate with the ends of its interval.
pub(super) fn between(i: &Interval, write: impl Fn(f64) -> String) -> String {
    format!("{} {}", write(i.estimate), range(i, &write))
}

/// A p-value, never as zero.
pub(super) fn p_value(p: f64) -> String {
    if p < 0.001 { "p\u{202f}<\u{202f}0.001".into() } else { format!("p\u{202f}=\u{202f}{p:.3}") }
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
pub(super) fn count(n: usize, noun: &str) -> String {
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
        assert_eq!(percent(0.0513), "5.1\u{202f}%");
        assert_eq!((percent(0.0), percent(1.0)), ("0\u{202f}%".into(), "100\u{202f}%".into()));
        assert_eq!(
            (points(-0.0001), points(-0.25), points(0.031)),
            ("±0.0".into(), "−25".into(), "+3.1".into())
        );
        assert_eq!((number(-0.0, 2), number(-1.5, 1)), ("0.00".into(), "−1.5".into()));
        assert_eq!(duration(312.0), "5\u{202f}min 12\u{202f}s");
        assert_eq!(grouped(1_543_714), "1\u{202f}543\u{202f}714");
        assert_eq!((count(1, "head"), count(0, "head")), ("1 head".into(), "0 heads".into()));
    }
}
