//! The values that edges outside a circuit carry, for one batch.

use std::sync::Arc;

use burn::tensor::{DType, Tensor};
use hooks::{Batch, Heads, Hook, HookedModel, Recorder, Rows, Site, Stream, Wiring, Writer};

use crate::plan::Form;
use crate::{EdgePlan, Error, WriterMeans};

/// The value that an edge outside a circuit carries.
#[derive(Debug, Clone)]
pub enum Baseline {
    /// Its writer's output on the corrupt prompt.
    Corrupt,
    /// Zero.
    Zero,
    /// Its writer's mean over tokens.
    Mean(Arc<WriterMeans>),
    /// Its writer's mean at that position.
    MeanPositional(Arc<WriterMeans>),
}

/// A [`Baseline`] as tensors for one batch: the fill of every writer, and of every reader the base that it
/// reads when no edge is kept.
#[derive(Debug)]
pub struct EdgeFill {
    values: Values,
    /// The residual stream made of fills: before attention and before the MLP of each layer, and at the end.
    bases: Vec<Option<Tensor<3>>>,
    seq: usize,
    rows: Option<usize>,
    corrupt_logits: Option<Tensor<3>>,
}

#[derive(Debug)]
enum Values {
    Zero,
    Recorded(Box<Recorded>),
    Means { means: Arc<WriterMeans>, positional: bool },
}

/// What the writers that were asked for wrote in the corrupt run.
#[derive(Debug)]
struct Recorded {
    embed: Option<Tensor<3>>,
    writes: Vec<Option<Tensor<4>>>,
    mlps: Vec<Option<Tensor<3>>>,
}

impl EdgeFill {
    /// Makes what `plans` need of `baseline`. [`Baseline::Corrupt`] runs `model` once on `corrupt`, the
    /// corrupt prompts in the rows of the clean ones, or one row that serves every row of a later run.
    ///
    /// # Errors
    /// A batch padded on the left, plans or means of another model, or prompts longer than the positional means.
    pub fn new(
        model: &dyn HookedModel,
        baseline: &Baseline,
        corrupt: &Batch,
        plans: &[&EdgePlan],
    ) -> Result<Self, Error> {
        if corrupt.is_left_padded() {
            return Err(Error::input("pairs: padded on the left, expected padding on the right"));
        }
        let wiring = model.wiring();
        let same = |w: Wiring| w.with(wiring.key_value) == wiring;
        if !plans.iter().all(|p| same(p.wiring)) {
            return Err(Error::input("circuit: its sizes are not this model's"));
        }
        let seq = corrupt.seq();
        match baseline {
            Baseline::Corrupt => Ok(Self::corrupt(model, corrupt, plans)),
            Baseline::Zero => {
                let bases = constants(model).into_iter().map(Some).collect();
                Ok(Self { values: Values::Zero, bases, seq, rows: None, corrupt_logits: None })
            }
            Baseline::Mean(means) | Baseline::MeanPositional(means) => {
                let positional = matches!(baseline, Baseline::MeanPositional(_));
                if !same(means.wiring()) {
                    return Err(Error::input("means: measured on a model of other sizes"));
                }
                if positional && seq > means.n_positions() {
                    return Err(Error::input(format!(
                        "means: measured over {} positions, and a prompt has {seq}",
                        means.n_positions()
                    )));
                }
                let values = Values::Means { means: Arc::clone(means), positional };
                let mut fill = Self { values, bases: Vec::new(), seq, rows: None, corrupt_logits: None };
                fill.bases = fill.summed(wiring, constants(model));
                Ok(fill)
            }
        }
    }

    fn corrupt(model: &dyn HookedModel, corrupt: &Batch, plans: &[&EdgePlan]) -> Self {
        let n = model.wiring().n_layers;
        let mut sites: Vec<Site> = Vec::new();
        for plan in plans {
            let kept = plan.form == Form::Kept;
            sites.extend(plan.slot(Writer::Input).map(|_| Site::from(Stream::Embed)));
            for l in 0..n {
                sites.extend(plan.head_slots(l).next().map(|_| Site::from(Heads::Write(l))));
                sites.extend(plan.slot(Writer::Mlp(l)).map(|_| Site::from(Stream::MlpOut(l))));
                sites
                    .extend((kept && plan.attention[l].is_some()).then_some(Site::from(Stream::ResidPre(l))));
                sites.extend((kept && plan.mlps[l].is_some()).then_some(Site::from(Stream::ResidMid(l))));
            }
            sites.extend(kept.then_some(Site::from(Stream::ResidPost(n - 1))));
        }
        sites.sort();
        sites.dedup();
        let mut seen = Recorder::new(sites);
        let logits = model.run(corrupt, &mut seen as &mut dyn Hook).inner();
        let mut stream = |site: Stream| seen.take_stream(site).map(Tensor::inner);
        let mut bases: Vec<_> =
            (0..n).flat_map(|l| [Stream::ResidPre(l), Stream::ResidMid(l)]).map(&mut stream).collect();
        bases.push(stream(Stream::ResidPost(n - 1)));
        let embed = stream(Stream::Embed);
        let mlps = (0..n).map(|l| stream(Stream::MlpOut(l))).collect();
        let writes = (0..n).map(|l| seen.take_heads(Heads::Write(l)).map(Tensor::inner)).collect();
        Self {
            values: Values::Recorded(Box::new(Recorded { embed, writes, mlps })),
            bases,
            seq: corrupt.seq(),
            rows: Some(corrupt.batch()),
            corrupt_logits: Some(logits),
        }
    }

