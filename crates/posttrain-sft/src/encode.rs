//! From a row to examples.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use model_qwen::{ChatTemplate, Checkpoint, Text};
use posttrain::chat::{Conversation, Seen};
use posttrain::rows::DataRow;
use serde_json::Value;

use crate::columns::{Columns, Form, left};
use crate::{Error, Example, Turns, tokens};

/// Turns rows into tokens, on several threads where asked to; needs no tokenizer where data is tokenised already.
#[derive(Debug, Default)]
pub struct Encoder {
    text: Option<Text>,
    template: Option<ChatTemplate>,
    /// The token put after a completion or a text.
    end: Option<u32>,
    /// Ids from here on have no embedding.
    vocab: Option<usize>,
    seen: Mutex<Seen>,
}

impl Encoder {
    /// The encoder of a checkpoint: its tokenizer and chat template, where it has them, and its
    /// [end](Checkpoint::end_id).
    ///
    /// # Errors
    /// A tokenizer that is there but cannot be read, or without the token that ends a text.
    pub fn of(checkpoint: &Checkpoint) -> Result<Self, Error> {
        let has_text = checkpoint.dir().join("tokenizer.json").exists();
        let text = if has_text { Some(checkpoint.text()?) } else { None };
        let end = text.as_ref().map_or(Ok(None), |text| checkpoint.end_id(text))?;
        let template = checkpoint.chat_template().ok();
        Ok(Self { text, template, end, vocab: Some(checkpoint.config.vocab), seen: Mutex::default() })
    }

    /// An encoder of texts that end with `end`.
    pub fn new(text: Text, end: Option<u32>) -> Self {
        Self { text: Some(text), end, ..Self::default() }
    }

    /// The same with a chat template.
    #[must_use]
    pub fn with_template(self, template: ChatTemplate) -> Self {
        Self { template: Some(template), ..self }
    }

    /// The examples of a row: one, or one for each assistant message of a conversation whose template rewrites
    /// earlier messages. The names of columns that nothing reads are added to `unused`.
    ///
    /// # Errors
    /// A row of none of the forms, a column that would change the loss and is not read, no tokenizer for a text, a token
    /// that the model has no embedding for.
    pub fn row(
        &self,
        row: DataRow,
        columns: &Columns,
        turns: Turns,
        unused: &mut BTreeSet<String>,
    ) -> Result<Vec<Example>, Error> {
        let mut fields = row.fields;
        let id = match fields.remove("id") {
            None | Some(Value::Null) => row.number.to_string(),
            Some(Value::String(id)) => id,
            Some(other) => other.to_string(),
        };
        let weight = columns.weight(&mut fields)?;
        let examples = match columns.form(&mut fields)? {
            Form::Tokens(ids) => vec![tokens::example(id, &ids, &mut fields)?],
            Form::Text(text) => vec![self.whole(id, string("text", &text)?)?],
            Form::Completion(Value::String(prompt), Value::String(completion)) => {
                vec![self.completion(id, &prompt, &completion)?]
            }
            Form::Completion(prompt, completion) => {
                for (name, value) in [("prompt", &prompt), ("completion", &completion)] {
                    if !value.is_array() && !value.is_string() {
                        let expected = "a text, a whole number or a list of messages";
                        return Err(Error::input(format!("`{name}` is {value}, expected {expected}")));
                    }
                }
                let bad = |what: &'static str| move |e: Error| e.within(what);
                let mut chat = Conversation::new(&prompt).map_err(bad("prompt"))?;
                let start = chat.messages.len();
                chat.messages.extend(Conversation::new(&completion).map_err(bad("completion"))?.messages);
                let chat = chat.with_fields(&mut fields)?;
                vec![self.turn(id, &self.checked(chat)?, start..)?]
            }
            Form::Chat(messages) => {
                let mut chat = Conversation::new(&messages).map_err(|e| e.within("messages"))?;
                if let Some(Value::String(system)) = fields.get("system") {
                    if !system.is_empty() {
                        let first = serde_json::json!({ "role": "system", "content": system });
                        chat.messages.insert(0, first);
                    }
                    fields.remove("system");
                }
                let chat = chat.with_fields(&mut fields)?;
                self.chat(id, &self.checked(chat)?, turns)?
            }
            Form::Alpaca(instruction, input, output) => {
                let input = if input.is_null() { "" } else { string("input", &input)? };
                let prompt = alpaca(string("instruction", &instruction)?, input);
                vec![self.completion(id, &prompt, string("output", &output)?)?]
            }
        };
        unused.extend(left(&fields)?.cloned());
        unused.extend(self.seen().unused.iter().cloned());
        if let Some(vocab) = self.vocab
            && let Some(beyond) = examples.iter().flat_map(|e| &e.ids).find(|id| **id as usize >= vocab)
        {
            return Err(Error::input(format!(
                "token {beyond}, expected ids below the vocabulary size {vocab}"
            )));
        }
        Ok(examples.into_iter().map(|example| example.weighted(weight)).collect())
    }

