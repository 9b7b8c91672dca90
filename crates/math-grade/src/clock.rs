//! Times of day: `9:45`, `8:15 p.m.`, `7 PM`, `18:00`. Two of them are equal as times, not as quotients.

use super::ast::Expr;

/// A time as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    pub(crate) hour: u32,
    /// Minutes and seconds, in seconds; `None` for a bare hour (`7 p.m.`).
    pub(crate) rest: Option<u32>,
    pub(crate) half: Option<Half>,
}

/// Half of the day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    Morning,
    Afternoon,
}

const HALVES: [(&str, Half); 14] = [
    ("a.m.", Half::Morning),
    ("p.m.", Half::Afternoon),
    ("a. m.", Half::Morning),
    ("p. m.", Half::Afternoon),
    ("a.m", Half::Morning),
    ("p.m", Half::Afternoon),
    ("am.", Half::Morning),
    ("pm.", Half::Afternoon),
    ("am", Half::Morning),
    ("pm", Half::Afternoon),
    ("noon", Half::Afternoon),
    ("midnight", Half::Morning),
    ("o'clock a.m.", Half::Morning),
    ("o'clock p.m.", Half::Afternoon),
];

/// `a.m.` or `p.m.` in one of its spellings at the beginning of `text`, and its length.
pub(crate) fn half_of_day(text: &str) -> Option<(&'static str, usize)> {
    HALVES.iter().find_map(|(name, half)| {
        let head = text.get(..name.len())?;
        let alone = !text[name.len()..].starts_with(char::is_alphanumeric);
        (head.eq_ignore_ascii_case(name) && alone)
            .then_some((if *half == Half::Morning { "am" } else { "pm" }, name.len()))
    })
}

/// Reads a text that is a time of day and nothing else.
pub(crate) fn read(text: &str) -> Option<Clock> {
    if text.len() > 64 || !text.contains(':') && !text.contains(['m', 'M', 'n']) {
        return None;
    }
    let mut plain = text.to_string();
    for markup in ["\\text", "\\textrm", "\\mathrm", "\\mbox", "\\,", "\\;", "\\!", "\\:", "\\ "] {
        plain = plain.replace(markup, " ");
    }
    let plain: String = plain.chars().filter(|c| !"{}~$".contains(*c)).collect();
    let plain = plain.trim();
    if let "noon" | "midnight" = plain {
        let half = if plain == "noon" { Half::Afternoon } else { Half::Morning };
        return Some(Clock { hour: 12, rest: Some(0), half: Some(half) });
    }
    let digits = plain.find(|c: char| !(c.is_ascii_digit() || c == ':' || c == ' ')).unwrap_or(plain.len());
    let (time, half) = plain.split_at(digits);
    let half = match half.trim() {
        "" => None,
        word => Some(half_of_day(word).filter(|(_, n)| *n == word.len())?.0),
    };
    let half = half.map(|h| if h == "am" { Half::Morning } else { Half::Afternoon });
    let mut parts = time.split(':').map(str::trim);
    let hour: u32 = parts.next().filter(|h| (1..=2).contains(&h.len()))?.parse().ok()?;
    let mut rest = None;
    for (scale, part) in [60, 1].into_iter().zip(parts.by_ref()) {
        let part: u32 = Some(part).filter(|p| p.len() == 2)?.parse().ok().filter(|n| *n < 60)?;
        rest = Some(rest.unwrap_or(0) + scale * part);
    }
    let possible = hour <= if half.is_some() { 12 } else { 24 } && (rest.is_some() || half.is_some());
    (possible && parts.next().is_none()).then_some(Clock { hour, rest, half })
}

impl Clock {
    /// Whether two times agree; where only one names its half of the day, the other may be either, or count to 24.
    pub(crate) fn same(self, other: Clock) -> bool {
        let rest = |c: Clock| c.rest.unwrap_or(0);
        let of_day = |c: Clock| match c.half {
            Some(Half::Morning) => c.hour % 12,
            Some(Half::Afternoon) => c.hour % 12 + 12,
            None => c.hour,
        };
        let hours = self.hour == other.hour && (self.half.is_none() || other.half.is_none());
        rest(self) == rest(other) && (hours || of_day(self) == of_day(other))
    }

    /// What it is beside something that is no time: a bare hour is a number, `3:20` a quotient.
    pub(crate) fn as_number(self) -> Option<Expr> {
        let hour = Expr::int(self.hour.into());
        match (self.rest, self.half) {
            (None, _) => Some(hour),
            (Some(rest), None) if rest > 0 && rest % 60 == 0 => {
                Some(Expr::Num(num_rational::BigRational::new(self.hour.into(), (rest / 60).into())))
            }
            _ => None,
        }
    }
}

impl std::fmt::Display for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.hour)?;
        if let Some(rest) = self.rest {
            write!(f, ":{:02}", rest / 60)?;
            if rest % 60 > 0 {
                write!(f, ":{:02}", rest % 60)?;
            }
        }
        f.write_str(match self.half {
            None => "",
            Some(Half::Morning) => " am",
            Some(Half::Afternoon) => " pm",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_what_is_none() {
        let same = |a: &str, b: &str| read(a).expect("a time").same(read(b).expect("a time"));
        assert!(
            same("18:00", "6:00 \\text{ PM}")
                && same("8:15", "8:15\\text{ a.m.}")
                && same("7 pm", "7:00 p.m.")
        );
        assert!(!same("8:15 am", "8:15 pm") && !same("2:15", "4:30") && !same("12:00 am", "12:00 pm"));
        for text in ["7", "3:4", "25:00", "13:00 pm", "4:30p..", "1:234", "m", "n"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
