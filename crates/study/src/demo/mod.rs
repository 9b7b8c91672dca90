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
    Accuracy, CheckpointFacts, Results, SCHEMA, Said, StageTime, SuiteFacts, TaskExample, TaskFacts,
    Training, TrainingMethod, VERSION,
};
use crate::{Error, caveats};
use toy::{self, Mix, Place, Split, ToyProblem};

use find::Finder;
use measure::Measurer;

/// The suites: name, what is in it, its problems. Interventions are measured on the first.
const SUITES: [(&str, &str, Mix); 2] = [
    ("hard", "Sums of three and four numbers that no training run has seen, in any order.", Mix::HARD),
    ("easy", "Sums of two numbers that no training run has seen, in either order.", Mix::EASY),
];

/// Held-out problems of one suite.
struct Suite {
    name: &'static str,
    problems: Vec<ToyProblem>,
}

/// A model's answers on every suite, in their order.
fn solve_all(model: &Qwen, suites: &[Suite]) -> Result<Vec<solve::Solved>, Error> {
    suites.iter().map(|suite| solve::solve(model, &suite.problems, &mut ())).collect()
}

/// The accuracies of those answers.
fn accuracies(suites: &[Suite], solved: &[solve::Solved]) -> Vec<Accuracy> {
    suites.iter().zip(solved).map(|(suite, solved)| solved.accuracy(suite.name)).collect()
}

/// What a demo is asked to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Demo {
    /// Where everything is written.
    pub out: PathBuf,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Held-out problems of each suite that accuracy is measured on.
    pub problems: usize,
    /// Pairs that circuits are found on.
    pub pairs: usize,
    /// Edges selected before pruning: 100 of 3,628 are the share that the paper takes, 5,000 of 183,555.
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
            edges: 100,
            sft: (96, 12),
            grpo: (160, 20),
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

    let suites = SUITES.map(|(name, _, mix)| {
        Ok(Suite { name, problems: toy::distinct(mix, Split::HeldOut, demo.seed, demo.problems)? })
    });
    let suites: Vec<Suite> = suites.into_iter().collect::<Result<_, Error>>()?;
    let finder = Finder::new(
        toy::swap_pairs(Mix::HARD, Place::NextNumber, demo.seed, demo.pairs)?,
        demo.edges,
        5,
        demo.seed,
    );
    clock.say("measuring the base model", 0.0, 0.04);
    let solved_before = solve_all(&base, &suites)?;
    let found = finder.find(&base)?;
    let noise = finder.noise("base", &found)?;
    clock.end("base: accuracy and circuit", 0.04);

    let mut trainings = Vec::new();
    let mut models: Vec<Measured> = Vec::new();
    let measurer = Measurer { demo, suites: &suites, finder: &finder, before: &solved_before, base: &found };
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
        let run = interventions::Run { demo, suite: &suites[0], training, model, base: &base };
        interventions.extend(interventions::all(&run, |part| clock.say(&doing, part, 0.10))?);
        clock.end(&doing, 0.10);
    }

    let examples = (0..4.min(demo.problems))
        .map(|at| example(&suites[0].problems[at], at, &solved_before, &models))
        .collect();
    trainings.extend(models.into_iter().map(|(training, ..)| training));
    let mut results = Results {
        schema: SCHEMA.into(),
        version: VERSION,
        title: "What post-training did to the heads of a small adding model".into(),
        notice: None,
        run: facts::facts(demo, clock.stages.clone()),
        model: facts::model_facts(&base),
        task: TaskFacts {
            description: "Sums of three and four two-digit numbers. The base model was trained on sums of two numbers and on \
                          right steps between numbers in view that lead nowhere: it can do each step, and does not \
                          take the result of the last step and the next number. SFT shows worked solutions; GRPO \
                          rewards right answers and shows nothing."
                .into(),
            suites: SUITES
                .map(|(name, description, _)| SuiteFacts {
                    name: name.into(),
                    description: description.into(),
                    n: demo.problems,
                    pairs: None,
                })
                .into(),
            examples,
        },
        base: CheckpointFacts {
            label: "base".into(),
            step: 0,
            accuracy: accuracies(&suites, &solved_before),
            circuit: Some(found.facts.clone()),
        },
        trainings,
        noise: Some(noise),
        false_discovery_rate: Some(find::RATE),
        heads: Vec::new(),
        checkpoints: Vec::new(),
        benchmarks: Vec::new(),
        answers: Vec::new(),
        interventions,
        think: Vec::new(),
        cases: Vec::new(),
        transfers: Vec::new(),
        hypotheses: Vec::new(),
        controls: None,
        stability: None,
        warnings: Vec::new(),
        settings: facts::settings(demo),
    };
    results.warnings = caveats(&results);
    crate::write_report(&results, &demo.out)?;
    clock.say("report written", 1.0, 0.0);
    Ok(results)
}

/// A run with its last checkpoint and what that answers on each suite.
type Measured = (Training, Qwen, Vec<solve::Solved>);

/// Problem `at` of the first suite with the answers of every model.
fn example(problem: &ToyProblem, at: usize, before: &[solve::Solved], models: &[Measured]) -> TaskExample {
    let said = |checkpoint: &str, solved: &[solve::Solved]| Said {
        checkpoint: checkpoint.into(),
        text: solved[0].completions[at].clone(),
        correct: solved[0].right[at],
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
