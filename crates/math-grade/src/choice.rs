//! Answers to multiple-choice questions: the letter alone, or the letter with the option's text on either side.

use super::vocabulary::each;

/// Letters that options have.
const LETTERS: std::ops::RangeInclusive<char> = 'A'..='J';
const FONTS: &str = "\\textbf{|\\text{|\\mathrm{|\\mathbf{|\\textrm{|\\textit{|\\textsf{|\\mbox{|\\bold{";
const BLANKS: &str = "\\qquad|\\quad|\\ |\\,|\\;|\\:|~| ";

/// A single capital letter: `C`, `(C)`, `\text{C}`, `\textbf{(C)}`.
pub(crate) fn letter(text: &str) -> Option<char> {
    let mut text = text.trim();
    for font in each(FONTS) {
        text = text.strip_prefix(font).unwrap_or(text);
    }
    let text = text.trim_matches(['{', '}', '(', ')', ' ', '.', '*']);
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) if c.is_ascii_uppercase() => Some(c),
        _ => None,
    }
}

/// `\textbf{(B)}\ 14`, `(B) 14`, `B) 14`, `\text{B. Paris}`, `14 \text{ (B)}`: the letter and the option's text.
pub(crate) fn split(text: &str) -> Option<(char, String)> {
    let text = text.trim();
    leading(text).or_else(|| trailing(text)).filter(|(_, rest)| !rest.is_empty() && letter(rest).is_none())
}

fn leading(text: &str) -> Option<(char, String)> {
    let font = each(FONTS).find(|f| text.starts_with(*f));
    let inner = font.map_or(text, |f| &text[f.len()..]).trim_start();
    let bracket = inner.strip_prefix('(');
    let mut inner = bracket.unwrap_or(inner);
    // (\text{B})
    let mut open = font.is_some();
    if let Some(f) = each(FONTS).find(|f| !open && bracket.is_some() && inner.starts_with(*f)) {
        inner = &inner[f.len()..];
        let close = inner.get(1..)?.strip_prefix('}')?;
        let c = inner.chars().next().filter(|c| LETTERS.contains(c))?;
        return Some((c, trim_blanks(close.strip_prefix(')')?).to_string()));
    }
    let c = inner.chars().next().filter(|c| LETTERS.contains(c))?;
    let after = &inner[1..];
    let (mut rest, spaced) = match after.chars().next()? {
        ')' => (&after[1..], bracket.is_some() && !open),
        '}' if open && bracket.is_none() => {
            open = false;
            (after[1..].strip_prefix(['.', ':', ')'])?, true)
        }
        '.' | ':' if bracket.is_none() => (&after[1..], true),
        _ => return None,
    };
    if open && rest.trim_start().starts_with('}') {
        (rest, open) = (&rest.trim_start()[1..], false);
    } else if spaced && !each(BLANKS).any(|b| rest.starts_with(b)) && !rest.starts_with(['$', '\\', '}']) {
        return None;
    }
    let rest = trim_blanks(rest.trim_start_matches([':', '.']));
    Some((c, if open { format!("\\text{{{rest}") } else { rest.to_string() }))
}

fn trailing(text: &str) -> Option<(char, String)> {
    let inner = text.trim_end_matches(['}', ' ']).strip_suffix(')')?;
    let c = inner.chars().next_back().filter(|c| LETTERS.contains(c))?;
    let mut front = inner[..inner.len() - 1].strip_suffix('(')?;
    let spaced = front.ends_with([' ', '~', '{']) || front.ends_with("\\,") || front.ends_with("quad");
    for font in each(FONTS) {
        front = front.trim_end().strip_suffix(font).unwrap_or(front);
    }
    let balanced = front.matches('{').count() == front.matches('}').count();
    (spaced && balanced)
        .then(|| (c, front.trim_end_matches([' ', '\\', '~']).trim_end_matches("\\quad").to_string()))
}

/// The words of a text answer without fonts and blanks, in lower case: the same for `\text{May 7}` and `\text{May}\ 7`.
/// `None` where there is anything else than words and digits, or no word of three letters.
pub(crate) fn unmarked(text: &str) -> Option<String> {
    let mut plain = text.to_string();
    for markup in each(FONTS).chain(each(BLANKS)) {
        plain = plain.replace(markup, "");
    }
    plain.retain(|c| !"{}.,'’".contains(c) && !c.is_whitespace());
    let letters = plain.chars().filter(|c| c.is_alphabetic()).count();
    (letters > 2 && plain.chars().all(char::is_alphanumeric)).then(|| plain.to_lowercase())
}

fn trim_blanks(mut text: &str) -> &str {
    while let Some(rest) = each(BLANKS).find_map(|b| text.strip_prefix(b)) {
        text = rest;
    }
    text.trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_option_texts() {
        for (text, expected) in [
            (r"\textbf{(B)}\ 14", Some(('B', "14"))),
            (r"\text{(B) }14", Some(('B', "14"))),
            ("B) 14", Some(('B', "14"))),
            ("B. 14", Some(('B', "14"))),
            ("(B) 14", Some(('B', "14"))),
            (r"(\text{B})\ 14", Some(('B', "14"))),
            (r"\text{B) Paris}", Some(('B', r"\text{Paris}"))),
            (r"27\ (D)", Some(('D', "27"))),
            (r"27\ \text{(D)}", Some(('D', "27"))),
            ("(B)", None),
            ("B+1", None),
            ("(A, B)", None),
            ("(B)(C)", None),
        ] {
            assert_eq!(split(text), expected.map(|(c, t): (char, &str)| (c, t.to_string())), "{text}");
        }
        assert!(letter(r"\textbf{(C)}") == Some('C') && letter("AB").is_none() && letter("c").is_none());
    }
}
