//! The study of the embedded base model: its world written as files, and its configuration. `sparks demo` runs it, and
//! `sparks study study.toml` in its folder goes on with it.
//!
//! The same base is post-trained twice, by SFT on worked solutions and by GRPO on checked answers. Circuits are found where
//! the next number of a chain is chosen, on single sums, and on the paper's openings.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use common::{Error, write_whole};
use hooks::Pairs;
use model_qwen::Dtype;
use tasks::to_jsonl;
use toy::{Mix, Place, ProblemStream, Split, Toward, ToyProblem};

use crate::StudyConfig;

/// Tokens of a completion at most: the longest worked solution has 41.
const MAX_TOKENS: usize = 44;

/// What a demo is asked to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Demo {
    /// Where everything is written.
    pub out: PathBuf,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Held-out problems of each benchmark.
    pub problems: usize,
    /// Of these, the problems of interventions.
    pub limit: usize,
    /// Samples of each problem.
    pub samples: usize,
    /// Pairs of each suite.
    pub pairs: usize,
    /// SFT steps, and steps between its checkpoints.
    pub sft: (usize, usize),
    /// GRPO steps, and steps between its checkpoints.
    pub grpo: (usize, usize),
    /// Random sets beside each intervention that is tested.
    pub draws: usize,
    /// Trials of each control.
    pub trials: usize,
    /// A file of stored controls and other seeds' results.
    pub evidence: Option<PathBuf>,
}

impl Demo {
    /// The demo as `sparks demo` runs it.
    pub fn new(out: &Path, seed: u64) -> Self {
        Self {
            out: out.to_owned(),
            seed,
            problems: 100,
            limit: 40,
            samples: 4,
            pairs: 32,
            sft: (96, 12),
            grpo: (160, 20),
            draws: 19,
            trials: 1,
            evidence: None,
        }
    }

