//! Patching grids against a plain loop: one run and one hand-written replacement for each cell.

#![allow(clippy::unwrap_used)]

mod common;

use ablation::{Direction, Grid, HeadPlace, StreamPlace, patch_grid};
use burn::tensor::Tensor;
use common::{pairs, toy};
use hooks::{Batch, Heads, Hook, HookedModel, KeyValue, Metric, Recorder, Rows, Site, Stream, Task};

/// A grid, and its site in a layer.
type Case = (Grid, fn(usize) -> Site);

const CASES: [Case; 14] = [
    (Grid::Positions(StreamPlace::ResidPre), |l| Stream::ResidPre(l).into()),
    (Grid::Positions(StreamPlace::ResidMid), |l| Stream::ResidMid(l).into()),
    (Grid::Positions(StreamPlace::AttnOut), |l| Stream::AttnOut(l).into()),
    (Grid::Positions(StreamPlace::MlpOut), |l| Stream::MlpOut(l).into()),
    (Grid::Heads(HeadPlace::Z), |l| Heads::Z(l).into()),
    (Grid::Heads(HeadPlace::Query), |l| Heads::Query(l).into()),
    (Grid::Heads(HeadPlace::Key), |l| Heads::Key(l).into()),
    (Grid::Heads(HeadPlace::Value), |l| Heads::Value(l).into()),
    (Grid::Heads(HeadPlace::Pattern), |l| Heads::Pattern(l).into()),
    (Grid::HeadPositions(HeadPlace::Z), |l| Heads::Z(l).into()),
    (Grid::HeadPositions(HeadPlace::Query), |l| Heads::Query(l).into()),
    (Grid::HeadPositions(HeadPlace::Key), |l| Heads::Key(l).into()),
    (Grid::HeadPositions(HeadPlace::Value), |l| Heads::Value(l).into()),
    (Grid::HeadPositions(HeadPlace::Pattern), |l| Heads::Pattern(l).into()),
];

/// Puts one slice of another run into this one.
struct Put<'a> {
    site: Site,
    from: &'a Recorder,
    head: Option<usize>,
    position: Option<usize>,
}

impl Hook for Put<'_> {
    fn wants(&self, site: Site) -> bool {
        site == self.site
    }
    fn on_stream(&mut self, site: Stream, x: Tensor<3>) -> Tensor<3> {
        let [_, _, d] = x.dims();
        let p = self.position.unwrap();
        let place = [0..1, p..p + 1, 0..d];
        x.slice_assign(place.clone(), self.from.stream(site).slice(place))
    }
    fn on_heads(&mut self, site: Heads, x: Tensor<4>) -> Tensor<4> {
        let [_, _, seq, d] = x.dims();
        let (h, positions) = (self.head.unwrap(), self.position.map_or(0..seq, |p| p..p + 1));
        let place = [0..1, h..h + 1, positions, 0..d];
        x.slice_assign(place.clone(), self.from.heads(site).slice(place))
    }
}

#[test]
fn grids_are_those_of_a_plain_loop() {
    let (model, pairs) = (toy(3, KeyValue::Ungrouped), pairs(3));
    let wiring = model.wiring();
    for metric in [Metric::LogitDiff, Metric::Kl] {
        for direction in [Direction::Denoise, Direction::Noise] {
            for (grid, site) in &CASES {
                let found =
                    patch_grid(&Task::new(&model, &pairs, metric.clone()).batch_size(7), *grid, direction)
                        .unwrap();
                let mut moved = 0.0f32;
                for (pair, found) in pairs.iter().zip(&found) {
                    let batch =
                        |ids: &Vec<u32>| Batch::new(std::slice::from_ref(ids)).unwrap().rows(Rows::Last);
                    let (into, from) = match direction {
                        Direction::Denoise => (&pair.corrupt, &pair.clean),
                        Direction::Noise => (&pair.clean, &pair.corrupt),
                    };
                    let clean = model.run(&batch(&pair.clean), &mut ());
                    let measure =
                        |logits| metric.values(logits, &[&pair.target], Some(&clean)).into_scalar::<f32>();
                    let mut seen = Recorder::new((0..wiring.n_layers).map(site));
                    model.run(&batch(from), &mut seen);
                    let base = measure(model.run(&batch(into), &mut ()));
                    let whole = matches!(grid, Grid::Heads(_));
                    let (layers, _, positions) = found.patched.dim();
                    assert_eq!((layers, positions), (2, if whole { 1 } else { pair.clean.len() }));
                    for ((l, h, p), value) in found.patched.indexed_iter() {
                        let (head, position) = (Some(h), (!whole).then_some(p));
                        let mut put = Put { site: site(l), from: &seen, head, position };
                        let expected = measure(model.run(&batch(into), &mut put));
                        // f32 sums in another order: rows of one run against runs of one row.
                        assert!((value - expected).abs() < 1e-5, "{grid:?} {l} {h} {p}: {value} {expected}");
                        moved = moved.max((value - base).abs());
                    }
                }
                assert!(moved > 1e-3, "{grid:?} {direction:?}: no patch does anything");
            }
        }
    }
}

#[test]
fn a_whole_stream_restores_the_other_run() {
    let (model, pairs) = (toy(3, KeyValue::Ungrouped), pairs(4));
    let grid = Grid::Positions(StreamPlace::ResidPre);
    let found =
        patch_grid(&Task::new(&model, &pairs, Metric::LogitDiff).batch_size(64), grid, Direction::Denoise)
            .unwrap();
    let other =
        patch_grid(&Task::new(&model, &pairs, Metric::LogitDiff).batch_size(64), grid, Direction::Noise)
            .unwrap();
    let swapped: Vec<hooks::Pair> = pairs
        .iter()
        .map(|p| hooks::Pair { clean: p.corrupt.clone(), corrupt: p.clean.clone(), ..p.clone() })
        .collect();
    let swapped = hooks::Pairs::new(swapped).unwrap();
    let swapped =
        patch_grid(&Task::new(&model, &swapped, Metric::LogitDiff).batch_size(64), grid, Direction::Denoise)
            .unwrap();
    for ((pair, noise), (denoise, swapped)) in pairs.iter().zip(&other).zip(found.iter().zip(&swapped)) {
        assert_eq!(noise.patched, swapped.patched, "noising is denoising of the pair the other way round");
        for (p, (clean, corrupt)) in pair.clean.iter().zip(&pair.corrupt).enumerate() {
            if clean == corrupt {
                assert!((denoise.patched[[0, 0, p]] - denoise.corrupt).abs() < 1e-5, "one token, no change");
            }
        }
        let share = denoise.share(Direction::Denoise);
        let expected = (denoise.patched[[1, 0, 0]] - denoise.corrupt) / (denoise.clean - denoise.corrupt);
        assert_eq!(share[[1, 0, 0]], expected);
    }
    assert!(
        patch_grid(&Task::new(&model, &pairs, Metric::LogitDiff).batch_size(0), grid, Direction::Noise)
            .is_err()
    );
}
