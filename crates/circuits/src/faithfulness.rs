//! Faithfulness: how much of the model's metric remains when a circuit runs alone.
//!
//! Every edge outside the circuit carries a fill (the corrupt run, zero, a mean); then
//!
//! ```text
//! faithfulness = (m(circuit) − m(∅)) / (m(model) − m(∅))
//! ```
//!
//! with m the mean metric over pairs and ∅ the empty circuit under the same fill (Wang et al. 2023; Hanna et
//! al. 2024; Mueller et al. 2025). It is 1 for the full graph, 0 for the empty one, and may leave [0, 1].

use ablation::{Baseline, EdgeFill, EdgePatch, EdgePlan};
use burn::tensor::Tensor;
use hooks::{Batch, Pair, Task};
use serde::{Deserialize, Serialize};

use crate::{Circuit, Error};

/// The metric of one pair, for the model, the empty circuit and the circuit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PairFaithfulness {
    /// The pair's name.
    pub id: String,
    /// The model on the clean prompt.
    pub clean: f32,
    /// The empty circuit: under [`Baseline::Corrupt`], the model on the corrupt prompt.
    pub corrupt: f32,
    /// The circuit.
    pub circuit: f32,
}

/// Means over pairs in the metric's unit, and normalised faithfulness.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Faithfulness {
    /// The model on the clean prompts.
    pub clean: f32,
    /// The empty circuit.
    pub corrupt: f32,
    /// The circuit.
    pub circuit: f32,
    /// `(circuit − corrupt) / (clean − corrupt)`; not finite where clean and corrupt do not differ.
    pub faithfulness: f32,
    /// Each pair, in the order of the pairs.
    pub per_pair: Vec<PairFaithfulness>,
}

/// Evaluates `circuit`, as it is, on the task's pairs. Prune it first: a head without inputs reads fills alone.
///
/// Pairs run in batches of at most [`Task::batch_size`], which changes nothing beyond rounding. The cost is two
/// plain runs and one patched run of each pair.
///
/// # Errors
/// A batch size of 0, a circuit of another model, a pair without what the metric needs, a metric that is not
/// a number, or what [`EdgeFill::new`] refuses.
pub fn faithfulness(task: &Task<'_>, circuit: &Circuit, fill: &Baseline) -> Result<Faithfulness, Error> {
    let all = faithfulness_of(task, &[circuit], fill)?;
    all.into_iter().next().ok_or_else(|| Error::input("circuits: none given"))
}

/// Evaluates several circuits on the same pairs: the clean and the corrupt run are shared.
///
/// # Errors
/// As [`faithfulness`].
pub fn faithfulness_of(
    task: &Task<'_>,
    circuits: &[&Circuit],
    fill: &Baseline,
) -> Result<Vec<Faithfulness>, Error> {
    let mut measured = measure_batches(task, circuits, fill, &|_| true)?;
    measured.sort_by_key(|pair| pair.place);
    Ok((0..circuits.len()).map(|at| Faithfulness::of(&measured, at)).collect())
}

/// The metric of one pair, for the model, the empty circuit and each of several circuits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The pair's place among the task's pairs, from 0.
    pub place: usize,
    /// The pair's name.
    pub id: String,
    /// The model on the clean prompt.
    pub clean: f32,
    /// The empty circuit.
    pub corrupt: f32,
    /// The circuits, in their order.
    pub circuits: Vec<f32>,
}

/// What [`faithfulness_of`] measures on some of the pairs: those of the batches ([`Task::batches`], numbered from 0)
/// for which `has` is true, batch by batch. A batch has the same bits whichever others are measured beside it.
///
/// # Errors
/// As [`faithfulness`].
pub fn measure_batches(
    task: &Task<'_>,
    circuits: &[&Circuit],
    fill: &Baseline,
    has: &dyn Fn(usize) -> bool,
) -> Result<Vec<Measured>, Error> {
    task.check()?;
    let (model, wiring) = (task.model, task.wiring());
    let circuits: Vec<Circuit> = circuits.iter().map(|c| c.on(wiring)).collect::<Result<_, _>>()?;
    let empty = circuits.first().map_or(Circuit::empty(wiring), |c| Circuit::empty(c.wiring()));
    let plans: Vec<EdgePlan> = std::iter::once(&empty)
        .chain(&circuits)
        .map(|c| EdgePlan::new(&[c.selection()]))
        .collect::<Result<_, _>>()?;

    // Pairs of like length run together.
    let batches: Vec<_> =
        task.batches().enumerate().filter(|(batch, _)| has(*batch)).map(|(_, of)| of).collect();
    let one = |(places, members): &(Vec<usize>, Vec<&Pair>)| -> Result<Vec<Measured>, Error> {
        let side = |prompt: fn(&Pair) -> &Vec<u32>| {
            let prompts: Vec<Vec<u32>> = members.iter().map(|pair| prompt(pair).clone()).collect();
            Batch::new(&prompts).map(|batch| batch.rows(members[0].rows()))
        };
        let (clean, corrupt) = (side(|p| &p.clean)?, side(|p| &p.corrupt)?);
        let clean_logits = model.run(&clean, &mut ()).inner();
        let measure = |logits: Tensor<3>| task.metric.read(logits, members, Some(&clean_logits));
        let fills = EdgeFill::new(model, fill, &corrupt, &plans.iter().collect::<Vec<_>>())?;
        let whole = measure(clean_logits.clone())?;
        let none = match fills.corrupt_logits() {
            Some(logits) => measure(logits.clone())?,
            None => measure(model.run(&clean, &mut EdgePatch::new(&plans[0], &fills)))?,
        };
        let mut parts = Vec::with_capacity(circuits.len());
        for (plan, circuit) in plans[1..].iter().zip(&circuits) {
            // The empty circuit is m(∅) itself, so that its faithfulness is exactly 0.
            parts.push(match circuit.n_edges() {
                0 => none.clone(),
                _ => measure(model.run(&clean, &mut EdgePatch::new(plan, &fills)))?,
            });
        }
        let measured = places.iter().zip(members).enumerate().map(|(j, (&place, pair))| Measured {
            place,
            id: pair.id.clone(),
            clean: whole[j],
            corrupt: none[j],
            circuits: parts.iter().map(|part| part[j]).collect(),
        });
        Ok(measured.collect())
    };
    let found = task.each(&batches, one).collect::<Result<Vec<_>, Error>>()?;
    Ok(found.into_iter().flatten().collect())
}

impl Faithfulness {
    /// The faithfulness of circuit number `at` of those that were measured on `pairs`.
    pub fn of(pairs: &[Measured], at: usize) -> Self {
        let mean = |f: &dyn Fn(&Measured) -> f32| {
            pairs.iter().map(|pair| f64::from(f(pair))).sum::<f64>() / pairs.len() as f64
        };
        let (clean, corrupt, circuit) = (mean(&|p| p.clean), mean(&|p| p.corrupt), mean(&|p| p.circuits[at]));
        let of = |pair: &Measured| PairFaithfulness {
            id: pair.id.clone(),
            clean: pair.clean,
            corrupt: pair.corrupt,
            circuit: pair.circuits[at],
        };
        Self {
            clean: clean as f32,
            corrupt: corrupt as f32,
            circuit: circuit as f32,
            // No difference is 0, never -0.
            faithfulness: ((circuit - corrupt) / (clean - corrupt) + 0.0) as f32,
            per_pair: pairs.iter().map(of).collect(),
        }
    }
}
