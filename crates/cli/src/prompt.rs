//! Prompts of problems: the templates of bench-math, rendered by a model's tokenizer and chat template. Evaluation,
//! GRPO and `sparks pairs openings` share this code.

use bench_math::{Prompt, PromptSettings, Template};
use common::Error;
use model_qwen::{ChatTemplate, Checkpoint, Message, Text};
use posttrain::chat::{Conversation, Seen};
use serde_json::json;

use crate::choices::{TEMPLATES, named, table};
use crate::input::tokenizer;
use crate::memory::bounded;
use crate::options::Result;

/// The flags of the prompt setting.
#[derive(clap::Args, Debug)]
pub(crate) struct PromptArgs {
    /// Prompt template.
    #[arg(long, default_value = "qwen-math", value_parser = named::<Template>(&TEMPLATES))]
    template: Template,
    /// System prompt, in place of the template's own.
    #[arg(long, allow_hyphen_values = true, value_name = "TEXT")]
    system: Option<String>,
    /// Reasoning on or off, for chat templates with that switch (enable_thinking).
    #[arg(long, value_parser = table(&[("on", true), ("off", false)]))]
    think: Option<bool>,
}

impl PromptArgs {
    /// The prompt setting.
    pub(crate) fn settings(&self) -> PromptSettings {
        let (system, thinking) = (self.system.clone(), self.think);
        PromptSettings { system, thinking, ..self.template.into() }
    }
}

/// Refuses a template that renders the same with thinking on and off.
pub(crate) fn check_switch(chat: &ChatTemplate) -> Result {
    let probe = [Message { role: "user".to_owned(), content: "?".to_owned() }];
    let render = |thinking| bounded(|| chat.render(&probe, true, Some(thinking)));
    if render(true)? == render(false)? {
        return Err(Error::input(
            "thinking has no effect: the chat template has no switch `enable_thinking`",
        ));
    }
    Ok(())
}

/// Makes token ids of prompts.
pub(crate) struct Prompter {
    /// The prompt setting.
    pub(crate) settings: PromptSettings,
    /// The model's tokenizer.
    pub(crate) text: Text,
    /// Without one, why.
    chat: Result<ChatTemplate>,
}

impl Prompter {
    /// For the tokenizer and the chat template of a checkpoint.
    ///
    /// # Errors
    /// Settings that do not belong to the template, no tokenizer, no chat template where the template needs one.
    pub(crate) fn new(checkpoint: &Checkpoint, settings: PromptSettings) -> Result<Self> {
        settings.check()?;
        let text = tokenizer(checkpoint)?;
        let chat = match (checkpoint.chat_template(), settings.template.is_chat()) {
            (Err(e), true) => {
                let plain = Template::ALL.into_iter().filter(|t| !t.is_chat()).map(Template::name);
                let plain = plain.collect::<Vec<_>>().join(", ");
                return Err(Error::input(format!("{e} (template {}; {plain} need none)", settings.template)));
            }
            (chat, _) => chat,
        };
        if let (Ok(chat), Some(_), true) = (&chat, settings.thinking, settings.template.is_chat()) {
            check_switch(chat)?;
        }
        Ok(Self { settings, text, chat })
    }

    /// Token ids of a prompt.
    pub(crate) fn ids(&self, prompt: &Prompt) -> Result<Vec<u32>> {
        match prompt {
            Prompt::Text(plain) => self.text.encode(plain),
            Prompt::Chat(turns) => {
                let message = |turn: &bench_math::Turn| Message {
                    role: turn.role.clone(),
                    content: turn.content.clone(),
                };
                let messages: Vec<Message> = turns.iter().map(message).collect();
                let chat = self.chat()?;
                // The template writes its own special tokens: no second BOS.
                self.text.encode_raw(&bounded(|| chat.render(&messages, true, self.settings.thinking))?)
            }
        }
    }

    /// Token ids of the prompt for a question.
    pub(crate) fn question(&self, question: &str) -> Result<Vec<u32>> {
        self.ids(&self.settings.render(question))
    }

    /// Token ids of a prompt that is a conversation, by the model's chat template. What the settings add to a
    /// question they add here: a system prompt before the first message, a suffix to the last.
    ///
    /// # Errors
    /// A plain template other than `plain`; a system message beside a system prompt; what the chat template
    /// leaves out or refuses.
    pub(crate) fn conversation(&self, mut chat: Conversation, seen: &mut Seen) -> Result<Vec<u32>> {
        let settings = &self.settings;
        if !settings.template.is_chat() && settings.template != Template::Plain {
            return Err(Error::input(format!(
                "is messages, which template {} cannot write: expected a text, or a chat template",
                settings.template
            )));
        }
        if let Some(last) = chat.messages.last_mut().filter(|last| last["role"] == "user") {
            last["content"] = settings.user(last["content"].as_str().unwrap_or_default()).into();
        }
        if let Some(system) = settings.system() {
            if chat.messages.iter().any(|message| message["role"] == "system") {
                return Err(Error::input(format!(
                    "has a system message, and template {} or `system` another: expected one of them",
                    settings.template
                )));
            }
            chat.messages.insert(0, json!({ "role": "system", "content": system }));
        }
        if let Some(thinking) = settings.thinking {
            chat.variables.entry("enable_thinking").or_insert(thinking.into());
        }
        let template = self.chat()?;
        bounded(|| {
            chat.check(template, seen)?;
            self.text.encode_raw(&chat.render(template, chat.messages.len(), true)?)
        })
    }

    fn chat(&self) -> Result<&ChatTemplate> {
        self.chat.as_ref().map_err(|e| Error::input(format!("{e}, which messages need")))
    }
}
