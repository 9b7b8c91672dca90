//! Stage `controls`: attribution, circuits and tests on pairs of checkpoints of which it is known what changed.

use common::Error;
use hooks::{Head, Task};
use model_qwen::Qwen;
use rand::SeedableRng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use serde_json::json;
use stats::{Interval, clustered, wilson};

use super::answers::LEVEL;
use super::attribution::{Scored, score};
use super::circuits::Ranked;
use super::pairs::Suite;
use super::{Subject, heads};
use crate::config::CircuitConfig;
use crate::jobs::Job;
use crate::results::{Control, ControlTrial, Controls, MatchedNoise};
use crate::{Stage, Study};
use ::circuits::{Fate, HeadEmergence};

const COMMAND: &str = "sparks study --only controls";

/// Which change is planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Positive,
    Negative,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Positive => "positive",
            Self::Negative => "negative",
        }
    }
}

/// The controls of the study on the base, the first suite and the first rule; `lasts` are the trainings with their last
/// checkpoints. `None` where trials are not done here.
pub(crate) fn controls(
    study: &mut Study<'_>,
    (base, lasts): (&Subject, &[(&str, &Subject)]),
    (suite, rule): (&Suite, &CircuitConfig),
    scored: Option<&Scored>,
) -> Result<Option<Controls>, Error> {
    let controls = study.config.controls.clone();
    let mut all = [Vec::new(), Vec::new()];
    for (kind, into) in [Kind::Positive, Kind::Negative].into_iter().zip(&mut all) {
        for k in 0..controls.trials as u64 {
            study.work.go_on()?;
            into.extend(trial(study, base, (suite, rule), (kind, k), scored)?);
        }
    }
    let mut as_large = Vec::new();
    for &(training, last) in lasts {
        let mut trials = Vec::new();
        for k in 0..controls.trials as u64 {
            study.work.go_on()?;
            trials.extend(matched(study, (base, training, last), (suite, rule), k, scored)?);
        }
        as_large.push((training, trials));
    }
    let of_lasts = as_large.iter().map(|(_, trials)| trials.len());
    if all.iter().map(Vec::len).chain(of_lasts).any(|n| n < controls.trials) {
        return Ok(None);
    }
    let matched = as_large.into_iter().map(|(training, trials)| MatchedNoise {
        training: training.to_owned(),
        change: trials.first().map_or(0.0, |trial| trial.change),
        command: COMMAND.into(),
        trials: trials.into_iter().map(|trial| trial.trial).collect(),
    });
    let [positive, negative] = all;
    let noise = controls.noise;
    let of = |planted: String, trials: Vec<ControlTrial>, kind: Kind| Control {
        planted,
        command: COMMAND.into(),
        rate: rate(&trials),
        head_rate: head_rate(&trials).filter(|_| kind == Kind::Negative),
        trials,
        level: controls.rate,
    };
    let moved = "What one head of the base's circuit does is done by another head of its layer, which wrote nothing before; \
                 the function of the model stays the same.";
    let noisy = format!(
        "Every entry of the blocks' matrices is moved by noise whose standard deviation is {noise} times the matrix's \
         root mean square."
    );
    Ok(Some(Controls {
        positive: Some(of(moved.into(), positive, Kind::Positive)),
        negative: Some(of(noisy, negative, Kind::Negative)),
        matched: matched.collect(),
    }))
}

/// Share of trials that found something, with Wilson's interval.
pub(crate) fn rate(trials: &[ControlTrial]) -> Interval {
    wilson(trials.iter().filter(|t| t.found).count(), trials.len(), LEVEL)
}

/// Share of single heads in which a change was found. Heads of a trial share its pairs and its noise, so that the interval
/// is over trials. `None` where it is not known of all.
pub(crate) fn head_rate(trials: &[ControlTrial]) -> Option<Interval> {
    let known = !trials.is_empty() && trials.iter().all(|t| t.tested > 0);
    let rates: Vec<f64> = trials.iter().map(|t| t.changed as f64 / t.tested as f64).collect();
    known.then(|| clustered(&rates, LEVEL))
}

