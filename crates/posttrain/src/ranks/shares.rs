//! Who keeps the optimiser state of which trained parameter (ZeRO stage 1, Rajbhandari et al. 2020), and what the
//! ranks send each other in a step: gradients to the owners, new parameters to all.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use model_qwen::Param;

use super::{Ranks, gather};
use crate::Gradients;

/// Numbers that one rank sends in one exchange: 16 MB.
const WINDOW: usize = 1 << 22;

/// The ranks and the owner of each trained parameter.
#[derive(Debug, Clone)]
pub(crate) struct Shares {
    pub(crate) ranks: Arc<dyn Ranks>,
    /// Numbers of each trained parameter.
    sizes: Vec<usize>,
    owners: Vec<usize>,
    /// Numbers of one owner that an exchange moves.
    window: usize,
}

/// A part of a parameter on its way.
struct Piece {
    slot: usize,
    range: Range<usize>,
}

impl Shares {
    /// Gives each parameter to the rank that has least so far, the largest first.
    pub(crate) fn new(sizes: Vec<usize>, ranks: Arc<dyn Ranks>) -> Self {
        let count = ranks.count();
        let (mut owners, mut loads) = (vec![0; sizes.len()], vec![0; count]);
        let mut by_size: Vec<usize> = (0..sizes.len()).collect();
        by_size.sort_by_key(|&slot| std::cmp::Reverse(sizes[slot]));
        for slot in by_size {
            let owner = (0..count).min_by_key(|&rank| loads[rank]).unwrap_or(0);
            owners[slot] = owner;
            loads[owner] += sizes[slot];
        }
        Self { ranks, sizes, owners, window: (WINDOW / count).max(1) }
    }

    pub(crate) fn sizes(&self) -> &[usize] {
        &self.sizes
    }

    /// Whether this rank keeps the state of a parameter.
    pub(crate) fn is_mine(&self, slot: usize) -> bool {
        self.owners[slot] == self.ranks.rank()
    }

    /// Numbers whose state this rank keeps.
    pub(crate) fn owned(&self) -> usize {
        (0..self.sizes.len()).filter(|&slot| self.is_mine(slot)).map(|slot| self.sizes[slot]).sum()
    }

    /// Whether there is nobody to talk to.
    pub(crate) fn is_alone(&self) -> bool {
        self.ranks.count() == 1
    }

    /// Adds the gradients of one group on each rank to `total`, in rank order; a rank gets those of its own parameters.
    pub(crate) fn reduce(&self, total: &mut Gradients, group: Gradients, device: &Device) {
        if self.is_alone() {
            return total.add(group);
        }
        let mut given: Vec<Option<TensorData>> =
            group.by_param.into_iter().map(|grad| grad.map(Tensor::into_data)).collect();
        // A group without a pass.
        given.resize_with(self.sizes.len(), || None);
        let has = self.ranks.all_gather(given.iter().map(|grad| u8::from(grad.is_some())).collect());
        let mut sums: Vec<Option<Sum>> =
            (0..self.sizes.len()).map(|slot| self.sum(slot, total, &has)).collect();
        for window in self.windows(&self.sizes) {
            let parts = (0..self.ranks.count()).map(|owner| {
                let pieces = self.pieces(&self.sizes, owner, &window);
                pieces.flat_map(|piece| numbers(given[piece.slot].as_ref(), piece.range)).collect()
            });
            let got = self.ranks.exchange(parts.collect());
            for (rank, values) in got.iter().enumerate() {
                let mut at = 0;
                for Piece { slot, range } in self.pieces(&self.sizes, self.ranks.rank(), &window) {
                    let part = &values[at..at + range.len()];
                    at += range.len();
                    if let Some(sum) = sums[slot].as_mut().filter(|_| has[rank][slot] == 1) {
                        sum.add(rank, range, part);
                    }
                }
            }
        }
        for (slot, sum) in total.by_param.iter_mut().zip(sums) {
            *slot = sum.map(|sum| Tensor::from_data(&sum.values[..], device));
        }
    }

    /// The sum of a parameter's gradients so far, where it is this rank's and any rank adds to it.
    fn sum(&self, slot: usize, total: &mut Gradients, has: &[Vec<u8>]) -> Option<Sum> {
        let before = total.by_param[slot].take().filter(|_| self.is_mine(slot));
        match before {
            Some(before) => Some(Sum { values: before.into_data().iter().collect(), first: None }),
            None => {
                let first = has.iter().position(|has| has[slot] == 1).filter(|_| self.is_mine(slot))?;
                Some(Sum { values: vec![0.0; self.sizes[slot]], first: Some(first) })
            }
        }
    }

