//! Prompt templates: how a problem is written for a model. Accuracies of the same weights differ by tens of points
//! between templates, so the template is part of a run's protocol, and training and evaluation share it.

use serde::{Deserialize, Serialize};

use common::{Error, Result};

/// The templates, by the names of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Template {
    /// The model's own chat template, with the question as the user's turn and no system prompt.
    Chat,
    /// Qwen2.5-Math's `qwen25-math-cot`: a system prompt, the question as the user's turn.
    QwenMath,
    /// The R1-Zero template (DeepSeek-R1, table 1; Dr. GRPO's `r1`): plain text ending in `<think>`.
    R1,
    /// The question alone, as plain text; unlike in the other templates, blanks around it stay.
    Plain,
    /// open-r1's system prompt with think and answer tags.
    OpenR1,
    /// Light-R1's suffix to the user's turn, no system prompt (the examples of the thinking-sparks paper).
    LightR1,
    /// Four worked examples of our own, then the question, as plain text: for base models.
    FewShot,
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// `"system"`, `"user"` or `"assistant"`.
    pub role: String,
    /// The text.
    pub content: String,
}

/// A prompt for one question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prompt {
    /// Turns for the model's own chat template (with its generation prompt).
    Chat(Vec<Turn>),
    /// Text to be continued as it is.
    Text(String),
}

/// The prompt setting of evaluation and GRPO.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromptSettings {
    /// The template.
    pub template: Template,
    /// A system prompt in place of the template's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Reasoning on or off, for chat templates with that switch (`enable_thinking`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thinking: Option<bool>,
    /// Strings that end a completion, beside the template's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
}

const QWEN_SYSTEM: &str = "Please reason step by step, and put your final answer within \\boxed{}.";

const OPEN_R1_SYSTEM: &str = "You are a helpful AI Assistant that provides well-reasoned and detailed responses. You first think about the reasoning process as an internal monologue and then provide the user with the answer. Respond in the following format: <think>\n...\n</think>\n<answer>\n...\n</answer>";

const R1_PREAMBLE: &str = "A conversation between User and Assistant. The User asks a question, and the Assistant solves it. The Assistant first thinks about the reasoning process in the mind and then provides the User with the answer. The reasoning process is enclosed within <think> </think> and answer is enclosed within <answer> </answer> tags, respectively, i.e., <think> reasoning process here </think> <answer> answer here </answer>.";

const EXAMPLES: [(&str, &str); 4] = [
    (
        "A shelf holds 4 rows of 12 jars. Nine jars are taken away. How many are left?",
        "There are 4 * 12 = 48 jars at first. After nine are taken away, 48 - 9 = 39 are left. The final answer is $\\boxed{39}$.",
    ),
    (
        "Solve $3x - 7 = 11$.",
        "Adding 7 to both sides gives $3x = 18$, so $x = 18/3 = 6$. The final answer is $\\boxed{6}$.",
    ),
    (
        "What is the probability of at least one head in two tosses of a fair coin?",
        "No head has probability $\\frac12 \\cdot \\frac12 = \\frac14$, so at least one has $1 - \\frac14 = \\frac34$. The final answer is $\\boxed{\\frac{3}{4}}$.",
    ),
    (
        "Find the distance between $(1, 2)$ and $(4, 6)$.",
        "The differences are 3 and 4, so the distance is $\\sqrt{9 + 16} = 5$. The final answer is $\\boxed{5}$.",
    ),
];

impl std::str::FromStr for Template {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|t| t.name() == name).ok_or_else(|| {
            Error::input(format!(
                "template {name:?}: expected one of {}",
                Self::ALL.map(Self::name).join(", ")
            ))
        })
    }
}

impl std::fmt::Display for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Template {
    /// All templates.
    pub const ALL: [Self; 7] =
        [Self::Chat, Self::QwenMath, Self::R1, Self::Plain, Self::OpenR1, Self::LightR1, Self::FewShot];

    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::QwenMath => "qwen-math",
            Self::R1 => "r1",
            Self::Plain => "plain",
            Self::OpenR1 => "open-r1",
            Self::LightR1 => "light-r1",
            Self::FewShot => "few-shot",
        }
    }

    /// Whether the prompt is rendered by the model's chat template.
    pub fn is_chat(self) -> bool {
        matches!(self, Self::Chat | Self::QwenMath | Self::OpenR1 | Self::LightR1)
    }

    /// The prompt for one question.
    pub fn render(self, question: &str) -> Prompt {
        PromptSettings::from(self).render(question)
    }

    fn stops(self) -> &'static [&'static str] {
        match self {
            Self::R1 => &["</answer>"],
            Self::FewShot => &["\n\nQuestion:"],
            _ => &[],
        }
    }

    /// The system prompt of a template that has one.
    fn system(self) -> Option<&'static str> {
        match self {
            Self::QwenMath => Some(QWEN_SYSTEM),
            Self::OpenR1 => Some(OPEN_R1_SYSTEM),
            _ => None,
        }
    }
}

