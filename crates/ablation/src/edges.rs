//! The hook that runs a circuit as one forward pass: its edges carry the current run, all others a fill.
//!
//! The equations are in `plan.rs`. The hook keeps, for each writer that matters, its change
//! (`current − fill`) as one row of a matrix, and gives each block of readers its inputs by one product of
//! the selection's weights with that matrix, or row by row where edges are few. Nothing of size
//! `n_writers × n_readers × d_model` exists.

use burn::tensor::{DType, Tensor, TensorData};
use hooks::{Batch, Heads, Hook, KeyValue, Site, Stream, Writer};

use crate::plan::{Form, Readers};
use crate::{EdgeFill, EdgePlan};

/// A hook under which a run is the run of a circuit. The batch holds the clean prompts, padded on the right
/// if at all; each run needs a fresh hook.
///
/// The full graph leaves every activation as it was, and the empty one gives the logits what the fill's
/// residual stream holds: with [`Baseline::Corrupt`](crate::Baseline) exactly the corrupted run.
#[derive(Debug)]
pub struct EdgePatch<'a> {
    plan: &'a EdgePlan,
    fill: &'a EdgeFill,
    batch: usize,
    /// `[groups, slots, batch / groups * seq * d_model]`, f32.
    changes: Option<Tensor<3>>,
    /// What the present block's readers read beyond its base, `[batch, readers, seq, d_model]`.
    pending: Option<(usize, Tensor<4>)>,
}

impl<'a> EdgePatch<'a> {
    /// A run of `plan`'s circuits on top of `fill`, which must have been made for this plan.
    pub fn new(plan: &'a EdgePlan, fill: &'a EdgeFill) -> Self {
        Self { plan, fill, batch: 0, changes: None, pending: None }
    }

    fn kept(&self) -> bool {
        self.plan.form == Form::Kept
    }

    /// Puts the change of `writer` into its slot.
    fn write(&mut self, slot: usize, writer: Writer, current: Tensor<3>) {
        let [batch, seq, d] = current.dims();
        let current = current.cast(DType::F32);
        let change = match (self.fill.writer(writer), self.plan.form) {
            (Some(fill), Form::Kept) => current - fill.cast(DType::F32),
            (Some(fill), Form::Removed) => fill.cast(DType::F32) - current,
            (None, Form::Kept) => current,
            (None, Form::Removed) => -current,
        };
        let (groups, slots) = (self.plan.groups, self.plan.slots.len());
        let columns = batch / groups * seq * d;
        let change = change.reshape([groups, 1, columns]);
        let changes =
            self.changes.take().unwrap_or_else(|| Tensor::zeros([groups, slots, columns], &change.device()));
        self.changes = Some(changes.slice_assign([0..groups, slot..slot + 1, 0..columns], change));
    }

    /// What reader `i` reads beyond its base, edge by edge: `[batch, seq, d_model]`.
    fn sum(&self, readers: &Readers, i: usize, [seq, d]: [usize; 2]) -> Option<Tensor<3>> {
        let changes = self.changes.as_ref()?;
        let columns = changes.dims()[2];
        let edges = readers.edges(i).map(|(slot, weight)| {
            let change = changes.clone().slice([0..1, slot..slot + 1, 0..columns]);
            if weight == 1.0 { change } else { change * weight }
        });
        edges.reduce(|sum, change| sum + change).map(|sum| sum.reshape([self.batch, seq, d]))
    }

    /// What all of `readers` read beyond their base, by one product: `[batch, readers, seq, d_model]`.
    fn product(&self, readers: &Readers, [seq, d]: [usize; 2]) -> Option<Tensor<4>> {
        let changes = self.changes.as_ref()?;
        let [groups, _, columns] = changes.dims();
        let (n, slots) = (readers.n_readers, readers.n_slots);
        let weights = TensorData::new(readers.weights.clone(), [groups, n, slots]);
        let weights = Tensor::<3>::from_data(weights, &changes.device().without_autodiff());
        let changes = changes.clone().slice([0..groups, 0..slots, 0..columns]);
        let sum = hooks::matmul_f32(weights, changes);
        Some(if groups == 1 {
            sum.reshape([n, self.batch, seq, d]).swap_dims(0, 1)
        } else {
            sum.reshape([self.batch, n, seq, d])
        })
    }

    /// What reader `i` of the block at `base` reads beyond its base: `[batch, seq, d_model]`.
    fn more(&mut self, readers: &Readers, base: usize, i: usize, shape: [usize; 2]) -> Option<Tensor<3>> {
        if readers.few_edges {
            return self.sum(readers, i, shape);
        }
        if self.pending.as_ref().is_none_or(|(block, _)| *block != base) {
            self.pending = self.product(readers, shape).map(|all| (base, all));
        }
        let (_, all) = self.pending.as_ref()?;
        let [batch, _, seq, d] = all.dims();
        Some(all.clone().slice([0..batch, i..i + 1, 0..seq, 0..d]).squeeze_dim(1))
    }