    /// A prompt and its completion, each tokenised by itself so that the border is a token's border; the
    /// completion and the stop token after it are trained.
    ///
    /// # Errors
    /// No tokenizer, or a text that it cannot encode.
    pub fn completion(&self, id: String, prompt: &str, completion: &str) -> Result<Example, Error> {
        let text = self.tokenizer()?;
        let mut ids = text.encode(prompt)?;
        let start = ids.len();
        ids.extend(text.encode_raw(completion)?);
        ids.extend(self.end.filter(|end| ids.last() != Some(end)));
        Ok(Example::new(id, ids, start))
    }

    /// The text of an example, special tokens included, with what is trained in ⟦ ⟧; token ids where there is no
    /// tokenizer.
    ///
    /// # Errors
    /// Ids that the tokenizer cannot decode.
    pub fn marked(&self, example: &Example) -> Result<String, Error> {
        let (mut marked, mut at) = (String::new(), 0);
        while at < example.ids.len() {
            let trained = example.trained[at];
            let n = example.trained[at..].iter().take_while(|&&t| t == trained).count();
            let ids = &example.ids[at..at + n];
            let span = match &self.text {
                Some(text) => text.decode_all(ids)?,
                None => ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
            };
            marked.push_str(&if trained { format!("⟦{span}⟧") } else { span });
            at += n;
        }
        Ok(marked)
    }

    /// A text that is trained whole, with one stop token at its end.
    fn whole(&self, id: String, text: &str) -> Result<Example, Error> {
        let mut ids = self.tokenizer()?.encode(text)?;
        ids.extend(self.end.filter(|end| ids.last() != Some(end)));
        Ok(Example::new(id, ids, 0))
    }

