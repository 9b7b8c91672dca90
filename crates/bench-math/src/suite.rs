//! Benchmark suites by name, read from a folder and checked against a SHA-256, and multiple-choice questions with
//! shuffled options.
//!
//! "AMC23" means 40 problems in some papers and 83 in others; here they are two suites.

use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::arithmetic::ArithmeticProblems;
use crate::problem::{Problem, Problems, parse_problems, read_problems};
use common::{Error, Result};

/// A benchmark suite with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suite {
    /// The name on the command line.
    pub name: &'static str,
    /// Source and licence of its problems, for users who have to get them.
    pub source: &'static str,
    /// The file in the benchmarks folder.
    pub file: &'static str,
    /// Number of problems.
    pub problems: usize,
    /// SHA-256 of the file, lower-case hex; empty where the file cannot be redistributed.
    pub sha256: &'static str,
}

/// All named suites, by number of problems. `gpqa` is a file of [`MultipleChoice`] lines, not redistributable.
pub const SUITES: [Suite; 7] = [
    Suite {
        name: "aime24",
        source: "evaluation/data/aime24/test.jsonl of github.com/QwenLM/Qwen2.5-Math at a45202bd16f1 (MIT)",
        file: "aime24.jsonl",
        problems: 30,
        sha256: "c0b1994dd8607cfac3f0a747102eb3353fff7d189927bf8f5ad2040d49238844",
    },
    Suite {
        name: "aime25",
        source: "deepscaler-release/deepscaler/data/test/aime25.json of github.com/Qihoo360/Light-R1 at 48c9083b9ca5 (Apache-2.0)",
        file: "aime25.jsonl",
        problems: 30,
        sha256: "c81c6bec3e7c1334d13241d4b121dae22d1d484b883cfacb1e88b0cc8f01c420",
    },
    Suite {
        name: "amc23",
        source: "evaluation/data/amc23/test.jsonl of github.com/QwenLM/Qwen2.5-Math at a45202bd16f1 (MIT)",
        file: "amc23.jsonl",
        problems: 40,
        sha256: "f0d3e7c87053fed7b8d4c2f39348eeb8877afbcc47ca8b5952443849c7a50628",
    },
    Suite {
        name: "amc83",
        source: "deepscaler-release/deepscaler/data/test/amc.json of github.com/Qihoo360/Light-R1 at 48c9083b9ca5 (Apache-2.0)",
        file: "amc_2022_2023.jsonl",
        problems: 83,
        sha256: "f42f8c3a407e8e58f2b9aaf39437a0513b544319e3686340faa1d7bd477632dd",
    },
    Suite {
        name: "gpqa",
        source: "Idavidrein/gpqa on the hub, which is gated and must not be passed on: lines {id, question, correct, incorrect}",
        file: "gpqa.jsonl",
        problems: 198,
        sha256: "",
    },
    Suite {
        name: "math500",
        source: "the 500 problems of github.com/openai/prm800k (MIT), in the order of eval/data/math/test.jsonl of github.com/GAIR-NLP/LIMO at 2284c6a0e665",
        file: "math500.jsonl",
        problems: 500,
        sha256: "9d542af53b457b26546b4d78709d6846b29e456005ff7345f91300bfea33cb16",
    },
    Suite {
        name: "gsm8k",
        source: "grade_school_math/data/test.jsonl of github.com/openai/grade-school-math at 3101c7d50724 (MIT), the answer being what follows ####, without commas",
        file: "gsm8k_test.jsonl",
        problems: 1319,
        sha256: "28e39a574c67058a9532b1922dce109d039e02e7886bf28abebe195a9de2df96",
    },
];

/// A multiple-choice question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MultipleChoice {
    /// Unique within its file.
    pub id: String,
    /// The question.
    #[serde(alias = "problem", alias = "Question")]
    pub question: String,
    /// The right option.
    #[serde(alias = "Correct Answer")]
    pub correct: String,
    /// The wrong options, at most 25.
    pub incorrect: Vec<String>,
    /// The field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

impl MultipleChoice {
    /// A problem that lists the options by letters from A, in an order that depends only on `seed` and the id. The
    /// answer is the letter of the right option.
    pub fn to_problem(&self, seed: u64) -> Problem {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(u64::from_le_bytes(
            Sha256::digest(self.id.as_bytes())[..8].try_into().unwrap_or_default(),
        ));
        let mut options: Vec<(bool, &str)> =
            self.incorrect.iter().take(25).map(|o| (false, o.as_str())).collect();
        options.push((true, &self.correct));
        options.shuffle(&mut rng);
        let letter = |i: usize| char::from(b'A' + i as u8);
        let listed: Vec<String> =
            options.iter().enumerate().map(|(i, (_, o))| format!("({}) {}", letter(i), o.trim())).collect();
        let right = options.iter().position(|o| o.0).unwrap_or(0);
        Problem {
            id: self.id.clone(),
            problem: format!(
                "{}\n\n{}\n\nAnswer with the letter of the right option.",
                self.question.trim(),
                listed.join("\n")
            ),
            answer: letter(right).to_string(),
            source: None,
            subject: self.subject.clone(),
            level: None,
        }
    }
}

