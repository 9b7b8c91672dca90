//! Ablate and scale attention heads, patch activations, run a circuit as one forward pass.
//!
//! | what | how |
//! |---|---|
//! | replace or scale what heads mix | the hook [`Ablation`], with a [`Fill`]: zero, mean, positional mean, another run |
//! | ablate each head in turn | [`sweep_heads`], [`sweep()`] |
//! | activation patching: put activations of one run into another, place by place | [`patch_grid`] |
//! | run a circuit: edges outside it carry a fill | the hook [`EdgePatch`], from an [`EdgePlan`] and an [`EdgeFill`] |
//!
//! All of it works on any [`hooks::HookedModel`] and leaves the model as it is. This crate selects no circuit and
//! measures no faithfulness: see `circuits`.
//!
//! # Tutorial
//! **Remove heads.** A head is changed at `z`, its mixed values before the output projection, at every position, in
//! prefill and in decoding.
//! ```
//! use ablation::{Ablation, Fill};
//! use hooks::{Batch, HookedModel};
//! # let model = test_models::Toy::random(0, Default::default(), &Default::default());
//!
//! let batch = Batch::new(&[vec![1, 2, 3]])?;
//! let heads = ["L0H1".parse()?, "L1H2".parse()?];
//! let without = model.run(&batch, &mut Ablation::heads(model.wiring(), heads, Fill::Zero)?);
//! let amplified = model.run(&batch, &mut Ablation::scale(model.wiring(), heads, 1.3)?);
//! assert_eq!(without.dims(), amplified.dims());
//! # Ok::<(), hooks::Error>(())
//! ```
//!
//! **Measure every head.** Each head is replaced in turn; an effect is the metric with the head replaced minus the
//! metric of the model, as means over the clean prompts. Means come from any batches of tokens.
//! ```
//! use ablation::{Fill, HeadMeans, sweep_heads};
//! use hooks::{Batch, Head, Metric, Pair, Pairs, Target, Task};
//! # let model = test_models::Toy::random(0, Default::default(), &Default::default());
//!
//! let target = Target { answers: vec![5], distractors: vec![7] };
//! let pairs = Pairs::new(vec![Pair::new("a", [1, 2, 3], [1, 4, 3], target)])?;
//! let task = Task::new(&model, &pairs, Metric::LogitDiff);
//!
//! let means = HeadMeans::measure(&model, &[Batch::new(&[vec![1, 2, 3, 4], vec![9, 8]])?])?;
//! let effects = sweep_heads(&task, &Fill::Mean(means.into()))?;
//! let change = effects.map(|effect| effect.change());
//! assert_eq!(change.view().shape(), [2, 4]); // [layer, head]
//! assert_eq!(*change.get(Head { layer: 1, head: 2 }), change.view()[[1, 2]]);
//! # Ok::<(), hooks::Error>(())
//! ```
//!
//! **Activation patching.** *Denoising* puts clean activations into the corrupt run; *noising* the other way round.
//! ```
//! use ablation::{Direction, Grid, HeadPlace, StreamPlace, patch_grid};
//! # use hooks::{Metric, Pair, Pairs, Target, Task};
//! # let model = test_models::Toy::random(0, Default::default(), &Default::default());
//! # let target = Target { answers: vec![5], distractors: vec![7] };
//! # let pairs = Pairs::new(vec![Pair::new("a", [1, 2, 3], [1, 4, 3], target)])?;
//! # let task = Task::new(&model, &pairs, Metric::LogitDiff);
//!
//! let streams = patch_grid(&task, Grid::Positions(StreamPlace::ResidPre), Direction::Denoise)?;
//! assert_eq!(streams[0].patched.dim(), (2, 1, 3)); // [layer, 1, position]
//! // 1 where a patch restores the clean run's metric, 0 where it changes nothing. The prompts differ in position 1,
//! // so patching it before the first layer restores all.
//! let share = streams[0].share(Direction::Denoise);
//! assert!((share[[0, 0, 1]] - 1.0).abs() < 1e-4 && share[[0, 0, 0]].abs() < 1e-4);
//!
//! let heads = patch_grid(&task, Grid::Heads(HeadPlace::Z), Direction::Noise)?;
//! assert_eq!(heads[0].patched.dim(), (2, 4, 1)); // [layer, head, 1]
//! # Ok::<(), hooks::Error>(())
//! ```
//!
//! **Run a circuit.** The selection says of each edge whether it is kept; the others carry the fill, here what their
//! writer writes on the corrupt prompt.
//! ```
//! use ablation::{Baseline, EdgeFill, EdgePatch, EdgePlan};
//! use hooks::{Batch, EdgeMap, HookedModel};
//! # let model = test_models::Toy::random(0, Default::default(), &Default::default());
//!
//! let (clean, corrupt) = (Batch::new(&[vec![1, 2, 3]])?, Batch::new(&[vec![1, 5, 3]])?);
//! let mut kept = EdgeMap::filled(model.wiring(), true);
//! *kept.get_mut("a0.h1->m1".parse()?).unwrap() = false;
//! let plan = EdgePlan::new(&[&kept])?;
//! let fill = EdgeFill::new(&model, &Baseline::Corrupt, &corrupt, &[&plan])?;
//! let logits = model.run(&clean, &mut EdgePatch::new(&plan, &fill));
//! assert_eq!(logits.dims(), [1, 3, 13]);
//! # Ok::<(), hooks::Error>(())
//! ```

mod edges;
mod fill;
mod heads;
mod means;
mod patch;
mod plan;
mod positions;
mod sweep;

pub use common::Error;
pub use edges::EdgePatch;
pub use fill::{Baseline, EdgeFill};
pub use heads::{Ablation, Fill, Resampled};
pub use means::{HeadMeans, WriterMeans};
pub use patch::{Direction, Grid, HeadPlace, PatchGrid, StreamPlace, patch_grid};
pub use plan::EdgePlan;
pub use sweep::{HeadEffect, replaced, scaled, sweep, sweep_heads};