    /// The input of the MLP (or of the logits): base, or the run's own stream, and what the edges bring.
    fn replaced(&mut self, readers: Option<&Readers>, base: usize, x: Tensor<3>) -> Tensor<3> {
        let ([batch, seq, d], dtype) = (x.dims(), x.dtype());
        let x = if self.kept() { self.fill.base(base, [batch, seq, d], dtype) } else { x };
        let readers = readers.filter(|r| r.n_readers > 0);
        match readers.and_then(|readers| self.more(readers, base, 0, [seq, d])) {
            Some(more) => x + more.cast(dtype),
            None => x,
        }
    }

    /// Which port a site is, and whether the plan counts its heads that way.
    fn port(&self, site: Heads) -> Option<(usize, usize)> {
        match (site, self.plan.wiring.key_value) {
            (Heads::QueryIn(l), _) => Some((l, 0)),
            (Heads::KeyInUngrouped(l), KeyValue::Ungrouped) | (Heads::KeyIn(l), KeyValue::Grouped) => {
                Some((l, 1))
            }
            (Heads::ValueInUngrouped(l), KeyValue::Ungrouped) | (Heads::ValueIn(l), KeyValue::Grouped) => {
                Some((l, 2))
            }
            _ => None,
        }
    }
}

impl Hook for EdgePatch<'_> {
    fn wants(&self, site: Site) -> bool {
        let plan = self.plan;
        match site {
            Site::Stream(Stream::Embed) => plan.slot(Writer::Input).is_some(),
            Site::Stream(Stream::MlpOut(l)) => plan.slot(Writer::Mlp(l)).is_some(),
            Site::Stream(Stream::ResidPre(l)) => self.kept() && plan.attention[l].is_some(),
            Site::Stream(Stream::MlpIn(l)) => plan.mlps[l].is_some(),
            Site::Stream(Stream::ResidPost(l)) => {
                l + 1 == plan.wiring.n_layers && (self.kept() || plan.logits.is_some())
            }
            Site::Heads(Heads::Write(l)) => plan.head_slots(l).next().is_some(),
            Site::Heads(heads) => self.port(heads).is_some_and(|(l, port)| {
                plan.attention[l].as_ref().is_some_and(|r| !r.ports[port].is_empty())
            }),
            Site::Stream(_) => false,
        }
    }

    fn begin(&mut self, batch: &Batch, offset: usize) {
        assert!(
            offset == 0 && !batch.is_left_padded(),
            "a circuit runs on whole prompts, padded on the right"
        );
        assert!(self.fill.fits(batch), "the fill was made for a batch of another shape");
        assert!(
            [1, batch.batch()].contains(&self.plan.groups),
            "one circuit for the batch, or one for each row"
        );
        (self.batch, self.changes, self.pending) = (batch.batch(), None, None);
    }

    fn on_stream(&mut self, site: Stream, x: Tensor<3>) -> Tensor<3> {
        let plan = self.plan;
        let wrote = |this: &mut Self, writer: Writer| {
            if let Some(slot) = plan.slot(writer) {
                this.write(slot, writer, x.clone());
            }
        };
        match site {
            Stream::Embed => wrote(self, Writer::Input),
            Stream::MlpOut(l) => wrote(self, Writer::Mlp(l)),
            // From here the run's own stream holds the base, so that ports without edges read it for free.
            Stream::ResidPre(l) => return self.replaced(None, 2 * l, x),
            Stream::MlpIn(l) => return self.replaced(plan.mlps[l].as_ref(), 2 * l + 1, x),
            Stream::ResidPost(l) => return self.replaced(plan.logits.as_ref(), 2 * (l + 1), x),
            _ => {}
        }
        x
    }

    fn on_heads(&mut self, site: Heads, x: Tensor<4>) -> Tensor<4> {
        let [batch, n_heads, seq, d] = x.dims();
        if let Heads::Write(l) = site {
            for (head, slot) in self.plan.head_slots(l) {
                let current = x.clone().slice([0..batch, head.head..head.head + 1, 0..seq, 0..d]);
                self.write(slot, Writer::Head(head), current.squeeze_dim(1));
            }
            return x;
        }
        let Some((l, port)) = self.port(site) else { return x };
        let Some(readers) = self.plan.attention[l].as_ref() else { return x };
        let start: usize = readers.ports[..port].iter().map(Vec::len).sum();
        // Where the heads are views of one stream, an assignment to one of them would first copy all.
        let one = |head: usize| x.clone().slice([0..batch, head..head + 1, 0..seq, 0..d]);
        let mut reads: Vec<Tensor<4>> = (0..n_heads).map(one).collect();
        for (i, &head) in readers.ports[port].iter().enumerate() {
            if let Some(more) = self.more(readers, 2 * l, start + i, [seq, d]) {
                reads[head] = reads[head].clone() + more.cast(x.dtype()).unsqueeze_dim(1);
            }
        }
        Tensor::cat(reads, 1)
    }
}
