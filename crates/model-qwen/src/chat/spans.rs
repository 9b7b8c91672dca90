//! Where in a rendered conversation the text is that the model generates, by the template's `{% generation %}`
//! blocks: what assistant-only losses train on.

use std::hash::{BuildHasher as _, RandomState};
use std::ops::Range;

use minijinja::value::Kwargs;
use minijinja::{State, Value};

use crate::Error;

/// A rendered conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// The whole text.
    pub text: String,
    /// Byte ranges of `text` within `{% generation %}` blocks, in order; none where the template has no such block.
    pub generated: Vec<Range<usize>>,
}

/// Texts around generated spans that no input has: they hold a random number.
#[derive(Debug)]
pub(super) struct Marks {
    begin: String,
    end: String,
}

impl Marks {
    pub(super) fn new() -> Self {
        let random = RandomState::new().hash_one("mark");
        Self { begin: format!("\u{f8ff}{random:016x}<"), end: format!("\u{f8ff}{random:016x}>") }
    }

    /// The function that writes a block between marks.
    pub(super) fn function(
        &self,
    ) -> impl Fn(&State<'_, '_>, Kwargs) -> Result<String, minijinja::Error> + Send + Sync + 'static {
        let (begin, end) = (self.begin.clone(), self.end.clone());
        move |state: &State<'_, '_>, named: Kwargs| {
            let body: Value = named.get::<Value>("caller")?.call(state, &[])?;
            Ok(format!("{begin}{body}{end}"))
        }
    }

    /// The text without marks, and the ranges that were between them.
    pub(super) fn strip(&self, marked: &str) -> Result<Rendered, Error> {
        let (mut text, mut generated, mut rest) = (String::new(), Vec::new(), marked);
        while let Some((before, after)) = rest.split_once(&self.begin) {
            let (inside, after) = after.split_once(&self.end).ok_or_else(uneven)?;
            text.push_str(before);
            let start = text.len();
            text.push_str(inside);
            generated.push(start..text.len());
            rest = after;
        }
        text.push_str(rest);
        if text.contains(&self.begin) || text.contains(&self.end) {
            return Err(uneven());
        }
        Ok(Rendered { text, generated })
    }
}

pub(super) fn uneven() -> Error {
    Error::input(
        "chat template: it changes the text of a generation block after the block, so spans are not known",
    )
}