    /// One number for each parameter, each known to its owner, made known to all.
    pub(crate) fn of_owners(&self, mine: &[f64]) -> Vec<f64> {
        let all = gather(&*self.ranks, &[(self.ranks.rank(), mine.to_vec())]);
        self.owners.iter().enumerate().map(|(slot, &owner)| all[owner][slot]).collect()
    }

    /// Sends every parameter from its owner to all.
    pub(crate) fn spread(&self, mut params: Vec<Param<'_>>) {
        if self.is_alone() {
            return;
        }
        let sizes: Vec<usize> = params.iter().map(|param| param.len() * param.dtype().size()).collect();
        let own = |(slot, param): (usize, &Param<'_>)| self.is_mine(slot).then(|| data(param));
        let given: Vec<Option<TensorData>> = params.iter().enumerate().map(own).collect();
        let mut arriving: Vec<Vec<u8>> = vec![Vec::new(); params.len()];
        for window in self.windows(&sizes) {
            let pieces = self.pieces(&sizes, self.ranks.rank(), &window);
            let bytes = |piece: Piece| given[piece.slot].as_ref().map(|data| &data.as_bytes()[piece.range]);
            let got = self.ranks.all_gather(pieces.filter_map(bytes).collect::<Vec<_>>().concat());
            for (owner, bytes) in got.iter().enumerate().filter(|(owner, _)| *owner != self.ranks.rank()) {
                let mut at = 0;
                for Piece { slot, range } in self.pieces(&sizes, owner, &window) {
                    arriving[slot].extend(&bytes[at..at + range.len()]);
                    at += range.len();
                    if range.end == sizes[slot] {
                        put(&mut params[slot], std::mem::take(&mut arriving[slot]));
                    }
                }
            }
        }
    }

    /// Brings a vector of its owner, of as many numbers as the parameter has, to the first rank.
    pub(crate) fn bring(&self, slot: usize, own: Option<&Tensor<1>>, device: &Device) -> Option<Tensor<1>> {
        if self.owners[slot] == 0 {
            return own.filter(|_| self.ranks.is_first()).cloned();
        }
        let given = own.map(|own| own.clone().into_data());
        let mut all = Vec::new();
        for start in (0..self.sizes[slot]).step_by(self.window) {
            let range = start..(start + self.window).min(self.sizes[slot]);
            let mut parts = vec![Vec::new(); self.ranks.count()];
            if given.is_some() {
                parts[0] = numbers(given.as_ref(), range);
            }
            all.extend(self.ranks.exchange(parts).concat());
        }
        self.ranks.is_first().then(|| Tensor::from_data(&all[..], device))
    }

    /// Steps through the parameters of all owners side by side.
    fn windows(&self, sizes: &[usize]) -> impl Iterator<Item = Range<usize>> + use<> {
        let mut loads = vec![0; self.ranks.count()];
        self.owners.iter().zip(sizes).for_each(|(&owner, size)| loads[owner] += size);
        let (longest, window) = (loads.into_iter().max().unwrap_or(0), self.window);
        (0..longest).step_by(window).map(move |start| start..start + window)
    }

    /// What of an owner's parameters, laid end to end, lies in `window`.
    fn pieces<'a>(
        &'a self,
        sizes: &'a [usize],
        owner: usize,
        window: &'a Range<usize>,
    ) -> impl Iterator<Item = Piece> + 'a {
        let mut start = 0;
        let slots = (0..sizes.len()).filter(move |&slot| self.owners[slot] == owner);
        slots.filter_map(move |slot| {
            let begin = start;
            start += sizes[slot];
            let from = window.start.max(begin).min(start) - begin;
            let to = window.end.max(begin).min(start) - begin;
            (from < to).then_some(Piece { slot, range: from..to })
        })
    }
}

/// A parameter's gradient as it is added up.
struct Sum {
    values: Vec<f32>,
    /// The rank whose gradient is the first: it is taken as it is.
    first: Option<usize>,
}

impl Sum {
    fn add(&mut self, rank: usize, range: Range<usize>, part: &[f32]) {
        let sum = &mut self.values[range];
        if self.first == Some(rank) {
            sum.copy_from_slice(part);
        } else {
            sum.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
        }
    }
}

/// Part of a vector in f32; zeros where there is none.
fn numbers(data: Option<&TensorData>, range: Range<usize>) -> Vec<f32> {
    match data.map(TensorData::as_slice::<f32>) {
        None => vec![0.0; range.len()],
        Some(Ok(values)) => values[range].to_vec(),
        Some(Err(e)) => panic!("gradients and moments are held in f32: {e:?}"),
    }
}

