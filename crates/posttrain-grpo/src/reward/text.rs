//! Rewards of a completion's form and script.

use regex::Regex;

use super::{FormatStyle, Reward, Sample};
use crate::Error;

/// 1 for a completion of the form asked for, 0 for others.
pub(super) struct Format(pub(super) FormatStyle);

impl Reward for Format {
    fn score(&mut self, samples: &[Sample<'_>]) -> Result<Vec<f32>, Error> {
        let has = match self.0 {
            FormatStyle::ThinkAnswer => think_answer,
            FormatStyle::Think => think,
        };
        Ok(samples.iter().map(|sample| f32::from(u8::from(has(sample.completion)))).collect())
    }
}

/// open-r1: `^<think>\n.*?\n</think>\n<answer>\n.*?\n</answer>$`, where `$` is the end of a line.
fn think_answer(text: &str) -> bool {
    let inside = text.strip_prefix("<think>\n").and_then(|rest| rest.split_once("\n</think>\n<answer>\n"));
    let Some((_, rest)) = inside else { return false };
    let end = "\n</answer>";
    rest.match_indices(end)
        .map(|(at, _)| &rest[at + end.len()..])
        .any(|r| r.is_empty() || r.starts_with('\n'))
}

/// TRL: `^<think>(?!.*<think>)(.*?)</think>.*$`.
fn think(text: &str) -> bool {
    text.strip_prefix("<think>").is_some_and(|rest| !rest.contains("<think>") && rest.contains("</think>"))
}

/// A quarter for each of open-r1's four tags that is there once.
pub(super) struct TagCount;

impl Reward for TagCount {
    fn score(&mut self, samples: &[Sample<'_>]) -> Result<Vec<f32>, Error> {
        const TAGS: [&str; 4] = ["<think>\n", "\n</think>\n", "\n<answer>\n", "\n</answer>"];
        let once = |text: &str| TAGS.iter().filter(|tag| text.matches(**tag).count() == 1).count();
        Ok(samples.iter().map(|sample| 0.25 * once(sample.completion) as f32).collect())
    }
}

/// The share of a completion's letters that are of a script (DeepSeek-R1, section 2.3.2, has it of words); 1 where there are none.
pub(super) struct Language {
    letter: Regex,
    of_script: Regex,
}

impl Language {
    pub(super) fn new(script: &str) -> Result<Self, Error> {
        let named = script.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !script.is_empty();
        let compile = |pattern: &str| Regex::new(pattern).ok();
        let of_script = named.then(|| compile(&format!(r"[\p{{L}}&&\p{{Script={script}}}]"))).flatten();
        match (compile(r"\p{L}"), of_script) {
            (Some(letter), Some(of_script)) => Ok(Self { letter, of_script }),
            _ => Err(Error::input(format!(
                "script is \"{script}\", expected a script of Unicode, such as \"Latin\", \"Han\", \"Cyrillic\""
            ))),
        }
    }
}

impl Reward for Language {
    fn score(&mut self, samples: &[Sample<'_>]) -> Result<Vec<f32>, Error> {
        let one = |sample: &Sample<'_>| {
            let count = |what: &Regex| what.find_iter(sample.completion).count();
            match count(&self.letter) {
                0 => 1.0,
                letters => count(&self.of_script) as f32 / letters as f32,
            }
        };
        Ok(samples.iter().map(one).collect())
    }
}
