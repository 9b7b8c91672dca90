//! Accuracy and circuit of every checkpoint of a run, the tests of its heads, and the changes of its head set.

use hooks::Head;

use super::find::{Finder, Found};
use super::{Clock, Demo, Measured, Suite, accuracies, solve, solve_all, train};
use crate::results::{CheckpointFacts, CurvePoint, Training, TrainingMethod};
use crate::{Error, dynamics};

/// What every checkpoint is measured with and compared with.
pub(super) struct Measurer<'a> {
    pub(super) demo: &'a Demo,
    pub(super) suites: &'a [Suite],
    pub(super) finder: &'a Finder,
    pub(super) before: &'a [solve::Solved],
    pub(super) base: &'a Found,
}

impl Measurer<'_> {
    /// Accuracy and circuit of every checkpoint of a run, and the changes of its head set; with the last
    /// checkpoint's model and answers.
    pub(super) fn measure(
        &self,
        method: TrainingMethod,
        run: train::Run,
        clock: &mut Clock<'_>,
    ) -> Result<Measured, Error> {
        let (name, label) = if method == TrainingMethod::Sft { ("SFT", "sft") } else { ("GRPO", "grpo") };
        let doing = format!("circuits of the {name} checkpoints");
        let n = run.snapshots.len();
        let (mut checkpoints, mut found, mut last) = (Vec::new(), Vec::new(), None);
        for (at, (step, model)) in run.snapshots.into_iter().enumerate() {
            clock.say(&doing, at as f64 / n as f64, 0.07);
            let solved = solve_all(&model, self.suites)?;
            let circuit = self.finder.find(&model)?;
            let tested = self.finder.test(self.base, &circuit)?;
            checkpoints.push(CheckpointFacts {
                label: format!("{label}-{step}"),
                step,
                accuracy: accuracies(self.suites, &solved),
                circuit: Some(circuit.facts.clone()),
            });
            found.push((step, circuit, tested));
            last = Some((model, solved));
        }
        let (model, solved) = last.ok_or_else(|| Error::input(format!("{name}: no checkpoint was kept")))?;
        let every = if method == TrainingMethod::Sft { self.demo.sft.1 } else { self.demo.grpo.1 } as u64;
        let heads_at = |step: u64, found: &Found, changed: Vec<Head>| dynamics::HeadsAt {
            step,
            heads: found.facts.heads.clone(),
            changed: Some(changed),
            reward: progress(&run.curve, step.saturating_sub(every)..step.max(1)),
        };
        let after: Vec<dynamics::HeadsAt> = found
            .iter()
            .map(|(step, f, tested)| {
                let changed = tested.iter().filter(|t| t.significant).map(|t| t.head).collect();
                heads_at(*step, f, changed)
            })
            .collect();
        let changes = dynamics::changes(&heads_at(0, self.base, Vec::new()), &after);
        let (turnover, reward): (Vec<f64>, Vec<f64>) =
            changes.iter().filter_map(|c| Some((c.turnover, c.reward_change?.abs()))).unzip();
        let all: Vec<&Found> = found.iter().map(|(_, f, _)| f).collect();
        let tested = found.last().map_or(&[][..], |(_, _, tested)| tested);
        let effects = self.finder.effects(self.base, &all, tested);
        let training = Training {
            name: name.into(),
            method: Some(method),
            curve: run.curve,
            checkpoints,
            gain: Some(solved[0].gain_over(&self.before[0], self.demo.seed)),
            changes,
            effects,
            dynamics: stats::spearman(&turnover, &reward, 2000, self.demo.seed),
        };
        clock.end(&doing, 0.07);
        Ok((training, model, solved))
    }
}

/// Mean reward (or loss) over the steps `steps`.
fn progress(curve: &[CurvePoint], steps: std::ops::Range<u64>) -> Option<f64> {
    let points = curve.iter().filter(|p| steps.contains(&p.step));
    let values: Vec<f64> = points.filter_map(|p| p.reward.or(p.loss)).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}
