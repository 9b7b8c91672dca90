//! `\boxed{…}` and `\fbox{…}`: the last one, with those just before it that belong to the same answer.

use super::words;

/// The content of the last box or boxes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Boxed {
    /// Contents in order, joined by commas.
    pub(crate) content: String,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Most boxes that are looked at, from the end.
const MAX_BOXES: usize = 64;

/// The last complete box, joined with earlier ones as long as the text between only separates them
/// ([`words::separates`]). Equal neighbours count once; empty boxes and those that the text takes back ("not
/// \boxed{8}") do not count. Boxes inside boxes are part of the outer one.
pub(crate) fn last(text: &str) -> Option<Boxed> {
    let mut boxes = complete(text);
    boxes.retain(|b| !text[b.1..b.2].trim().is_empty());
    while boxes.last().is_some_and(|b| words::disowned(text, b.0, b.2 + 1)) {
        boxes.pop();
    }
    let (start, open, end) = boxes.pop()?;
    let mut contents = vec![text[open..end].trim()];
    let mut first = start;
    while let Some((start, open, end)) = boxes.pop() {
        let content = text[open..end].trim();
        let between = &text[(end + 1).min(first)..first];
        if !words::separates(between) {
            break;
        }
        if contents.last() != Some(&content) {
            contents.push(content);
        }
        first = start;
    }
    contents.reverse();
    Some(Boxed { content: contents.join(","), start: first, end: end + 1 })
}

/// Where the boxes of a text stand.
pub(crate) fn spans(text: &str) -> Vec<(usize, usize)> {
    complete(text).into_iter().map(|(start, _, end)| (start, end + 1)).collect()
}

/// Whether a box is opened after the last complete one and never closed.
pub(crate) fn unclosed(text: &str) -> bool {
    let after = complete(text).last().map_or(0, |b| b.2);
    openings(&text[after..]).next().is_some()
}

/// Outermost complete boxes, the last [`MAX_BOXES`]: where the command starts, where its content starts and ends.
fn complete(text: &str) -> Vec<(usize, usize, usize)> {
    let starts: Vec<(usize, usize)> = openings(text).collect();
    let mut out: Vec<(usize, usize, usize)> = Vec::new();
    // One pass over the braces serves all boxes: a stack of opening braces, some of them boxes'.
    let mut stack: Vec<Option<usize>> = Vec::new();
    let mut next = starts.partition_point(|_| false);
    let begin = starts.first().map_or(text.len(), |s| s.1 - 1);
    let mut escaped = false;
    for (i, b) in text.bytes().enumerate().skip(begin) {
        // `\{` and `\}` are signs, not groups.
        let sign = escaped;
        escaped = b == b'\\' && !sign;
        match b {
            b'{' | b'}' if sign => {}
            b'{' => {
                while starts.get(next).is_some_and(|s| s.1 <= i) {
                    next += 1;
                }
                let command = starts.get(next).filter(|s| s.1 == i + 1).map(|s| s.0);
                stack.push(command);
            }
            b'}' => {
                if let Some(Some(start)) = stack.pop() {
                    let open = starts.iter().rev().find(|s| s.0 == start).map_or(i, |s| s.1);
                    // An outer box swallows the ones inside it.
                    while out.last().is_some_and(|last| last.0 > start) {
                        out.pop();
                    }
                    out.push((start, open, i));
                }
            }
            _ => {}
        }
    }
    out
}

/// Where box commands start, and where their content starts; the last [`MAX_BOXES`].
fn openings(text: &str) -> impl Iterator<Item = (usize, usize)> {
    let mut found = std::collections::VecDeque::new();
    for command in ["\\boxed", "\\fbox"] {
        for (i, _) in text.match_indices(command) {
            let rest = &text[i + command.len()..];
            let inner = rest.trim_start();
            if inner.starts_with('{') {
                found.push_back((i, text.len() - inner.len() + 1));
                if found.len() > 2 * MAX_BOXES {
                    found.pop_front();
                }
            }
        }
    }
    let mut found: Vec<(usize, usize)> = found.into();
    found.sort_unstable();
    found.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_box_with_its_companions() {
        for (text, expected) in [
            (r"\boxed{1} no \boxed{\frac{1}{2}}", r"\frac{1}{2}"),
            (r"\boxed{1}, \boxed{\frac{1}{2}}", r"1,\frac{1}{2}"),
            (r"\boxed{3}, not \boxed{4}", "3"),
            (
                r"\boxed{1} and then a long discussion of all the many things that in the end lead to \boxed{2}",
                r"2",
            ),
            (r"\boxed{1} and, as we have seen before, \boxed{2}", r"1,2"),
            (r"\boxed{\boxed{3}}", r"\boxed{3}"),
            (r"\boxed {7}", "7"),
            (r"\fbox{8} then \boxed{9", "8"),
        ] {
            assert_eq!(last(text).expect("a box").content, expected, "{text}");
        }
        assert!(last(r"\boxed{1").is_none() && unclosed(r"\boxed{1") && !unclosed(r"\boxed{1}"));
    }
}
