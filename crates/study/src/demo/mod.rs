//! The demo: a study on the embedded base model, from its weights to the report, in minutes.
//!
//! The same base is post-trained twice, by SFT on worked solutions and by GRPO on checked answers. Each
//! checkpoint is measured and its circuit found on the same held-out pairs. New heads are tested for emergence
//! and compared with the noise floor; emergent heads are ablated and scaled beside random heads of their layers.

mod facts;
mod find;
mod interventions;
mod measure;
mod solve;
mod train;

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::tensor::Device;
use model_qwen::{Dtype, Qwen};

use crate::results::{
    CheckpointFacts, Results, SCHEMA, Said, StageTime, SuiteFacts, TaskExample, TaskFacts, Training,
    TrainingMethod, VERSION,
};
use crate::{Error, caveats};
use toy::{self, Mix, Place, Split, ToyProblem};

use find::Finder;
use measure::Measurer;

/// The name of the set of problems that accuracies are of.
const SUITE: &str = "held-out sums";

/// What a demo is asked to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Demo {
    /// Where everything is written.
    pub out: PathBuf,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Held-out problems that accuracy is measured on.
    pub problems: usize,
    /// Pairs that circuits are found on.
    pub pairs: usize,
    /// Edges selected before pruning.
    pub edges: usize,
    /// SFT steps, and steps between its checkpoints.
    pub sft: (usize, usize),
    /// GRPO steps, and steps between its checkpoints.
    pub grpo: (usize, usize),
    /// Draws of random heads beside the zeroing of emergent heads.
    pub draws: usize,
    /// The command line, for the record.
    pub command: String,
}

impl Demo {
    /// The demo as `sparks demo` runs it.
    pub fn new(out: &Path, seed: u64) -> Self {
        Self {
            out: out.to_owned(),
            seed,
            problems: 400,
            pairs: 32,
            edges: 60,
            sft: (48, 8),
            grpo: (60, 6),
            draws: 19,
            command: "sparks demo".into(),
        }
    }
}

/// Where a demo is: what it is doing and what share of the whole is done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DemoProgress<'a> {
    /// What is being done.
    pub doing: &'a str,
    /// Share of the whole demo that is done, 0 to 1.
    pub done: f64,
}

/// Clock and counter of a demo's stages.
struct Clock<'a> {
    watch: &'a mut dyn FnMut(DemoProgress<'_>),
    started: Instant,
    stages: Vec<StageTime>,
    done: f64,
}

impl Clock<'_> {
    /// Ends the stage `name`, which is `share` of a demo.
    fn end(&mut self, name: &str, share: f64) {
        let seconds = self.started.elapsed().as_secs_f64();
        self.started = Instant::now();
        self.done += share;
        match self.stages.iter_mut().find(|s| s.name == name) {
            Some(stage) => stage.seconds += seconds,
            None => self.stages.push(StageTime { name: name.to_owned(), seconds }),
        }
    }

    /// Says what is being done, `part` of it (0 to 1) being finished, where the whole is `share` of a demo.
    fn say(&mut self, doing: &str, part: f64, share: f64) {
        (self.watch)(DemoProgress { doing, done: (self.done + part * share).min(1.0) });
    }
}

