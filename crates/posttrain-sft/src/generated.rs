//! Conversations whose template marks the generated text with `{% generation %}`: what is marked is trained, as
//! with `assistant_only_loss` of TRL.

use std::ops::Range;

use model_qwen::Rendered;
use posttrain::chat::Conversation;

use crate::{Encoder, Error, Example, Turns};

impl Encoder {
    /// All marked text as one example; one example for each of `answers` where the template rewrites earlier
    /// messages, or the last of them alone.
    pub(crate) fn marked_chat(
        &self,
        id: String,
        chat: &Conversation,
        answers: &[usize],
        turns: Turns,
    ) -> Result<Vec<Example>, Error> {
        let template = self.template()?;
        let ends = answers.iter().map(|&at| chat.render_with_spans(template, at + 1));
        let ends = ends.collect::<Result<Vec<_>, _>>()?;
        for (&at, end) in answers.iter().zip(&ends) {
            chat.check_reasoning(at..at + 1, &end.text)?;
        }
        let Some(whole) = ends.last() else { return Ok(Vec::new()) };
        if turns == Turns::Last {
            return Ok(vec![self.last_marked(id, chat, answers[answers.len() - 1], whole)?]);
        }
        if ends.windows(2).all(|pair| extends(&pair[1], &pair[0])) {
            return Ok(vec![self.spans(id, whole, 0)?]);
        }
        let one = |(n, (&at, end)): (usize, (&usize, &Rendered))| {
            self.last_marked(format!("{id}#{}", n + 1), chat, at, end)
        };
        answers.iter().zip(&ends).enumerate().map(one).collect()
    }

    /// What is marked of message `at`, the last of `whole`.
    fn last_marked(
        &self,
        id: String,
        chat: &Conversation,
        at: usize,
        whole: &Rendered,
    ) -> Result<Example, Error> {
        let before = chat.render_with_spans(self.template()?, at)?.text;
        if !whole.text.starts_with(&before) {
            return Err(Error::input(format!(
                "messages[{at}]: the chat template rewrites the messages before it, so that its marked text is \
                 not known"
            )));
        }
        self.spans(id, whole, before.len())
    }

    /// The text as one example; tokens that overlap a marked span after byte `from` are trained.
    fn spans(&self, id: String, rendered: &Rendered, from: usize) -> Result<Example, Error> {
        let (ids, offsets) = self.tokenizer()?.encode_with_offsets(&rendered.text)?;
        let marked = |token: &Range<usize>, span: &Range<usize>| {
            token.start < span.end && token.end > span.start.max(from)
        };
        let trained = offsets.iter().map(|token| rendered.generated.iter().any(|span| marked(token, span)));
        let trained = trained.collect();
        Ok(Example::masked(id, ids, trained))
    }
}

/// Whether a rendered conversation begins with an earlier one, spans included.
fn extends(later: &Rendered, earlier: &Rendered) -> bool {
    later.text.starts_with(&earlier.text) && later.generated.starts_with(&earlier.generated)
}