impl From<Template> for PromptSettings {
    /// The template with its own system prompt.
    fn from(template: Template) -> Self {
        Self { template, system: None, thinking: None, stop: Vec::new() }
    }
}

impl PromptSettings {
    /// Checks that the settings belong to the template.
    ///
    /// # Errors
    /// A system prompt or a thinking switch for a template of plain text, an empty stop string.
    pub fn check(&self) -> Result<()> {
        if self.stop.iter().any(String::is_empty) {
            return Err(Error::input("stop: a string is empty, expected at least one character"));
        }
        let given = [("system", self.system.is_some()), ("thinking", self.thinking.is_some())];
        match given.into_iter().find(|(_, given)| *given && !self.template.is_chat()) {
            None => Ok(()),
            Some((name, _)) => Err(Error::input(format!(
                "{name}: template {} is plain text, expected a chat template ({})",
                self.template,
                Template::ALL
                    .into_iter()
                    .filter(|t| t.is_chat())
                    .map(Template::name)
                    .collect::<Vec<_>>()
                    .join(", ")
            ))),
        }
    }

    /// Strings that end a completion: the template's and the given ones. A completion contains the one that
    /// ended it.
    pub fn stops(&self) -> Vec<&str> {
        self.template.stops().iter().copied().chain(self.stop.iter().map(String::as_str)).collect()
    }

    /// The system prompt: the given one, or the template's own where it has one.
    pub fn system(&self) -> Option<&str> {
        self.system.as_deref().or(self.template.system())
    }

    /// What the user's turn says for a question, in a chat template.
    pub fn user(&self, question: &str) -> String {
        match self.template {
            Template::LightR1 => {
                format!("{question} Let's think step by step and output the final answer within \\boxed{{}}.")
            }
            _ => question.to_owned(),
        }
    }

    /// The prompt for one question.
    pub fn render(&self, question: &str) -> Prompt {
        let trimmed = question.trim();
        match self.template {
            Template::Chat | Template::QwenMath | Template::OpenR1 | Template::LightR1 => {
                let turn = |role: &str, content: String| Turn { role: role.into(), content };
                let system = self.system().map(|s| turn("system", s.to_owned()));
                Prompt::Chat(system.into_iter().chain([turn("user", self.user(trimmed))]).collect())
            }
            Template::R1 => Prompt::Text(format!("{R1_PREAMBLE}\nUser: {trimmed}\nAssistant: <think>")),
            Template::Plain => Prompt::Text(question.into()),
            Template::FewShot => {
                let shots: String =
                    EXAMPLES.iter().map(|(q, a)| format!("Question: {q}\nAnswer: {a}\n\n")).collect();
                Prompt::Text(format!("{shots}Question: {trimmed}\nAnswer:"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_questions_appear_once() {
        for template in Template::ALL {
            let name = template.name();
            assert_eq!(name.parse::<Template>().expect("known"), template);
            assert_eq!(serde_json::to_value(template).expect("JSON"), name);
            let text = serde_json::to_string(&template.render("What is QQQ?")).expect("JSON");
            assert_eq!(text.matches("What is QQQ?").count(), 1, "{name}");
        }
        assert!("qwen".parse::<Template>().expect_err("unknown").to_string().contains("qwen-math"));
    }

    #[test]
    fn a_system_prompt_replaces_that_of_a_chat_template_and_is_refused_elsewhere() {
        let of = |template| PromptSettings { system: Some("S".into()), ..PromptSettings::from(template) };
        for template in Template::ALL {
            let settings = of(template);
            assert_eq!(settings.check().is_ok(), template.is_chat(), "{template}");
            if let Prompt::Chat(turns) = settings.render("Q") {
                assert_eq!((turns.len(), &*turns[0].role, &*turns[0].content), (2, "system", "S"));
            }
        }
        let thinking = PromptSettings { thinking: Some(false), ..Template::R1.into() };
        assert!(thinking.check().expect_err("plain text").to_string().starts_with("thinking: template r1"));
    }

    #[test]
    fn given_stop_strings_join_those_of_the_template() {
        let of = |stop: &str| PromptSettings { stop: vec![stop.into()], ..Template::R1.into() };
        assert_eq!(of("END").stops(), ["</answer>", "END"]);
        assert!(of("").check().expect_err("empty").to_string().starts_with("stop:"));
    }

    #[test]
    fn worked_examples_are_right() {
        for ((_, solution), gold) in EXAMPLES.iter().zip(["39", "6", "\\frac{3}{4}", "5"]) {
            assert!(math_grade::grade(gold, solution).correct, "{solution}");
        }
    }
}