fn data(param: &Param<'_>) -> TensorData {
    match param {
        Param::Matrix(w) => (**w).clone().into_data(),
        Param::Vector(w) => (**w).clone().into_data(),
    }
}

/// Replaces a parameter by values of its own dtype.
fn put(param: &mut Param<'_>, bytes: Vec<u8>) {
    let dtype = param.dtype();
    let made = |bytes, shape: Vec<usize>| TensorData::from_bytes_vec(bytes, shape, dtype);
    match param {
        Param::Matrix(w) => **w = Tensor::from_data(made(bytes, w.dims().to_vec()), (&w.device(), dtype)),
        Param::Vector(w) => **w = Tensor::from_data(made(bytes, w.dims().to_vec()), (&w.device(), dtype)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::Threads;
    use super::*;

    const SIZES: [usize; 5] = [7, 2, 11, 1, 3];

    fn values(of: impl Fn(usize) -> f32) -> Vec<Vec<f32>> {
        SIZES.iter().enumerate().map(|(slot, &n)| (0..n).map(|i| of(100 * slot + i)).collect()).collect()
    }

    fn gradients(values: Vec<Vec<f32>>, has: impl Fn(usize) -> bool) -> Gradients {
        let mut all = Gradients::named(SIZES.iter().map(ToString::to_string).collect());
        for (slot, values) in values.iter().enumerate().filter(|(slot, _)| has(*slot)) {
            all.by_param[slot] = Some(Tensor::from_data(&values[..], &Device::flex()));
        }
        all
    }

    fn host(x: Tensor<1>) -> Vec<f32> {
        x.into_data().try_to_vec().unwrap()
    }

    /// Windows that cut parameters, an odd number of ranks, gradients that some ranks or all lack.
    #[test]
    fn gradients_go_to_owners_and_parameters_to_all() {
        let device = Device::flex();
        let has = |rank: usize, slot: usize| slot != 3 && (slot != 1 || rank == 2);
        // Values whose sum depends on the order.
        let of = |rank: usize| values(move |i| 0.1 * (rank + 1) as f32 * 1.7f32.powi(i as i32 % 40));
        let all = Threads::run(3, |ranks| {
            let rank = ranks.rank();
            let shares = Shares { window: 2, ..Shares::new(SIZES.to_vec(), ranks) };
            let mut total = gradients(values(|_| 0.0), |_| false);
            for _ in 0..2 {
                shares.reduce(&mut total, gradients(of(rank), |slot| has(rank, slot)), &device);
            }
            let sums: Vec<Option<Vec<f32>>> = total.by_param.into_iter().map(|x| x.map(host)).collect();
            let mine: Vec<f64> =
                (0..5).map(|slot| if shares.is_mine(slot) { slot as f64 } else { -1.0 }).collect();
            assert_eq!(shares.of_owners(&mine), [0.0, 1.0, 2.0, 3.0, 4.0]);
            let own = |slot| shares.is_mine(slot).then(|| Tensor::from_data(&of(rank)[slot][..], &device));
            let brought: Vec<_> =
                (0..5).map(|slot| shares.bring(slot, own(slot).as_ref(), &device).map(host)).collect();
            let mut vectors: Vec<Tensor<1>> =
                of(rank).iter().map(|v| Tensor::from_data(&v[..], &device)).collect();
            shares.spread(vectors.iter_mut().map(Param::Vector).collect());
            (shares.owners.clone(), sums, brought, vectors.into_iter().map(host).collect::<Vec<_>>())
        });
        let owners = &all[0].0;
        assert_eq!(*owners, [1, 2, 0, 2, 2]);
        for slot in 0..5 {
            let mut sum: Option<Vec<f32>> = None;
            for _ in 0..2 {
                for rank in (0..3).filter(|&rank| has(rank, slot)) {
                    let part = of(rank)[slot].clone();
                    sum = Some(match sum {
                        None => part,
                        Some(sum) => sum.iter().zip(part).map(|(a, b)| a + b).collect(),
                    });
                }
            }
            for (rank, (_, sums, brought, spread)) in all.iter().enumerate() {
                assert_eq!(sums[slot], sum.clone().filter(|_| rank == owners[slot]), "{slot} at {rank}");
                assert_eq!(brought[slot], (rank == 0).then(|| of(owners[slot])[slot].clone()));
                assert_eq!(spread[slot], of(owners[slot])[slot]);
            }
        }
    }
}
