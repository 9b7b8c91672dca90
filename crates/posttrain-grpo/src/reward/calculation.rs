//! Answers that are calculations: unevaluated, or repeated from the prompt.

use math_grade::{grade, plain_value};

use super::spelling::{compact, spelled};

/// Whether the answer `found` to a question whose reference is a plain number gains nothing: a sum or a product; an
/// expression of the prompt that is neither a number in digits nor written as the reference is; a false equation
/// between numbers.
pub(super) fn gains_nothing(reference: &str, prompt: &str, found: &str) -> bool {
    let (reference, whole) = (compact(reference), compact(found));
    let Some(wanted) = sides(&reference).last().copied().filter(|side| is_number(side)) else { return false };
    let all = sides(&whole);
    let Some(&side) = all.last() else { return false };
    let prompt = spelled(prompt);
    is_sum_or_product(side)
        || !is_digits(side) && side != wanted && stands_in(side, &prompt)
        || all.len() > 1 && is_relation(all[0]) && stands_in(&whole, &prompt)
        || is_false(found)
}

/// The sides of an equation or approximation that are not empty, without the marks that end a sentence.
fn sides(text: &str) -> Vec<&str> {
    let sides = text.split(['=', '≈']).map(|side| side.trim_end_matches(['.', '?', ',', ':', ';']));
    sides.filter(|side| !side.is_empty()).collect()
}

/// An integer or a decimal: with sign, separators, percent or unit.
fn is_digits(side: &str) -> bool {
    let side = side.strip_prefix('(').and_then(|side| side.strip_suffix(')')).unwrap_or(side);
    let side = side.trim_start_matches(['+', '-', '±']);
    let unit = side.trim_start_matches(|c: char| c.is_ascii_digit() || c == ',' || c == '.');
    let mut before = None;
    side[..side.len() - unit.len()].contains(|c: char| c.is_ascii_digit())
        && unit.chars().all(|c| {
            let power = before == Some('^') && c.is_ascii_digit();
            let joint = before.is_some_and(char::is_alphabetic) && "^/-.()".contains(c);
            before = Some(c);
            c.is_alphabetic() && c != 'π' || "%°¢.'()".contains(c) || joint || power
        })
}

/// A number in digits, a fraction, a mixed number, a number with a power of ten.
fn is_number(side: &str) -> bool {
    let scientific = side.split_once("*10^").is_some_and(|(a, b)| is_digits(a) && is_digits(b));
    scientific || is_digits(side) || side.split(['/', '&']).all(is_digits) && side.matches('/').count() == 1
}

/// Whether a sum or a product is left to be done. A product with a power of ten is how a number is written.
fn is_sum_or_product(side: &str) -> bool {
    let side = side.replace("*10^", "e");
    side.char_indices().any(|(at, c)| {
        let before = &side[..at];
        let digits = before.trim_end_matches(|c: char| c.is_ascii_digit());
        match c {
            '+' | '-' | '*' => before.ends_with(|b: char| b.is_ascii_digit() || ")]!%|⌋⌉π°".contains(b)),
            // Not log_2(8).
            '(' => {
                before.ends_with([')', '!']) && side[at + 1..].starts_with(is_operand)
                    || digits.len() < at && !digits.ends_with('_') && side[at + 1..].starts_with(is_operand)
            }
            _ => false,
        }
    })
}

fn is_operand(c: char) -> bool {
    c.is_ascii_digit() || "+-√(".contains(c)
}

/// Whether the left side of an equation is more than a name.
fn is_relation(left: &str) -> bool {
    left.contains(char::is_alphabetic) && !left.chars().all(char::is_alphabetic)
}

