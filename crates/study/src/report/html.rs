//! Text into markup: escaping, numbers as a reader wants them, base64.

/// `text` with the five characters of markup replaced.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // XML has no other control characters, not even escaped.
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
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

/// Base64 (RFC 4648) of `bytes`.
pub(super) fn base64(bytes: &[u8]) -> String {
    const TABLE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().enumerate().fold(0u32, |w, (i, &b)| w | u32::from(b) << (16 - 8 * i));
        for i in 0..4 {
            let sextet = (word >> (18 - 6 * i) & 63) as usize;
            out.push(if i <= chunk.len() { TABLE[sextet] as char } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_inert() {
        assert_eq!(escape("<think>\"a\" & 'b'\u{7}"), "&lt;think&gt;&quot;a&quot; &amp; &#39;b&#39;\u{fffd}");
    }

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

    #[test]
    fn base64_is_the_standard_s() {
        for (plain, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
