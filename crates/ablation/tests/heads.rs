//! Ablating heads, against the definition and across padding and decoding.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod common;

use std::sync::Arc;

use ablation::{Ablation, Fill, HeadMeans, Resampled, replaced, scaled, sweep, sweep_heads};
use burn::tensor::Tensor;
use common::{batches, largest_gap, pairs, read, run, toy};
use hooks::{Batch, Head, Heads, Hook, HookedModel, KeyValue, Metric, Recorder, Rows, Task};

fn head(text: &str) -> Head {
    text.parse().unwrap()
}

#[test]
fn scale_one_changes_nothing_and_zero_is_the_zero_fill() {
    let model = toy(1, KeyValue::Ungrouped);
    let (clean, _) = batches(&pairs(3));
    let (w, heads) = (model.wiring(), [head("L0H1"), head("L1H3")]);
    let plain = run(&model, &clean, &mut ());
    assert_eq!(run(&model, &clean, &mut Ablation::scale(w, heads, 1.0).unwrap()), plain);
    let scaled = run(&model, &clean, &mut Ablation::scale(w, heads, 0.0).unwrap());
    assert_eq!(scaled, run(&model, &clean, &mut Ablation::heads(w, heads, Fill::Zero).unwrap()));
    assert!(largest_gap(&scaled, &plain) > 1e-3);
}

#[test]
fn means_are_over_real_tokens_whatever_the_padding() {
    let model = toy(1, KeyValue::Ungrouped);
    let rows = [vec![1, 2, 3, 4, 5], vec![6, 7]];
    let apart = rows.clone().map(|row| Batch::new(&[row]).unwrap());
    let means = HeadMeans::measure(&model, &apart).unwrap();
    let z: Vec<Vec<f32>> = apart
        .iter()
        .map(|batch| {
            let mut seen = Recorder::new([Heads::Z(1).into()]);
            model.run(batch, &mut seen);
            read(seen.heads(Heads::Z(1)).narrow(1, 2, 1))
        })
        .collect();
    let d = 5;
    let expected: Vec<f32> =
        (0..d).map(|i| z.iter().flat_map(|z| z.chunks(d)).map(|row| row[i]).sum::<f32>() / 7.0).collect();
    assert!(largest_gap(&read(means.overall(head("L1H2"))), &expected) < 1e-6);
    let second: Vec<f32> = (0..d).map(|i| (z[0][d + i] + z[1][d + i]) / 2.0).collect();
    let positional = read(means.positional(head("L1H2")));
    assert!(largest_gap(&positional[d..2 * d], &second) < 1e-6);
    assert!(largest_gap(&positional[4 * d..], &z[0][4 * d..]) < 1e-6, "one row reaches the last position");
    for batch in [Batch::new(&rows).unwrap(), Batch::left_padded(&rows).unwrap()] {
        let padded = HeadMeans::measure(&model, &[batch]).unwrap();
        assert!(largest_gap(&read(padded.positional(head("L1H2"))), &positional) < 1e-5);
        assert!(largest_gap(&read(padded.overall(head("L1H2"))), &expected) < 1e-5);
    }
}

#[test]
fn fills_follow_the_text_through_left_padding() {
    let model = toy(4, KeyValue::Ungrouped);
    let (w, rows) = (model.wiring(), [vec![1, 2, 3, 4, 5], vec![6, 7]]);
    let right = Batch::new(&rows).unwrap();
    let means = Arc::new(HeadMeans::measure(&model, std::slice::from_ref(&right)).unwrap());
    let run_of = Arc::new(Resampled::record(&model, &Batch::new(&[vec![9, 8, 7]]).unwrap()));
    for fill in
        [Fill::Zero, Fill::Mean(means.clone()), Fill::MeanPositional(means.clone()), Fill::Resample(run_of)]
    {
        let logits = |batch: &Batch| {
            let mut hook = Ablation::heads(w, [head("L0H0"), head("L1H2")], fill.clone()).unwrap();
            run(&model, &batch.clone().rows(Rows::Last), &mut hook)
        };
        let apart: Vec<f32> =
            rows.iter().flat_map(|row| logits(&Batch::new(std::slice::from_ref(row)).unwrap())).collect();
        assert!(largest_gap(&logits(&right), &apart) < 1e-4, "{fill:?}");
        assert!(largest_gap(&logits(&Batch::left_padded(&rows).unwrap()), &apart) < 1e-4, "{fill:?}");
    }
}