/// Whether an expression stands in a prompt, brackets and signs of products aside; numbers and words are whole.
fn stands_in(side: &str, prompt: &str) -> bool {
    let is_gap = |c: &char| " ()[]*&".contains(*c);
    let wanted: Vec<char> = side.chars().filter(|c| !is_gap(c)).collect();
    // Characters, and whether something was left out before them.
    let mut given: Vec<(char, bool)> = Vec::new();
    let mut gap = true;
    for c in prompt.chars() {
        if !is_gap(&c) {
            given.push((c, gap));
        }
        gap = is_gap(&c);
    }
    let (Some(&first), Some(&last)) = (wanted.first(), wanted.last()) else { return false };
    let one =
        |a: char, b: char| a.is_ascii_digit() && b.is_ascii_digit() || a.is_alphabetic() && b.is_alphabetic();
    given.windows(wanted.len()).enumerate().any(|(at, window)| {
        let end = at + wanted.len();
        let begins = window[0].1 || !one(given[at.max(1) - 1].0, first);
        let ends = given.get(end).is_none_or(|&(next, gap)| {
            let decimal = next == '.' && given.get(end + 1).is_some_and(|d| d.0.is_ascii_digit() && !d.1);
            gap || !(one(last, next) || decimal && last.is_ascii_digit())
        });
        begins && ends && window.iter().zip(&wanted).all(|((a, _), b)| a == b)
    })
}