    fn checked(&self, chat: Conversation) -> Result<Conversation, Error> {
        chat.check(self.template()?, &mut self.seen())?;
        Ok(chat)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A conversation's assistant messages, or the last of them.
    fn chat(&self, id: String, chat: &Conversation, turns: Turns) -> Result<Vec<Example>, Error> {
        let answers: Vec<usize> =
            (0..chat.messages.len()).filter(|&at| chat.messages[at]["role"] == "assistant").collect();
        let Some(&last) = answers.last() else {
            let roles: Vec<&str> = chat.messages.iter().filter_map(|m| m["role"].as_str()).collect();
            return Err(Error::input(format!(
                "messages: the roles are {}, expected `assistant` among them: nothing would be trained",
                roles.join(", ")
            )));
        };
        if self.template()?.marks_generation() {
            return self.marked_chat(id, chat, &answers, turns);
        }
        if turns == Turns::Last {
            return Ok(vec![self.turn(id, chat, last..last + 1)?]);
        }
        if let Some(example) = self.whole_chat(id.clone(), chat, &answers)? {
            return Ok(vec![example]);
        }
        let turn = |(n, &at): (usize, &usize)| self.turn(format!("{id}#{}", n + 1), chat, at..at + 1);
        answers.iter().enumerate().map(turn).collect()
    }

    /// All assistant messages as one example; `None` where the template rewrites earlier messages. The tokens of
    /// a message are those that it adds to the conversation so far with its generation prompt.
    fn whole_chat(
        &self,
        id: String,
        chat: &Conversation,
        answers: &[usize],
    ) -> Result<Option<Example>, Error> {
        let (template, text) = (self.template()?, self.tokenizer()?);
        let (mut ids, mut trained, mut so_far) = (Vec::new(), Vec::new(), String::new());
        for &at in answers {
            for (n, generate) in [(at, true), (at + 1, false)] {
                let rendered = chat.render(template, n, generate)?;
                let Some(new) = rendered.strip_prefix(so_far.as_str()) else { return Ok(None) };
                if !generate {
                    chat.check_reasoning(at..n, new)?;
                }
                let new = text.encode_raw(new)?;
                trained.extend(std::iter::repeat_n(!generate, new.len()));
                ids.extend(new);
                so_far = rendered;
            }
        }
        Ok(Some(Example::masked(id, ids, trained)))
    }

    /// The messages of `range`, to its end trained, with all before it as context.
    fn turn(
        &self,
        id: String,
        chat: &Conversation,
        range: impl std::ops::RangeBounds<usize>,
    ) -> Result<Example, Error> {
        use std::ops::Bound;
        let (template, text) = (self.template()?, self.tokenizer()?);
        let start = if let Bound::Included(&start) = range.start_bound() { start } else { 0 };
        let end = if let Bound::Excluded(&end) = range.end_bound() { end } else { chat.messages.len() };
        let prompt = chat.render(template, start, true)?;
        let whole = chat.render(template, end, false)?;
        let mut ids = text.encode_raw(&prompt)?;
        if let Some(answer) = whole.strip_prefix(&prompt) {
            chat.check_reasoning(start..end, answer)?;
            let start = ids.len();
            ids.extend(text.encode_raw(answer)?);
            return Ok(Example::new(id, ids, start));
        }
        // A generation prompt that goes on beyond the answer's own beginning (DeepSeek-R1's `<think>`): what both have
        // at their beginning is the prompt, as in TRL.
        let before = chat.render(template, start, false)?;
        let answer = whole.strip_prefix(&before).ok_or_else(|| {
            Error::input(format!(
                "messages[{start}]: the chat template does not put the answer after its generation prompt"
            ))
        })?;
        chat.check_reasoning(start..end, answer)?;
        let all = text.encode_raw(&whole)?;
        let shared = ids.iter().zip(&all).take_while(|(a, b)| a == b).count();
        Ok(Example::new(id, all, shared))
    }

    pub(crate) fn tokenizer(&self) -> Result<&Text, Error> {
        self.text
            .as_ref()
            .ok_or_else(|| Error::input("text without a tokenizer: the model folder has no tokenizer.json"))
    }

    pub(crate) fn template(&self) -> Result<&ChatTemplate, Error> {
        self.template.as_ref().ok_or_else(|| Error::input("messages: the model has no chat template"))
    }
}

fn string<'a>(name: &str, value: &'a Value) -> Result<&'a str, Error> {
    value.as_str().ok_or_else(|| Error::input(format!("`{name}` is {value}, expected a text")))
}

/// The prompt of Stanford Alpaca (Taori et al. 2023).
fn alpaca(instruction: &str, input: &str) -> String {
    if input.is_empty() {
        format!(
            "Below is an instruction that describes a task. Write a response that appropriately completes the \
             request.\n\n### Instruction:\n{instruction}\n\n### Response:\n"
        )
    } else {
        format!(
            "Below is an instruction that describes a task, paired with an input that provides further context. \
             Write a response that appropriately completes the request.\n\n### Instruction:\n{instruction}\n\n\
             ### Input:\n{input}\n\n### Response:\n"
        )
    }
}