    /// Writes the base model, problems, pairs, run files and `study.toml`; returns the configuration.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn prepare(&self) -> Result<StudyConfig, Error> {
        let world = self.out.join("world");
        common::make_folder(&world)?;
        let (base, files) = (world.join("base"), world.join("files"));
        toy::write_model_files(&files)?;
        model_qwen::save(&toy::base(&Device::flex())?, &base, Dtype::F32, Some(&files))?;
        std::fs::remove_dir_all(&files).map_err(|e| Error::io(&files, e))?;
        let write = |name: &str, text: &str| write_whole(world.join(name), text.as_bytes());
        for (name, mix) in [("hard", Mix::HARD), ("easy", Mix::EASY)] {
            write(
                &format!("{name}.jsonl"),
                &problems(&toy::distinct(mix, Split::HeldOut, self.seed, self.problems)?)?,
            )?;
        }
        let pairs = [
            ("hard", toy::swap_pairs(Mix::HARD, Place::NextNumber, self.seed, self.pairs)?),
            ("easy", toy::swap_pairs(Mix::EASY, Place::Direct, self.seed, self.pairs)?),
            ("openings", toy::opening_pairs(Mix::HARD, Toward::Reasoning, self.seed, self.pairs)?),
        ];
        for (name, pairs) in pairs {
            write(&format!("{name}-pairs.jsonl"), &text_of(&pairs)?)?;
        }
        write("sft-examples.jsonl", &toy::sft_corpus(self.seed).jsonl(64 * self.sft.0))?;
        let stream = ProblemStream::new(Mix::HARD, Split::Train, self.seed ^ 0x6772_706f);
        let tasks: Vec<ToyProblem> = stream.take(16 * self.grpo.0).collect();
        write("grpo-problems.jsonl", &problems(&tasks)?)?;
        write("sft.toml", &self.sft_file(&world))?;
        write("grpo.toml", &self.grpo_file(&world))?;
        let text = self.study_file(&world);
        write_whole(self.out.join("study.toml"), text.as_bytes())?;
        StudyConfig::parse(&text).map_err(|e| e.within("the demo's study.toml"))
    }

    fn sft_file(&self, world: &Path) -> String {
        let (steps, every) = self.sft;
        format!(
            "[model]\npath = \"the study's\"\n[data]\ntrain = {}\nshuffle = false\n[run]\ndir = \"the study's\"\nseed = {}\n\
             checkpoint_every = {every}\n[train]\nsteps = {steps}\nbatch_size = 64\n[optimizer]\nlr = 1e-3\n\
             max_grad_norm = 1.0\n[schedule]\nkind = \"cosine\"\nwarmup_steps = 4\nmin_lr_ratio = 0.1\n",
            quoted(&world.join("sft-examples.jsonl")),
            self.seed
        )
    }

    /// An answer counts after `</think>` alone: else a chain that repeats its right last step until it is cut would pay.
    fn grpo_file(&self, world: &Path) -> String {
        let (steps, every) = self.grpo;
        format!(
            "[model]\npath = \"the study's\"\n[data]\ntrain = {}\nshuffle = false\n[run]\ndir = \"the study's\"\nseed = {}\n\
             checkpoint_every = {every}\n[train]\nsteps = {steps}\nbatch_size = 128\n[optimizer]\nlr = 4e-4\n\
             max_grad_norm = 1.0\n[schedule]\nkind = \"constant\"\nwarmup_steps = 3\n[grpo]\nprompts = 16\n\
             group_size = 8\nmax_tokens = {MAX_TOKENS}\ntemperature = 1.0\nloss = \"dapo\"\nbeta = 0.0\n\
             [reward]\nkind = \"correct\"\nafter_think = true\n",
            quoted(&world.join("grpo-problems.jsonl")),
            self.seed
        )
    }

    fn study_file(&self, world: &Path) -> String {
        let at = |name: &str| quoted(&world.join(name));
        let &Self { seed, limit, samples, draws, trials, .. } = self;
        let evidence =
            self.evidence.as_ref().map_or(String::new(), |p| format!("evidence = {}\n", quoted(p)));
        let benchmark = |name: &str, what: &str| {
            format!(
                "[[benchmark]]\nname = \"{name}\"\nlevel = \"{name}\"\nproblems = {}\ndescription = \"{what}\"\n\
                 template = \"plain\"\nsamples = {samples}\ntemperature = 0.7\nmax_tokens = {MAX_TOKENS}\nbatch = 100\n",
                at(&format!("{name}.jsonl"))
            )
        };
        let suite = |name: &str, what: &str| {
            let pairs = at(&format!("{name}-pairs.jsonl"));
            format!("[[suite]]\nname = \"{name}\"\npairs = {pairs}\ndescription = \"{what}\"\n")
        };
        [
            format!(
                "[study]\ndir = {}\ntitle = \"What post-training did to the heads of a small adding model\"\n\
                 description = \"Sums of three and four two-digit numbers. The base model was trained on sums of two numbers \
                 and on right steps between numbers in view that lead nowhere: it can do each step, and seldom takes the \
                 result of the last step and the next number. SFT shows worked solutions; GRPO rewards right answers and \
                 shows nothing.\"\nseed = {seed}\n{evidence}",
                quoted(&self.out)
            ),
            format!("[[checkpoint]]\nname = \"base\"\npath = {}\n", at("base")),
            format!("[[train]]\nname = \"SFT\"\nmethod = \"sft\"\nfile = {}\n", at("sft.toml")),
            format!("[[train]]\nname = \"GRPO\"\nmethod = \"grpo\"\nfile = {}\n", at("grpo.toml")),
            suite("hard", "Which number a chain takes next, in the order in which they are written; corrupt: the first and the third number exchanged. A sum may be done in any order, so that the number called wrong, or its first digit, may begin a right step too: these pairs ask for the order, which the solutions of SFT follow and GRPO need not."),
            suite("easy", "The first digit of a sum of two numbers; corrupt: one digit of one number changed."),
            suite("openings", "A reasoning opening against a direct one, of the same problem."),
            // 100 of 3,628 edges are the share that the paper takes, 5,000 of 183,555.
            "[[circuit]]\nname = \"top100\"\ntop = 100\n".to_owned(),
            "[[circuit]]\nname = \"tau0.1\"\nthreshold = 0.1\nsigned = true\n".to_owned(),
            format!("[attribution]\nendpoint = \"left\"\n[controls]\ntrials = {trials}\n"),
            benchmark("hard", "Sums of three and four numbers that no training run has seen, in any order."),
            benchmark("easy", "Sums of two numbers that no training run has seen, in either order."),
            format!(
                "[interventions]\ncontrol = \"easy\"\nactions = [\"zero\", \"mean\", \"resample\", 0.5, 1.3]\n\
                 draws = {draws}\nlimit = {limit}\n"
            ),
            "[think]\ncheckpoints = [\"SFT\"]\nlengths = [2]\nactions = [\"zero\", 0.5]\n\
             prefixes = { on = \"<think>\", off = \"<think></think>\" }\n"
                .to_owned(),
            format!("[transfers]\ndraws = {draws}\n"),
        ]
        .concat()
    }
}

fn quoted(path: &Path) -> String {
    toml::Value::String(path.display().to_string()).to_string()
}

fn problems(all: &[ToyProblem]) -> Result<String, Error> {
    let mut text = String::new();
    for problem in all {
        let line =
            serde_json::json!({ "id": problem.id, "problem": problem.prompt, "answer": problem.answer });
        text += &line.to_string();
        text.push('\n');
    }
    Ok(text)
}

fn text_of(pairs: &Pairs) -> Result<String, Error> {
    to_jsonl(pairs, &|ids| Ok(toy::decode(ids)))
}
