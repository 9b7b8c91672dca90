//! Words that announce an answer, in the languages that models answer in.

use super::environment::next_boundary;
use super::vocabulary::{each, has};
use super::words::cjk;

/// "Answer" in other languages than English; both letter cases where the script has them.
const ANSWERS: &str = "答案选|故选|答案|答え|解答|答：|答:|정답|답은|답:|Ответ|ответ|Відповідь|Respuesta|respuesta|RESPUESTA|Réponse|réponse|\
    Reponse|reponse|Antwort|antwort|Lösung|Risposta|risposta|Resposta|resposta|Antwoord|antwoord|\
    Odpowiedź|odpowiedź|Odpověď|odpověď|Svar|svar|Vastaus|Cevap|cevap|Đáp án|đáp án|Đáp số|Jawaban|\
    jawaban|उत्तर|الإجابة|الجواب|Απάντηση|Răspuns|תשובה";
/// Words that may stand between an announcement and its value.
const COPULAS: &str = "is|are|was|be|will|would|should|must|equals|equal|to|exactly|simply|just|thus|therefore|so|then|\
    given|approximately|about|found|option|choice|indeed|es|son|est|sont|ist|lautet|sind|é|è|\
    sono|final|finale|correcta|correcte|correct|равен|равна|равно|это|будет|jest|to|är|er|on|là|\
    adalah|है|هي|هو|esta|este|either";
const COPULAS_CJK: &str = "应该是|就是|等于|是|为|為|は|은|는";

/// Byte ranges of `needle` (lower-case ASCII) in `text`, letter case ignored, without overlap, the last 64 of them.
pub(crate) fn positions(text: &str, needle: &str) -> Vec<(usize, usize)> {
    let (bytes, needle) = (text.as_bytes(), needle.as_bytes());
    let mut out = std::collections::VecDeque::new();
    let mut i = 0;
    while i + needle.len() <= bytes.len() {
        if bytes[i] | 0x20 == needle[0] && bytes[i..i + needle.len()].eq_ignore_ascii_case(needle) {
            out.push_back((i, i + needle.len()));
            if out.len() > 64 {
                out.pop_front();
            }
            i += needle.len();
        } else {
            i += 1;
        }
    }
    out.into()
}

/// The announcements in a text, the last 64 in order: where each starts, where what it announces may begin, and whether
/// a colon follows it.
pub(crate) fn announcements(text: &str) -> Vec<(usize, usize, bool)> {
    let mut out: Vec<(usize, usize, bool)> = positions(text, "answer")
        .into_iter()
        .map(|(start, end)| {
            let plural =
                text[end..].strip_prefix(['s', 'S']).is_some_and(|r| !r.starts_with(char::is_alphanumeric));
            let end = end + usize::from(plural);
            match text[end..].starts_with(':') {
                true => (start, end + 1, true),
                false => (start, end, false),
            }
        })
        .collect();
    // Other languages only near the end: the list is long.
    let far = next_boundary(text, text.len().saturating_sub(1 << 15));
    let ascii = text[far..].is_ascii();
    for word in each(ANSWERS).filter(|w| w.is_ascii() || !ascii) {
        for (start, _) in text[far..].match_indices(word).take(64) {
            let start = far + start;
            let end = start + word.len();
            let before = text[..start].chars().next_back();
            if !cjk(word.chars().next().unwrap_or(' ')) && before.is_some_and(char::is_alphabetic) {
                continue;
            }
            let rest = text[end..].trim_start_matches([' ', '\u{a0}', '\u{202f}']);
            out.push(match rest.strip_prefix([':', '：']) {
                Some(after) => (start, text.len() - after.len(), true),
                None => (start, end, word.ends_with([':', '：'])),
            });
        }
    }
    out.sort_unstable();
    out.drain(..out.len().saturating_sub(64));
    out
}

/// Whether a text announces an answer, in any language.
pub(crate) fn announces(text: &str) -> bool {
    text.contains("answer") || text.contains("Answer") || each(ANSWERS).any(|w| text.contains(w))
}

/// Where the value after an announcement begins: past blanks, emphasis, a colon and up to four words like "is".
pub(crate) fn skip_copula(text: &str, start: usize) -> usize {
    let blanks = |rest: &str| {
        let trimmed = rest.trim_start_matches(|c: char| c.is_whitespace() || "*_:：`\"“".contains(c));
        text.len() - trimmed.len()
    };
    let mut at = blanks(&text[start..]);
    for _ in 0..4 {
        let rest = &text[at..];
        if let Some(word) = each(COPULAS_CJK).find(|w| rest.starts_with(*w)) {
            at = blanks(&rest[word.len()..]);
            continue;
        }
        let n = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
        if n == 0 || !has(COPULAS, &rest[..n].to_lowercase()) || !rest[n..].starts_with([' ', '\n', ':', '='])
        {
            break;
        }
        at = blanks(rest[n..].trim_start().trim_start_matches('='));
    }
    at
}
