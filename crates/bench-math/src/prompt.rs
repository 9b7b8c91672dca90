//! How a problem is put to a model. The same weights differ by tens of points between templates, so the template
//! is part of a run's protocol.

use serde::{Deserialize, Serialize};

use common::{Error, Result};

/// The templates in use, by the names that the command line knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Template {
    /// Qwen2.5-Math's `qwen25-math-cot`: a system prompt, the question as the user's message.
    QwenMath,
    /// The R1-Zero template (DeepSeek-R1, table 1; Dr. GRPO's `r1`): plain text ending in `<think>`.
    R1,
    /// The question and nothing else, as plain text.
    Plain,
    /// open-r1's system prompt with think and answer tags.
    OpenR1,
    /// Light-R1's suffix to the user's message, no system prompt (the thinking-sparks paper's examples).
    LightR1,
    /// Four worked examples of our own, then the question, as plain text: for base models.
    FewShot,
}

/// One message of a chat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `"system"`, `"user"` or `"assistant"`.
    pub role: String,
    /// The text.
    pub content: String,
}

/// What is to be shown to the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Prompt {
    /// Messages for the model's own chat template (with its generation prompt).
    Chat(Vec<Message>),
    /// Text to be continued as it is.
    Text(String),
}

const NAMES: [(&str, Template); 6] = [
    ("qwen-math", Template::QwenMath),
    ("r1", Template::R1),
    ("plain", Template::Plain),
    ("open-r1", Template::OpenR1),
    ("light-r1", Template::LightR1),
    ("few-shot", Template::FewShot),
];

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
        NAMES.iter().find(|(n, _)| *n == name).map(|(_, t)| *t).ok_or_else(|| {
            let names: Vec<&str> = NAMES.iter().map(|(n, _)| *n).collect();
            Error::input(format!("template {name:?}: expected one of {}", names.join(", ")))
        })
    }
}

impl Template {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, t)| *t == self).map_or("", |(n, _)| n)
    }

    /// The prompt for one question.
    pub fn render(self, question: &str) -> Prompt {
        let message = |role: &str, content: String| Message { role: role.into(), content };
        let question = question.trim();
        match self {
            Template::QwenMath => {
                Prompt::Chat(vec![message("system", QWEN_SYSTEM.into()), message("user", question.into())])
            }
            Template::OpenR1 => {
                Prompt::Chat(vec![message("system", OPEN_R1_SYSTEM.into()), message("user", question.into())])
            }
            Template::LightR1 => Prompt::Chat(vec![message(
                "user",
                format!(
                    "{question} Let's think step by step and output the final answer within \\boxed{{}}."
                ),
            )]),
            Template::R1 => Prompt::Text(format!("{R1_PREAMBLE}\nUser: {question}\nAssistant: <think>")),
            Template::Plain => Prompt::Text(question.into()),
            Template::FewShot => {
                let shots: String =
                    EXAMPLES.iter().map(|(q, a)| format!("Question: {q}\nAnswer: {a}\n\n")).collect();
                Prompt::Text(format!("{shots}Question: {question}\nAnswer:"))
            }
        }
    }

    /// Strings at which generation stops, beside the model's own stop tokens. They belong to the completion only
    /// in the case of `</answer>`.
    pub fn stops(self) -> &'static [&'static str] {
        match self {
            Template::R1 => &["</answer>"],
            Template::FewShot => &["\n\nQuestion:"],
            _ => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_questions_appear_once() {
        for (name, template) in NAMES {
            assert_eq!(name.parse::<Template>().expect("known"), template);
            let text = serde_json::to_string(&template.render("What is QQQ?")).expect("JSON");
            assert_eq!(text.matches("What is QQQ?").count(), 1, "{name}");
        }
        assert!("qwen".parse::<Template>().expect_err("unknown").to_string().contains("qwen-math"));
    }

    #[test]
    fn worked_examples_are_right() {
        for ((_, solution), gold) in EXAMPLES.iter().zip(["39", "6", "\\frac{3}{4}", "5"]) {
            assert!(math_grade::grade(gold, solution).correct, "{solution}");
        }
    }
}