/// Whether two sides of an equation are numbers and not the same one.
fn is_false(found: &str) -> bool {
    let sides: Vec<&str> = found.split('=').map(|side| side.trim_matches([' ', '$'])).collect();
    let same = |a: &str, b: &str| grade(a, &format!("\\boxed{{{b}}}")).correct;
    // The grader drops the sign of degrees.
    let is_value = |a: &str| !a.contains(['°', '%']) && !a.contains("\\circ") && plain_value(a).is_some();
    let numbers = |a: &str, b: &str| is_value(a) && is_value(b);
    sides.windows(2).any(|two| numbers(two[0], two[1]) && !same(two[0], two[1]) && !same(two[1], two[0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The question, its reference, and an answer in the question's own words.
    const REPEATED: &[(&str, &str, &str)] = &[
        ("What is 12 x 6?", "72", "12 x 6"),
        ("What is 12 × 6?", "72", "12 \\times 6"),
        ("What is 144 ÷ 2?", "72", "144 ÷ 2"),
        ("Compute 144 \\div 2.", "72", "\\frac{144}{2}"),
        ("Compute $\\dbinom{8}{4}$.", "70", "\\binom{8}{4}"),
        ("Compute $\\binom84$.", "70", "{8 \\choose 4}"),
        ("What is 8 choose 4?", "70", "\\binom{8}{4}"),
        ("Compute $\\sqrt{144}$.", "12", "\\sqrt{144}"),
        ("Compute $\\sqrt{144}$.", "12", "√144"),
        ("Compute $\\sqrt[3]{27}$.", "3", "\\sqrt[3]{27}"),
        ("Evaluate $\\log_2 64$.", "6", "\\log_2 64"),
        ("Evaluate $\\log_{2}(64)$.", "6", "\\log_2 64"),
        ("Evaluate $|-7|$.", "7", "\\left|-7\\right|"),
        ("What is $5!$?", "120", "5!"),
        ("Evaluate $\\left\\lfloor 3.7 \\right\\rfloor$.", "3", "\\lfloor 3.7\\rfloor"),
        ("Compute $\\gcd(12,18)$.", "6", "\\gcd(12, 18)"),
        ("Compute $\\sin 90^\\circ$.", "1", "\\sin 90°"),
        ("Compute 8(9).", "72", "8(9)"),
        ("Compute 8⋅9.", "72", "8⋅9"),
        ("Compute 8∙9.", "72", "8∙9"),
        ("Compute $8 \\ast 9$.", "72", "8 \\ast 9"),
        ("Compute $4! \\cdot 3$.", "72", "4!\\cdot 3"),
        ("Given that $8!=40320$, what is $8!\\div3!$?", "6720", "8!\\div3!"),
        ("Compute $2^{10}$.", "1024", "2^{10}"),
        ("Compute $10^{2}$.", "100", "10^2"),
        ("Compute $17 \\bmod 5$.", "2", "17 \\bmod 5"),
        ("Compute $\\frac{144}{2}$.", "72", "\\dfrac{144}{2}"),
        ("Simplify $\\frac{6}{8}$.", "\\frac{3}{4}", "6/8"),
        ("Write $3.4 \\times 10^3$ as an integer.", "3400", "3.4 \\cdot 10^{3}"),
        ("Compute $-(-5)$.", "5", "-(-5)"),
        ("What is $3²$?", "9", "3^2"),
        ("Write $0.\\overline{9}$ as integer.", "1", "0.\\overline{9}"),
        ("Let $g(f(4)) = 9$. What is $g(f(-4))$?", "9", "g(f(4)) = 9"),
        ("12+34=", "46", "12+34="),
        ("What is it?", "46", "34+12"),
        ("What is it?", "72", "8(9)"),
        ("What is it?", "72", "8⋅9"),
        ("What is it?", "72", "71=72"),
        ("What is it?", "72", "(8)(9)"),
        ("What is it?", "72", "4! \\cdot 3"),
    ];

    #[test]
    fn calculations_of_the_prompt_gain_nothing() {
        for (question, reference, answer) in REPEATED {
            assert!(gains_nothing(reference, question, answer), "{question} {answer}");
        }
    }

    #[test]
    fn answers_are_paid() {
        let paid = [
            ("What is $\\frac{6}{8}$ in lowest terms?", "\\frac{3}{4}", "\\frac{3}{4}"),
            ("Which is larger, 3/4 or 2/3?", "\\frac{3}{4}", "\\frac34"),
            ("Which is larger, 3/4 or 2/3?", "3/4", "\\dfrac{3}{4}"),
            ("Is it $2\\frac{1}{2}$ or 3?", "2\\frac{1}{2}", "2\\frac12"),
            ("Simplify $\\sqrt{12}$.", "2\\sqrt{3}", "2\\sqrt{3}"),
            ("Which is it, $2\\sqrt{3}$ or 4?", "2\\sqrt{3}", "2\\sqrt{3}"),
            ("Solve $2x=10$.", "5", "x=5"),
            ("Is $x=5$ or $x=6$?", "x=5", "x=5"),
            ("Is $x=5$ or $x=6$?", "5", "x = 5"),
            ("A rod of 5 cm. How long is it?", "5", "5\\text{ cm}"),
            ("A rod of 5 cm. How long is it?", "5\\text{ cm}", "5 cm"),
            ("What is the area?", "5", "5\\text{ cm}^2"),
            ("How fast?", "60", "60 \\text{ km/h}"),
            ("Of 1,000 people?", "1000", "1{,}000"),
            ("Of 1,000 people?", "1{,}000", "1,000"),
            ("Half, or 50%?", "50", "50\\%"),
            ("Half, or 50%?", "50\\%", "50\\%"),
            ("What costs $5?", "5", "\\$5"),
            ("12+34=", "46", "12+34=46"),
            ("12+34=", "46", "-46"),
            ("12+34=", "46", "4.6 \\times 10^1"),
            ("12+34=", "1024", "2^{10}"),
            ("What is 5/12?", "0.42", "\\frac{5}{12} \\approx 0.42"),
            ("What is $\\sin 30^\\circ$?", "\\frac{1}{2}", "\\sin 30^\\circ = \\frac{1}{2}"),
            ("What angle?", "30", "30^\\circ"),
            ("Is 15/2 or 5/2?", "2.5", "x = 2.5"),
            ("Give $\\log_2 640$.", "6", "\\log_2 64"),
            ("How far?", "-3", "-3"),
            ("A total?", "46", "\\text{total cost} = 46 \\text{ dollars}"),
        ];
        for (question, reference, answer) in paid {
            assert!(!gains_nothing(reference, question, answer), "{question} {answer}");
        }
    }
}
