//! Units of measurement. An answer may carry one and the reference none, or the other way round; two units that
//! are both known must agree, power included, so that 15 cm² is not 15 cm³.

use num_rational::BigRational;

/// A known unit: its dimension (with power) and its size in that dimension's base unit, as a ratio.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Unit {
    dimension: &'static str,
    power: u32,
    size: (i64, i64),
}

/// (dimension, size as numerator and denominator, spellings). The first dimensions are convertible; `count`
/// units have a dimension each of their own.
const KNOWN: [(&str, (i64, i64), &[&str]); 55] = [
    ("length", (1, 1000), &["mm", "millimeter", "millimeters", "millimetres"]),
    ("length", (1, 100), &["cm", "centimeter", "centimeters", "centimetre", "centimetres"]),
    ("length", (1, 1), &["m", "meter", "meters", "metre", "metres"]),
    ("length", (1000, 1), &["km", "kilometer", "kilometers", "kilometre", "kilometres"]),
    ("length", (254, 10000), &["in", "inch", "inches"]),
    ("length", (3048, 10000), &["ft", "foot", "feet"]),
    ("length", (9144, 10000), &["yd", "yard", "yards"]),
    ("length", (1_609_344, 1000), &["mi", "mile", "miles"]),
    ("time", (1, 1), &["s", "sec", "second", "seconds"]),
    ("time", (60, 1), &["min", "minute", "minutes"]),
    ("time", (3600, 1), &["h", "hr", "hrs", "hour", "hours"]),
    ("time", (86400, 1), &["day", "days"]),
    ("week", (1, 1), &["week", "weeks"]),
    ("month", (1, 1), &["month", "months"]),
    ("year", (1, 1), &["year", "years", "yr", "yrs"]),
    ("mass", (1, 1000), &["g", "gm", "gram", "grams"]),
    ("mass", (1, 1), &["kg", "kilogram", "kilograms"]),
    ("mass", (45_359_237, 100_000_000), &["lb", "lbs", "pound", "pounds"]),
    ("mass", (28_349_523_125, 1_000_000_000_000), &["oz", "ounce", "ounces"]),
    ("volume", (1, 1000), &["ml", "mL", "milliliter", "milliliters"]),
    ("volume", (1, 1), &["l", "L", "liter", "liters", "litre", "litres"]),
    ("gallon", (1, 1), &["gal", "gallon", "gallons"]),
    ("money", (1, 1), &["dollar", "dollars", "USD", "usd"]),
    ("money", (1, 100), &["cent", "cents"]),
    ("angle", (1, 1), &["degree", "degrees", "deg"]),
    ("radian", (1, 1), &["radian", "radians", "rad"]),
    ("speed", (1, 1), &["mph"]),
    ("speed-metric", (1, 1), &["kmh", "kmph", "kph"]),
    ("acre", (1, 1), &["acre", "acres"]),
    ("hectare", (1, 1), &["hectare", "hectares"]),
    ("rupee", (1, 1), &["rs", "rupee", "rupees"]),
    ("euro", (1, 1), &["euro", "euros"]),
    ("unit", (1, 1), &["unit", "units"]),
    ("ohm", (1, 1), &["ohm", "ohms"]),
    ("ordinal", (1, 1), &["th", "st", "nd", "rd"]),
    ("January", (1, 1), &["January", "Jan"]),
    ("February", (1, 1), &["February", "Feb"]),
    ("March", (1, 1), &["March", "Mar"]),
    ("April", (1, 1), &["April", "Apr"]),
    ("May", (1, 1), &["May"]),
    ("June", (1, 1), &["June", "Jun"]),
    ("July", (1, 1), &["July", "Jul"]),
    ("August", (1, 1), &["August", "Aug"]),
    ("September", (1, 1), &["September", "Sept"]),
    ("October", (1, 1), &["October", "Oct"]),
    ("November", (1, 1), &["November", "Nov"]),
    ("December", (1, 1), &["December", "Dec"]),
    ("Monday", (1, 1), &["Monday"]),
    ("Tuesday", (1, 1), &["Tuesday"]),
    ("Wednesday", (1, 1), &["Wednesday"]),
    ("Thursday", (1, 1), &["Thursday"]),
    ("Friday", (1, 1), &["Friday"]),
    ("Saturday", (1, 1), &["Saturday"]),
    ("Sunday", (1, 1), &["Sunday"]),
    (
        "way",
        (1, 1),
        &[
            "way", "ways", "point", "points", "square", "squares", "people", "students", "coins", "apples",
            "integers", "digits", "edges", "tiles",
        ],
    ),
];

/// Units and suffixes of two or three letters that are not known, and are no product of variables right at a number;
/// small letters stand for both cases.
pub(crate) const ABBREVIATIONS: &str = "ms|ns|us|nm|pm|am|mg|kb|mb|gb|tb|px|hz|khz|mhz|ghz|hp|psi|rpm|bpm|fps|cc|pt|pts|qt|tsp|\
    kn|kw|kj|kwh|mw|ev|pa|kpa|atm|mol|cal|dl|cl|dm|ha|sq|pcs|pc|eur|gbp|rmb|cny|inr|jpy|aud|cad|chf|kr|BC|AD|BCE|CE|\
    cis|rd|nd|th|st|is|or|to|of|and|per|for|the|if|in|at|by|so|cos|ton|nos";

/// The unit that the last word of `text` names, with power: `"square inches"`, `"cm^2"`, `"sq. m"`.
pub(crate) fn read(text: &str, exponent: u32) -> Option<Unit> {
    let text = text.trim().trim_end_matches('.');
    let (text, written) = match text.split_once('^') {
        Some((t, p)) => (t, p.trim_matches(['{', '}', ' ']).parse().ok()?),
        None => (text, 1),
    };
    let mut words = text.split_whitespace();
    let last = words.next_back()?;
    let &(dimension, size, _) = KNOWN.iter().find(|(_, _, names)| names.contains(&last))?;
    let before: Vec<&str> = words.collect();
    let power = match before.last().map(|w| w.trim_end_matches('.')) {
        Some("square" | "sq") => 2,
        Some("cubic" | "cu") => 3,
        _ => exponent.max(1) * written,
    };
    Some(Unit { dimension, power, size })
}

/// `word` if it spells a unit of at least two letters.
pub(crate) fn spelled(word: &str) -> Option<&str> {
    (word.len() > 1 && KNOWN.iter().any(|(_, _, names)| names.contains(&word))).then_some(word)
}

impl Unit {
    /// What a value in `self` must be multiplied by to be in `other`; `None` if they do not measure the same.
    pub(crate) fn ratio(&self, other: &Unit) -> Option<BigRational> {
        if self.dimension != other.dimension || self.power != other.power {
            return None;
        }
        let one = |u: &Unit| BigRational::new(u.size.0.into(), u.size.1.into());
        let ratio = one(self) / one(other);
        Some(num_traits::pow(ratio, self.power.min(8) as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_and_conversions() {
        let (cm2, cm3) = (read("cm", 2).expect("known"), read("cubic cm", 1).expect("known"));
        assert!(cm2.ratio(&cm3).is_none());
        let m2 = read("square meters", 1).expect("known");
        assert_eq!(m2.ratio(&cm2), Some(BigRational::from_integer(10_000.into())));
        assert!(read("bananas", 1).is_none());
    }
}