/// Runs the demo and writes its runs and its report into `demo.out`.
///
/// # Errors
/// A folder that cannot be written.
pub fn run(demo: &Demo, watch: &mut dyn FnMut(DemoProgress<'_>)) -> Result<Results, Error> {
    let device = Device::flex();
    let mut clock = Clock { watch, started: Instant::now(), stages: Vec::new(), done: 0.0 };
    std::fs::create_dir_all(&demo.out).map_err(|e| Error::io(&demo.out, e))?;
    let base = toy::base(&device)?;
    let folder = demo.out.join("base");
    let files = demo.out.join("files");
    toy::write_model_files(&files)?;
    model_qwen::save(&base, &folder, Dtype::F32, Some(&files))?;
    std::fs::remove_dir_all(&files).map_err(|e| Error::io(&files, e))?;

    let problems = toy::distinct(Mix::HARD, Split::HeldOut, demo.seed, demo.problems)?;
    let finder = Finder::new(
        toy::swap_pairs(Mix::HARD, Place::FirstStep, demo.seed, demo.pairs)?,
        demo.edges,
        5,
        demo.seed,
    );
    clock.say("measuring the base model", 0.0, 0.04);
    let solved_before = solve::solve(&base, &problems, &mut ())?;
    let found = finder.find(&base)?;
    let noise = finder.noise("base", &found)?;
    clock.end("base: accuracy and circuit", 0.04);

    let mut trainings = Vec::new();
    let mut models: Vec<(Training, Qwen, solve::Solved)> = Vec::new();
    let measurer =
        Measurer { demo, problems: &problems, finder: &finder, before: &solved_before, base: &found };
    for method in [TrainingMethod::Sft, TrainingMethod::Grpo] {
        let (name, share) = if method == TrainingMethod::Sft { ("SFT", 0.22) } else { ("GRPO", 0.40) };
        let doing = format!("{name} from the base model");
        let run = train::train(demo, method, &base, &folder, |part| clock.say(&doing, part, share))?;
        clock.end(&doing, share);
        models.push(measurer.measure(method, run, &mut clock)?);
    }

    let mut interventions = Vec::new();
    for (training, model, _) in &models {
        let doing = format!("ablating and scaling {} heads", training.name);
        let run = interventions::Run { demo, problems: &problems, training, model, base: &base };
        interventions.extend(interventions::all(&run, |part| clock.say(&doing, part, 0.10))?);
        clock.end(&doing, 0.10);
    }

    let examples =
        problems.iter().take(4).enumerate().map(|(i, p)| example(p, i, &solved_before, &models)).collect();
    trainings.extend(models.into_iter().map(|(training, ..)| training));
    let mut results = Results {
        schema: SCHEMA.into(),
        version: VERSION,
        title: "What post-training did to the heads of a small adding model".into(),
        notice: None,
        run: facts::facts(demo, clock.stages.clone()),
        model: facts::model_facts(&base),
        task: TaskFacts {
            description: "Sums of three and four two-digit numbers. The base model saw 70 % of its problems answered \
                          directly and 30 % worked out step by step; SFT shows worked solutions, GRPO rewards right \
                          answers and shows nothing."
                .into(),
            suites: vec![SuiteFacts {
                name: SUITE.into(),
                description: "Sums that no training run has seen, numbers in any order".into(),
                n: problems.len(),
            }],
            examples,
        },
        base: CheckpointFacts {
            label: "base".into(),
            step: 0,
            accuracy: vec![solved_before.accuracy()],
            circuit: Some(found.facts.clone()),
        },
        trainings,
        noise: Some(noise),
        false_discovery_rate: Some(find::RATE),
        heads: Vec::new(),
        interventions,
        warnings: Vec::new(),
        settings: facts::settings(demo),
    };
    results.warnings = caveats(&results);
    crate::write_report(&results, &demo.out)?;
    clock.say("report written", 1.0, 0.0);
    Ok(results)
}

fn example(
    problem: &ToyProblem,
    at: usize,
    before: &solve::Solved,
    models: &[(Training, Qwen, solve::Solved)],
) -> TaskExample {
    let said = |checkpoint: &str, solved: &solve::Solved| Said {
        checkpoint: checkpoint.into(),
        text: solved.completions[at].clone(),
        correct: solved.right[at],
    };
    let after = models.iter().map(|(t, _, solved)| {
        said(t.checkpoints.last().map_or(t.name.as_str(), |c| c.label.as_str()), solved)
    });
    TaskExample {
        prompt: problem.prompt.clone(),
        answer: problem.answer.clone(),
        completions: std::iter::once(said("base", before)).chain(after).collect(),
    }
}