    /// The logits of the corrupt run, where there was one: `[batch, seq, vocab]`, or `[batch, 1, vocab]` if
    /// the batch asked for [`Rows::Last`].
    pub fn corrupt_logits(&self) -> Option<&Tensor<3>> {
        self.corrupt_logits.as_ref()
    }

    /// Checks that a run on `batch` can use this.
    pub(crate) fn fits(&self, batch: &Batch) -> bool {
        batch.seq() == self.seq && self.rows.is_none_or(|rows| rows == 1 || rows == batch.batch())
    }

    /// The fill of `writer`, `[batch or 1, seq or 1, d_model]`; `None` is zero.
    ///
    /// # Panics
    /// If the corrupt run was recorded for other plans.
    pub(crate) fn writer(&self, writer: Writer) -> Option<Tensor<3>> {
        let recorded =
            |x: &Option<Tensor<3>>| x.clone().unwrap_or_else(|| panic!("{writer} was not recorded"));
        match &self.values {
            Values::Zero => None,
            Values::Means { means, positional: false } => Some(means.overall(writer).unsqueeze()),
            Values::Means { means, positional: true } => {
                let mean = means.positional(writer);
                let d = mean.dims()[1];
                Some(mean.slice([0..self.seq, 0..d]).unsqueeze())
            }
            Values::Recorded(run) => Some(match writer {
                Writer::Input => recorded(&run.embed),
                Writer::Mlp(l) => recorded(&run.mlps[l]),
                Writer::Head(h) => {
                    let x =
                        run.writes[h.layer].clone().unwrap_or_else(|| panic!("{writer} was not recorded"));
                    let [batch, _, seq, d] = x.dims();
                    x.slice([0..batch, h.head..h.head + 1, 0..seq, 0..d]).squeeze_dim(1)
                }
            }),
        }
    }

    /// The base before attention (`2 l`), before the MLP (`2 l + 1`) or at the end (`2 n_layers`), spread
    /// to `shape`.
    pub(crate) fn base(&self, index: usize, shape: [usize; 3], dtype: DType) -> Tensor<3> {
        let base = self.bases[index].clone().unwrap_or_else(|| panic!("base {index} was not recorded"));
        base.cast(dtype).expand(shape)
    }

    /// Running sums of fills, on top of what no writer accounts for.
    fn summed(&self, wiring: Wiring, constants: Vec<Tensor<3>>) -> Vec<Option<Tensor<3>>> {
        let of = |writer: Writer| self.writer(writer).expect("means have every writer");
        let mut sum = of(Writer::Input);
        let mut constants = constants.into_iter();
        let mut bases = Vec::new();
        for l in 0..wiring.n_layers {
            bases.extend(constants.next().map(|c| Some(sum.clone() + c)));
            for head in wiring.heads().filter(|h| h.layer == l) {
                sum = sum + of(Writer::Head(head));
            }
            bases.extend(constants.next().map(|c| Some(sum.clone() + c)));
            sum = sum + of(Writer::Mlp(l));
        }
        bases.extend(constants.next().map(|c| Some(sum + c)));
        bases
    }
}

/// The part of the residual stream that no writer accounts for, at each base: the running sum of attention's output
/// biases, `[1, 1, d_model]`. Found as what attention adds less what its heads write, on one token; where
/// that is rounding, it is zero.
fn constants(model: &dyn HookedModel) -> Vec<Tensor<3>> {
    let wiring = model.wiring();
    let sites = (0..wiring.n_layers).flat_map(|l| [Site::from(Heads::Write(l)), Stream::AttnOut(l).into()]);
    let mut seen = Recorder::new(sites);
    let one = Batch::new(&[vec![0]]).expect("one token").rows(Rows::Last);
    let _ = model.run(&one, &mut seen);
    let mut sum = Tensor::<3>::zeros([1, 1, wiring.d_model], &model.device().without_autodiff());
    let mut all = Vec::new();
    for l in 0..wiring.n_layers {
        all.push(sum.clone());
        let whole = seen.stream(Stream::AttnOut(l)).inner().cast(DType::F32);
        let heads = seen.heads(Heads::Write(l)).inner().cast(DType::F32).sum_dim(1).squeeze_dim::<3>(1);
        let largest = |x: &Tensor<3>| x.clone().abs().max().into_scalar::<f32>();
        let bias = whole.clone() - heads;
        if largest(&bias) > 1e-4 * largest(&whole) {
            sum = sum + bias;
        }
        all.push(sum.clone());
    }
    all.push(sum);
    all
}