#[test]
fn decoding_goes_on_where_the_prompt_ended() {
    let model = toy(4, KeyValue::Ungrouped);
    let means = Arc::new(HeadMeans::measure(&model, &[Batch::new(&[vec![1, 2, 3, 4]]).unwrap()]).unwrap());
    let mut hook =
        Ablation::heads(model.wiring(), [head("L0H1")], Fill::MeanPositional(means.clone())).unwrap();
    hook.begin(&Batch::left_padded(&[vec![1, 2], vec![3]]).unwrap(), 0);
    let z = Tensor::<4>::zeros([2, 4, 1, 5], &model.device());
    let table = read(means.positional(head("L0H1")));
    for (offset, rows) in [(2, [2, 1]), (3, [3, 2])] {
        hook.begin(&Batch::step(&[5, 6], &[0, 1]), offset);
        let out = read(hook.on_heads(Heads::Z(0), z.clone()).narrow(1, 1, 1));
        for (row, position) in rows.into_iter().enumerate() {
            assert_eq!(out[5 * row..][..5], table[5 * position..][..5]);
        }
    }
    // Past the measured text: the mean over tokens.
    hook.begin(&Batch::step(&[5, 6], &[0, 1]), 9);
    let out = read(hook.on_heads(Heads::Z(0), z).narrow(1, 1, 1));
    assert_eq!(out[..5], read(means.overall(head("L0H1")))[..]);
}

#[test]
fn a_sweep_does_not_depend_on_the_batch_size() {
    let (model, pairs) = (toy(5, KeyValue::Ungrouped), pairs(5));
    let sweep =
        |n| sweep_heads(&Task::new(&model, &pairs, Metric::LogitDiff).batch_size(n), &Fill::Zero).unwrap();
    let (one, all) = (sweep(1), sweep(5));
    for ((head, a), (_, b)) in one.iter().zip(all.iter()) {
        assert!((a.change() - b.change()).abs() < 1e-4, "{head}");
    }
    assert!(one.iter().any(|(_, e)| e.change().abs() > 1e-3));
}

#[test]
fn sets_of_heads_are_swept_as_one_and_scales_as_fills() {
    let (model, pairs) = (toy(5, KeyValue::Ungrouped), pairs(3));
    let w = model.wiring();
    let layers: Vec<Vec<Head>> = (0..2).map(|l| w.heads().filter(|h| h.layer == l).collect()).collect();
    let run_of = |hooks: &[Ablation]| {
        sweep(&Task::new(&model, &pairs, Metric::LogitDiff).batch_size(2), hooks).unwrap()
    };
    let zero = run_of(&replaced(w, &layers, &Fill::Zero).unwrap());
    assert_eq!(zero, run_of(&scaled(w, &layers, 0.0).unwrap()));
    assert!(run_of(&scaled(w, &layers, 1.0).unwrap()).iter().all(|e| e.change() == 0.0));
    // By hand: every pair alone, all heads of the last layer at zero.
    let by_hand = pairs.iter().map(|pair| {
        let batch = Batch::new(std::slice::from_ref(&pair.clean)).unwrap().rows(Rows::Last);
        let mut hook = Ablation::heads(w, layers[1].clone(), Fill::Zero).unwrap();
        Metric::LogitDiff.values(model.run(&batch, &mut hook), &[&pair.target], None).into_scalar::<f32>()
    });
    let mean = by_hand.sum::<f32>() / 3.0;
    assert!((zero[1].ablated - mean).abs() < 1e-5);
    assert!(zero.iter().all(|e| e.change().abs() > 1e-3));
}

#[test]
fn heads_outside_the_model_are_errors() {
    let w = toy(1, KeyValue::Ungrouped).wiring();
    let error = Ablation::heads(w, [head("L2H0")], Fill::Zero).unwrap_err();
    assert_eq!(error.to_string(), "head L2H0: outside the model, expected L0H0 to L1H3");
    assert!(Ablation::scale(w, [], f64::NAN).is_err());
}
