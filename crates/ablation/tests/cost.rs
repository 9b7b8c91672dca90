//! What the run of a circuit costs beside a plain run. Ignored by default: it is a measurement.
//!
//! `cargo test --release -p ablation --test cost -- --ignored --nocapture`

use ablation::{Baseline, EdgeFill, EdgePatch, EdgePlan};
use burn::tensor::Device;
use hooks::{Batch, EdgeMap, HookedModel, KeyValue, Rows, Wiring};
use toy_model::{Toy, ToyConfig};

/// CPU seconds of this process, in steps of 10 ms.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn chosen(wiring: Wiring, n: usize) -> EdgeMap<bool> {
    let key = |i: usize| (i as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mut order: Vec<usize> = (0..wiring.n_edges()).collect();
    order.sort_by_key(|&i| key(i));
    let mut kept = vec![false; wiring.n_edges()];
    order[..n].iter().for_each(|&i| kept[i] = true);
    EdgeMap::from_values(wiring, kept)
}

#[test]
#[ignore = "a measurement"]
fn a_circuit_beside_a_plain_run() {
    // A third of the 0.5B shape's layers, and a third of 4,000 edges.
    let config = ToyConfig { n_layers: 8, n_heads: 14, n_kv_heads: 2, d_model: 896, d_head: 64, d_mlp: 7296, vocab: 64, bias: false };
    let model = Toy::random(0, config, &Device::default()).with(KeyValue::Ungrouped);
    let prompt = |step: usize| -> Vec<u32> { (0..64).map(|i| (i * step % 64) as u32).collect() };
    let side = |step| Batch::new(&[prompt(step)]).unwrap().rows(Rows::Last);
    let (clean, corrupt) = (side(5), side(7));
    let circuit = chosen(model.wiring(), 1333);
    let timed = |what: &str, f: &mut dyn FnMut()| {
        let best = (0..5)
            .map(|_| {
                let start = cpu();
                f();
                cpu() - start
            })
            .fold(f64::MAX, f64::min);
        println!("{what}: {best:.2} CPU s");
    };
    timed("plain run", &mut || drop(model.run(&clean, &mut ())));
    timed("plan", &mut || drop(EdgePlan::new(&[&circuit]).unwrap()));
    let plan = EdgePlan::new(&[&circuit]).unwrap();
    timed("corrupt run, recorded", &mut || drop(EdgeFill::new(&model, &Baseline::Corrupt, &corrupt, &[&plan]).unwrap()));
    let fill = EdgeFill::new(&model, &Baseline::Corrupt, &corrupt, &[&plan]).unwrap();
    timed("circuit run", &mut || drop(model.run(&clean, &mut EdgePatch::new(&plan, &fill))));
}
