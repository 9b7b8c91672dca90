//! Small words that change what a text claims about a value, separated by bars. English first; then the languages in
//! which models announce answers.

/// Whether `word` is in a list of this file.
pub(crate) fn has(list: &'static str, word: &str) -> bool {
    each(list).any(|w| w == word)
}

/// The words of a list.
pub(crate) fn each(list: &'static str) -> impl Iterator<Item = &'static str> {
    list.split('|')
}

pub(crate) const NEGATIONS: &str =
    "not|never|cannot|neither|nor|isnt|except|unlike|не|nicht|kein|keine|pas|non|não|nao";
pub(crate) const NEGATIONS_CJK: &str = "不是|不等于|并非|不为|不會是";
/// Words between a negation or bound and its value.
pub(crate) const FILLERS: &str =
    "be|been|equal|equals|to|exactly|the|number|value|simply|just|really|es|é|è|el|la|any|actually";
pub(crate) const BOUNDS: &str =
    "exceeds|exceed|exceeding|between|mindestens|höchstens|zwischen|entre|между|tra";
/// Bounds after an announcement, and elsewhere places: "over 5 days".
pub(crate) const PLACES: &str = "over|under|above|below|within|outside|after|before|per|every|each";
/// Words that "up to" belongs to without being a bound: "add up to 8".
pub(crate) const SUMS: &str = "sum|sums|add|adds|adding|added|come|comes";
pub(crate) const BOUNDS_CJK: &str = "至少|至多|不超过|大于|小于|介于";
pub(crate) const BOUND_PAIRS: &str = "at least|at most|more than|less than|greater than|fewer than|larger than|smaller than|\
    bigger than|higher than|lower than|than or|up to|no more|mehr als|weniger als|al menos|más de|\
    menos de|au moins|au plus|plus de|не менее|не более";
pub(crate) const OR: &str = "or|oder|ou|o|u|или|либо|lub|veya|eller|또는|または|hoặc";
pub(crate) const OR_CJK: &str = "或者|或是|或|还是|または";
pub(crate) const HEDGES: &str = "maybe|perhaps|possibly|alternatively|could|might|even|else|also|probably|either|potentially|\
    otherwise|vielleicht|quizás|peut|может";
/// Words before a value that is rounded.
pub(crate) const ROUNDED: &str = "about|approximately|roughly|around|approx|circa|nearly|almost";
pub(crate) const OPEN_ENDED: &str = "more|less|fewer|greater|higher|lower|larger|smaller|bigger|above|below|over|under|so|mehr|\
    weniger|más|menos|plus|moins|более|менее";
/// Words that, with a number after them, make it part of a calculation or range.
pub(crate) const BINARY: &str =
    "to|through|until|times|plus|minus|over|divided|multiplied|out|in|of|bis|hasta|до|mod|modulo";
/// Words that change a number by themselves.
pub(crate) const UNARY: &str = "squared|cubed|factorial|halves|thirds|quarters|fourths|fifths|sixths|sevenths|eighths|ninths|\
    tenths|hundredths|dozen|root|choose";
pub(crate) const PARTS: &str = "half|third|quarter|fourth|fifth|eighth";
/// Words by which a text takes back what it has just given.
pub(crate) const RETRACTIONS: &str = "no|nope|nah|not|wrong|wait|correction|correcting|corrected|correct|actually|sorry|oops|whoops|\
    mistake|mistaken|mistakenly|error|instead|rather|meant|mean|scratch|slip|hold|hmm|hm|checking|\
    recheck|rechecking|check|redo|redoing|reconsider|reconsidering|but|however|revised|revise|\
    revising|fix|fixing|incorrect|incorrectly|oh|strike|ignore|typo|recalculate|recalculating|\
    should|apologies|erratum|нет|nein|falsch|неверно|pardon";

pub(crate) const UNITS_OF_TEN: [(&str, u32); 12] = [
    ("hundred", 2),
    ("thousand", 3),
    ("million", 6),
    ("millions", 6),
    ("billion", 9),
    ("trillion", 12),
    ("millones", 6),
    ("millionen", 6),
    ("миллионов", 6),
    ("тысяч", 3),
    ("万", 4),
    ("亿", 8),
];