fn trial(
    study: &mut Study<'_>,
    base: &Subject,
    (suite, rule): (&Suite, &CircuitConfig),
    (kind, k): (Kind, u64),
    scored: Option<&Scored>,
) -> Result<Option<ControlTrial>, Error> {
    let (how, controls) = (study.config.attribution.clone(), study.config.controls.clone());
    let seed = study.config.study.seed + k;
    let noise = (kind == Kind::Negative).then_some(controls.noise);
    let inputs = json!({
        "scores": scored.map(|s| &s.hash), "model": base.hash, "rule": rule, "draws": controls.draws,
        "rate": controls.rate, "seed": seed, "noise": noise, "heads tested": "all",
    });
    let name = format!("{}/seed-{seed}", kind.name());
    let job = Job { stage: Stage::Controls, name: &name, inputs, files: &[], ready: scored.is_some() };
    let Study { jobs, work, .. } = study;
    let done = jobs.run(&job, |_| {
        work.say(format!("controls: {}, seed {seed}", kind.name()));
        let scored = scored.ok_or_else(|| Error::internal("the base was scored"))?;
        let pairs = suite.of(base, true)?;
        let metric = how.metric.clone();
        let model = work.model(base)?;
        let ranked = |model: &Qwen| -> Result<Ranked, Error> {
            let task = Task::new(model, &pairs, metric.clone());
            Ranked::new(&score(&task, &how, (0, 1), rule.source_only)?, rule)
        };
        let of_base = Ranked::new(&scored.file, rule)?;
        let (planted, before, after) = match kind {
            Kind::Positive => {
                let (from, to) =
                    planted(model, &of_base.circuit(rule)?.heads().into_iter().collect::<Vec<_>>(), seed)?;
                let moved = toy::moved_head(model, from, to)?;
                (vec![to], ranked(&moved.before)?, ranked(&moved.after)?)
            }
            Kind::Negative => (Vec::new(), of_base, ranked(&toy::noisy(model, controls.noise, seed)?)?),
        };
        Ok(of_tests(&heads::changed(rule, &controls, seed, (&before, &after))?, seed, planted))
    })?;
    Ok(done.map(|done| done.result))
}

/// A trial with what the tests of its heads found.
fn of_tests(tested: &[HeadEmergence], seed: u64, planted: Vec<Head>) -> ControlTrial {
    let with = |fates: &[Fate]| -> Vec<Head> {
        tested.iter().filter(|t| fates.contains(&t.fate)).map(|t| t.head).collect()
    };
    let emergent = with(&[Fate::Emergent]);
    let found = match planted.is_empty() {
        true => !emergent.is_empty(),
        false => planted.iter().all(|head| emergent.contains(head)),
    };
    let (new, lost) = (with(&[Fate::Emergent, Fate::New]), with(&[Fate::Lost]));
    let changed = tested.iter().filter(|t| t.significant).count();
    ControlTrial { seed, planted, new, emergent, lost, tested: tested.len(), changed, found }
}

/// A trial with noise as large as a training's change.
#[derive(Debug, Serialize, Deserialize)]
struct AsLarge {
    /// The median over matrices.
    change: f64,
    trial: ControlTrial,
}

/// Trial `k` with every matrix of the base moved by noise as far as the training moved it.
fn matched(
    study: &mut Study<'_>,
    (base, training, last): (&Subject, &str, &Subject),
    (suite, rule): (&Suite, &CircuitConfig),
    k: u64,
    scored: Option<&Scored>,
) -> Result<Option<AsLarge>, Error> {
    let (how, controls) = (study.config.attribution.clone(), study.config.controls.clone());
    let seed = study.config.study.seed + k;
    let inputs = json!({
        "scores": scored.map(|s| &s.hash), "model": base.hash, "as large as": last.hash, "rule": rule,
        "draws": controls.draws, "rate": controls.rate, "seed": seed,
    });
    let name = format!("matched/{training}/seed-{seed}");
    let ready = scored.is_some() && last.ready;
    let job = Job { stage: Stage::Controls, name: &name, inputs, files: &[], ready };
    let Study { jobs, work, .. } = study;
    let done = jobs.run(&job, |_| {
        work.say(format!("controls: noise as large as the change of {training}, seed {seed}"));
        let scored = scored.ok_or_else(|| Error::internal("the base was scored"))?;
        let pairs = suite.of(base, true)?;
        let device = work.host.device()?;
        let model = work.model(base)?;
        let mut sizes = toy::changes(model, &last.load_merged(&device)?)?;
        let noisy = toy::noisy_by(model, &sizes, seed)?;
        let task = Task::new(&noisy, &pairs, how.metric.clone());
        let after = Ranked::new(&score(&task, &how, (0, 1), rule.source_only)?, rule)?;
        let tested = heads::changed(rule, &controls, seed, (&Ranked::new(&scored.file, rule)?, &after))?;
        sizes.sort_by(f64::total_cmp);
        Ok(AsLarge { change: sizes[sizes.len() / 2], trial: of_tests(&tested, seed, Vec::new()) })
    })?;
    Ok(done.map(|done| done.result))
}

/// A head of the circuit, and another that reads the same key/value head, at random.
fn planted(model: &Qwen, circuit: &[Head], seed: u64) -> Result<(Head, Head), Error> {
    let group = model.config.n_heads / model.config.n_kv_heads;
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x706c_616e);
    let no_pair = || {
        Error::input(
            "controls.trials: the positive control moves a head to another that reads the same key/value head, and this \
             model has one head for each; expected 0",
        )
    };
    if group < 2 {
        return Err(no_pair());
    }
    let &from = circuit.choose(&mut rng).ok_or_else(no_pair)?;
    let first = from.head / group * group;
    let others: Vec<usize> = (first..first + group).filter(|&h| h != from.head).collect();
    let &to = others.choose(&mut rng).ok_or_else(no_pair)?;
    Ok((from, Head { layer: from.layer, head: to }))
}
