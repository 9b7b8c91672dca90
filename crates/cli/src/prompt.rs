//! Prompts of problems: the templates of bench-math, rendered by a model's tokenizer and chat template. Evaluation,
//! GRPO and `sparks pairs openings` share this code.

use bench_math::{Prompt, PromptSettings, Template};
use common::Error;
use model_qwen::{ChatTemplate, Checkpoint, Message, Text};

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
        PromptSettings { template: self.template, system: self.system.clone(), thinking: self.think }
    }
}

/// Makes token ids of prompts.
pub(crate) struct Prompter {
    settings: PromptSettings,
    /// The model's tokenizer.
    pub(crate) text: Text,
    chat: Option<ChatTemplate>,
}

impl Prompter {
    /// For the tokenizer and the chat template of a checkpoint.
    ///
    /// # Errors
    /// Settings that do not belong to the template, no tokenizer, no chat template where one is needed.
    pub(crate) fn new(checkpoint: &Checkpoint, settings: PromptSettings) -> Result<Self> {
        settings.check()?;
        let text = tokenizer(checkpoint)?;
        let chat = if settings.template.is_chat() {
            let plain: Vec<_> =
                Template::ALL.into_iter().filter(|t| !t.is_chat()).map(Template::name).collect();
            let hint = |e: Error| {
                Error::input(format!("{e} (template {}; {} need none)", settings.template, plain.join(", ")))
            };
            Some(checkpoint.chat_template().map_err(hint)?)
        } else {
            None
        };
        Ok(Self { settings, text, chat })
    }

    /// Token ids of a prompt.
    pub(crate) fn ids(&self, prompt: &Prompt) -> Result<Vec<u32>> {
        match (prompt, &self.chat) {
            (Prompt::Text(plain), _) => self.text.encode(plain),
            (Prompt::Chat(turns), Some(chat)) => {
                let message = |turn: &bench_math::Turn| Message {
                    role: turn.role.clone(),
                    content: turn.content.clone(),
                };
                let messages: Vec<Message> = turns.iter().map(message).collect();
                // The template writes its own special tokens: no second BOS.
                self.text.encode_raw(&bounded(|| chat.render(&messages, true, self.settings.thinking))?)
            }
            (Prompt::Chat(_), None) => Err(Error::internal("a chat prompt without a chat template")),
        }
    }

    /// Token ids of the prompt for a question.
    pub(crate) fn question(&self, question: &str) -> Result<Vec<u32>> {
        self.ids(&self.settings.render(question))
    }
}