/// The file of a suite: that of its name in `folder`, or the path that it is; none of `arithmetic`.
pub fn file(name_or_path: &str, folder: &Path) -> Option<PathBuf> {
    match SUITES.iter().find(|s| s.name == name_or_path) {
        Some(suite) => Some(folder.join(suite.file)),
        None => (name_or_path != "arithmetic").then(|| name_or_path.into()),
    }
}

/// Loads a suite: a name of [`SUITES`] from `folder`, `arithmetic` (ours, 200 items, nothing to read), or a path to
/// a problems file. `seed` shuffles multiple-choice options.
///
/// # Errors
/// The name is neither known nor a file; the file is absent, malformed, or not the one whose checksum is pinned.
pub fn load(name_or_path: &str, folder: &Path, seed: u64) -> Result<Problems> {
    if name_or_path == "arithmetic" {
        let spec = ArithmeticProblems { terms: 3, digits: 2, ..ArithmeticProblems::default() };
        let list = spec.items(seed, 200).iter().map(crate::arithmetic::Item::to_problem).collect();
        return Ok(Problems { list, unread: Vec::new() });
    }
    let Some(suite) = SUITES.iter().find(|s| s.name == name_or_path) else {
        let path = Path::new(name_or_path);
        if path.is_file() {
            return read_problems(path);
        }
        let names: Vec<&str> = SUITES.iter().map(|s| s.name).collect();
        let missing = match path.extension().is_some() || path.components().count() > 1 {
            true => "no such file, ",
            false => "",
        };
        return Err(Error::input(format!(
            "suite {name_or_path:?}: {missing}expected arithmetic, {} or a .jsonl file",
            names.join(", ")
        )));
    };
    let path = folder.join(suite.file);
    if !path.exists() {
        return Err(Error::input(format!(
            "{}: no such file; suite {} is {} problems, from {}; write them as JSONL of {{\"id\", \"problem\", \
             \"answer\"}} and give the file as --suite, or the folder that has {} as --data",
            path.display(),
            suite.name,
            suite.problems,
            suite.source,
            suite.file
        )));
    }
    let bytes = std::fs::read(&path).map_err(|e| Error::io(&path, e))?;
    if !suite.sha256.is_empty() {
        let found = format!("{:x}", Sha256::digest(&bytes));
        if found != suite.sha256 {
            return Err(Error::at(&path, format!("expected sha256 {}, found {found}", suite.sha256)));
        }
    }
    let text = common::text_of(&path, bytes)?;
    if suite.name == "gpqa" {
        let list = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
            .map(|(i, line)| {
                let item: MultipleChoice = serde_json::from_str(line).map_err(|e| {
                    Error::line(
                        &path,
                        i + 1,
                        format!("expected {{\"id\", \"question\", \"correct\", \"incorrect\"}}: {e}"),
                    )
                })?;
                Ok(item.to_problem(seed))
            })
            .collect::<Result<_>>()?;
        return Ok(Problems { list, unread: Vec::new() });
    }
    // The other fields of a known file are known.
    Ok(Problems { unread: Vec::new(), ..parse_problems(&path, &text)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_spread_over_the_letters_and_repeatable() {
        let item = |i: usize| MultipleChoice {
            id: format!("q{i}"),
            question: "?".into(),
            correct: "right".into(),
            incorrect: vec!["x".into(), "y".into(), "z".into()],
            subject: None,
        };
        let mut counts = std::collections::BTreeMap::new();
        for i in 0..400 {
            let p = item(i).to_problem(7);
            assert_eq!(p, item(i).to_problem(7));
            assert!(p.problem.contains(&format!("({}) right", p.answer)));
            *counts.entry(p.answer).or_insert(0) += 1;
        }
        assert!(counts.len() == 4 && counts.values().all(|n| (60..140).contains(n)), "{counts:?}");
    }

    #[test]
    #[ignore = "needs shared data (SPARKS_SHARED)"]
    fn named_suites_have_their_sizes_and_checksums() {
        let folder = crate::shared_data("benchmarks");
        for suite in SUITES.iter().filter(|s| s.name != "gpqa") {
            assert_eq!(load(suite.name, &folder, 0).expect(suite.name).list.len(), suite.problems);
        }
        assert!(load("amc", &folder, 0).expect_err("ambiguous").to_string().contains("amc23"));
        assert_eq!(load("arithmetic", &folder, 0).expect("generated").list.len(), 200);
    }
}
