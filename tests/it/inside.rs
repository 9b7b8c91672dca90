//! The parts of a run and of a model, against TransformerLens, transformers, numpy and lists of paths
//! (`fixtures/inside`).

use ablation::{Direction, Fill, Grid, HeadPlace, StreamPlace, patch_grid, sweep_heads};
use attribution::{At, direct_logit_attribution, direct_mean, logit_lens, logit_lens_metric};
use burn::tensor::Tensor;
use circuits::{Circuit, attention_entropy, head_spectra, paths};
use hooks::{
    Batch, Edge, EdgeMap, Head, HookedModel, IdsOnly, Metric, Pair, Pairs, Rows, Stream, Target, Task, Writer,
};
use model_qwen::Qwen;
use serde_json::Value;
use test_models::{Toy, ToyConfig};

use crate::fixtures::{apart, fixture, load, values};

/// Agreement of two f32 implementations, relative to the largest number of a table. Measured: 4.5e-6 at worst.
const TOLERANCE: f32 = 1e-5;

fn recorded(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(fixture("inside").join(name)).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<f32> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        Value::Object(items) => items.values().flat_map(numbers).collect(),
        other => vec![other.as_f64().unwrap() as f32],
    }
}

fn model() -> Qwen {
    load(&fixture("eap/model"))
}

fn pairs() -> Pairs {
    Pairs::read(fixture("eap/pairs.jsonl"), &IdsOnly).unwrap()
}

fn close(what: &str, found: &[f32], expected: &[f32]) {
    let error = apart(found, expected);
    assert!(error < TOLERANCE, "{what}: {error:e}");
}

#[test]
fn the_logit_lens_is_that_of_transformer_lens() {
    let (model, file) = (model(), recorded("lens.json"));
    let name = |stream| match stream {
        Stream::ResidPre(l) => format!("{l}_pre"),
        Stream::ResidMid(l) => format!("{l}_mid"),
        _ => "final_post".into(),
    };
    for pair in &pairs() {
        let expected = &file[&pair.id];
        let batch = Batch::new(std::slice::from_ref(&pair.clean)).unwrap().rows(Rows::Last);
        let mut place = 0;
        logit_lens(&model, &batch, true, |stream, logits| -> Result<(), attribution::Error> {
            assert_eq!(name(stream), expected["labels"][place].as_str().unwrap());
            close(&name(stream), &values(logits), &numbers(&expected["logits"][place]));
            place += 1;
            Ok(())
        })
        .unwrap();
        assert_eq!(place, 5);
    }
    // The last stream is the model itself, and the first reads nothing but the last token.
    let found = logit_lens_metric(&Task::new(&model, &pairs(), Metric::LogitDiff), false).unwrap();
    let own: Vec<f32> = numbers(&recorded("ablation.json")["clean"]);
    let mean = own.iter().sum::<f32>() / own.len() as f32;
    assert!((found[2].1 - mean).abs() < TOLERANCE * mean.abs().max(1.0), "{found:?} {mean}");
}

#[test]
fn direct_attributions_are_those_of_transformer_lens_and_add_up() {
    let (model, file) = (model(), recorded("lens.json"));
    let wiring = model.wiring();
    let found = direct_logit_attribution(&model, &pairs(), At::Every).unwrap();
    for pair in &found {
        let expected = &file[&pair.id];
        let names = wiring.writers().map(|w| match w {
            Writer::Input => "embed".to_owned(),
            Writer::Head(h) => h.to_string(),
            Writer::Mlp(l) => format!("{l}_mlp_out"),
        });
        let theirs: Vec<f32> = names.flat_map(|n: String| numbers(&expected["attrs"][n])).collect();
        close(&pair.id, pair.writers.as_slice().unwrap(), &theirs);
        close("whole", &[*pair.logit_diff.last().unwrap()], &numbers(&expected["logit_diff"]));
        for (at, whole) in pair.logit_diff.iter().enumerate() {
            let parts = pair.writers.column(at).to_vec();
            let size: f32 = parts.iter().map(|x| x.abs()).sum();
            assert!((parts.iter().sum::<f32>() - whole).abs() < 1e-6 * size, "position {at}");
            assert!(pair.biases[at].abs() < 1e-6 * size, "no output bias: {:?}", pair.biases);
        }
    }
    let (total, means) = direct_mean(wiring, &found);
    let size: f32 = means.iter().map(|(_, x)| x.abs()).sum();
    assert!((means.iter().map(|(_, x)| x).sum::<f32>() - total).abs() < 1e-6 * size);
    for (every, last) in found.iter().zip(&direct_logit_attribution(&model, &pairs(), At::Last).unwrap()) {
        let end: Vec<f32> = every.writers.outer_iter().map(|w| *w.last().unwrap()).collect();
        close("last", &end, last.writers.as_slice().unwrap());
    }
}

#[test]
fn biases_and_writers_add_up_where_attention_has_an_output_bias() {
    let config = ToyConfig { bias: true, ..ToyConfig::default() };
    let model = Toy::random(4, config, &burn::tensor::Device::default());
    let pair = |answers: Vec<u32>, distractors: Vec<u32>| Pair {
        id: "p".into(),
        clean: vec![3, 1, 4, 1],
        corrupt: vec![3, 1, 5, 1],
        earlier: vec![],
        target: Target { answers, distractors },
    };
    // Several answers are meaned; without distractors the parts are of the answer's own logit.
    for pair in [pair(vec![5], vec![9]), pair(vec![5, 2, 7], vec![9, 1]), pair(vec![5], vec![])] {
        let pairs = Pairs::new(vec![pair.clone()]).unwrap();
        let found = &direct_logit_attribution(&model, &pairs, At::Last).unwrap()[0];
        let batch = Batch::new(std::slice::from_ref(&pair.clean)).unwrap().rows(Rows::Last);
        let own = Metric::LogitDiff.values(model.run(&batch, &mut ()), &[&pair.target], None);
        let own = own.into_scalar::<f32>();
        let parts = found.writers.column(0).to_vec();
        let size: f32 = parts.iter().map(|x| x.abs()).sum();
        assert!((found.logit_diff[0] - own).abs() < 1e-6 * size);
        assert!((parts.iter().sum::<f32>() + found.biases[0] - own).abs() < 1e-6 * size);
        assert!(found.biases[0].abs() > 1e-3 * size, "the biases matter here: {:?}", found.biases);
    }
    let nothing = Pairs::new(vec![pair(vec![], vec![])]).unwrap();
    assert!(
        direct_logit_attribution(&model, &nothing, At::Last)
            .unwrap_err()
            .to_string()
            .contains("missing `answer`")
    );
}

/// A model that offers the three necessary methods and no more.
struct Bare(Toy);

impl HookedModel for Bare {
    fn wiring(&self) -> hooks::Wiring {
        self.0.wiring()
    }
    fn device(&self) -> burn::tensor::Device {
        self.0.device()
    }
    fn run(&self, batch: &Batch, hook: &mut dyn hooks::Hook) -> Tensor<3> {
        self.0.run(batch, hook)
    }
}

#[test]
fn a_model_without_read_out_is_refused() {
    let model = Bare(Toy::random(4, ToyConfig::default(), &burn::tensor::Device::default()));
    let error = direct_logit_attribution(&model, &pairs_of_toy(), At::Last).unwrap_err().to_string();
    assert!(error.contains("HookedModel::read_out"), "{error}");
    assert!(head_spectra(&model).unwrap_err().to_string().contains("HookedModel::head_weights"));
}

fn pairs_of_toy() -> Pairs {
    let target = Target { answers: vec![5], distractors: vec![9] };
    Pairs::new(vec![Pair { id: "p".into(), clean: vec![3, 1], corrupt: vec![3, 2], target, earlier: vec![] }])
        .unwrap()
}

#[test]
fn a_read_out_is_linear_and_that_of_the_stream_is_the_model() {
    for name in ["qwen2-tied", "llama-untied", "qwen3"] {
        let model = load(&fixture(name));
        let batch = Batch::new(&[vec![3, 1, 4, 1, 5]]).unwrap();
        let last = Stream::ResidPost(model.wiring().n_layers - 1);
        let mut seen = hooks::Recorder::new([last.into(), Stream::Embed.into()]);
        let logits = values(model.run(&batch, &mut seen));
        let (whole, part) = (seen.stream(last), seen.stream(Stream::Embed));
        let read = |write: &Tensor<3>| values(model.read_out(&whole, write, None).unwrap());
        close(name, &read(&whole), &logits);
        let (one, other) = (read(&part), read(&(whole.clone() - part.clone())));
        let sum: Vec<f32> = one.iter().zip(&other).map(|(a, b)| a + b).collect();
        close(name, &sum, &logits);
        let three = values(model.read_out(&whole, &whole, Some(&[7, 0, 7])).unwrap());
        let vocab = model.config.vocab;
        let picked: Vec<f32> = logits.chunks(vocab).flat_map(|row| [row[7], row[0], row[7]]).collect();
        close(name, &three, &picked);
    }
}

#[test]
fn patching_grids_are_those_of_transformer_lens() {
    let (model, file) = (model(), recorded("patching.json"));
    let chosen: Vec<Pair> = pairs().iter().filter(|p| ["p0", "p2"].contains(&&p.id[..])).cloned().collect();
    let chosen = Pairs::new(chosen).unwrap();
    let heads = [
        ("z", HeadPlace::Z),
        ("q", HeadPlace::Query),
        ("k", HeadPlace::Key),
        ("v", HeadPlace::Value),
        ("pattern", HeadPlace::Pattern),
    ];
    let streams = [
        ("resid_pre", StreamPlace::ResidPre),
        ("resid_mid", StreamPlace::ResidMid),
        ("attn_out", StreamPlace::AttnOut),
        ("mlp_out", StreamPlace::MlpOut),
    ];
    let mut grids: Vec<(String, Grid)> =
        streams.iter().map(|(name, place)| ((*name).to_owned(), Grid::Positions(*place))).collect();
    for (name, place) in heads {
        grids.push((format!("{name}/head"), Grid::Heads(place)));
        grids.push((format!("{name}/both"), Grid::HeadPositions(place)));
    }
    assert_eq!(grids.len(), file["p0"]["denoise"].as_object().unwrap().len());
    for (kind, direction) in [("denoise", Direction::Denoise), ("noise", Direction::Noise)] {
        for (name, grid) in &grids {
            let found =
                patch_grid(&Task::new(&model, &chosen, Metric::LogitDiff).batch_size(16), *grid, direction)
                    .unwrap();
            for pair in found {
                let expected = &file[&pair.id];
                close(
                    &pair.id,
                    &[pair.clean, pair.corrupt],
                    &numbers(&serde_json::json!([expected["clean"], expected["corrupt"]])),
                );
                let ours: Vec<f32> = pair.patched.iter().copied().collect();
                close(&format!("{name} {kind} {}", pair.id), &ours, &numbers(&expected[kind][name]));
            }
        }
    }
}

#[test]
fn a_zero_ablation_sweep_is_that_of_transformers() {
    let (model, file) = (model(), recorded("ablation.json"));
    let mean = |v: &Value| numbers(v).iter().sum::<f32>() / pairs().len() as f32;
    let found =
        sweep_heads(&Task::new(&model, &pairs(), Metric::LogitDiff).batch_size(3), &Fill::Zero).unwrap();
    let (ours, theirs): (Vec<f32>, Vec<f32>) = found
        .iter()
        .map(|(head, effect)| {
            assert!((effect.clean - mean(&file["clean"])).abs() < TOLERANCE * 10.0);
            (effect.ablated, mean(&file[head.to_string()]))
        })
        .unzip();
    close("ablated", &ours, &theirs);
}

#[test]
fn ranks_and_entropies_are_those_of_the_whole_matrices() {
    let (model, file) = (model(), recorded("complexity.json"));
    let (spectra, entropies) = (head_spectra(&model).unwrap(), attention_entropy(&model, &pairs()).unwrap());
    for (head, s) in spectra.iter() {
        let (expected, e) = (&file[head.to_string()], entropies.get(head));
        let ov = [s.ov_effective_rank, s.ov_stable_rank, s.ov_norm].map(|x| x as f32);
        let qk = [s.qk_effective_rank, s.qk_stable_rank, s.qk_norm].map(|x| x as f32);
        close(&format!("{head} OV"), &ov, &numbers(&expected["ov"]));
        close(&format!("{head} QK"), &qk, &numbers(&expected["qk"]));
        let found = [e.entropy as f32, e.normalised as f32];
        close(
            &format!("{head} entropy"),
            &found,
            &numbers(&serde_json::json!([expected["entropy"], expected["normalised"]])),
        );
    }
}

#[test]
fn paths_are_those_that_a_list_has() {
    let (model, file) = (model(), recorded("paths.json"));
    let wiring = model.wiring();
    let read = |name: &str| -> Value {
        serde_json::from_str(&std::fs::read_to_string(fixture("eap").join(name)).unwrap()).unwrap()
    };
    let kept = read("circuits.json")["selections"]["topn-40"]["pruned"].clone();
    let kept = kept.as_array().unwrap().iter().map(|e| e.as_str().unwrap().parse::<Edge>().unwrap());
    let circuit = Circuit::of(wiring, kept).unwrap();
    let scored = read("eap-ig-inputs-5-logit-diff.json");
    let scores = wiring.edges().map(|e| scored["edges"][e.to_string()]["score"].as_f64().unwrap() as f32);
    let found = paths(&circuit, &EdgeMap::from_values(wiring, scores.collect())).unwrap();
    assert_eq!(found.paths, file["paths"].as_f64().unwrap());
    close("weight", &[found.weight as f32], &[file["weight"].as_f64().unwrap() as f32]);
    for (head, place) in found.heads.iter() {
        let Head { layer, head: index } = head;
        let expected = &file["heads"][format!("a{layer}.h{index}")];
        if expected.is_null() {
            assert_eq!((place.paths, place.weight, place.out), (0.0, 0.0, 0), "{head}");
            continue;
        }
        assert_eq!(place.paths, expected["paths"].as_f64().unwrap(), "{head}");
        close(&head.to_string(), &[place.weight as f32], &numbers(&expected["weight"]));
        let into = [place.into_query, place.into_key, place.into_value, place.out].map(|n| n as f32);
        assert_eq!(into.to_vec(), [numbers(&expected["into"]), numbers(&expected["out"])].concat(), "{head}");
    }
}

#[test]
#[ignore = "needs shared data (SPARKS_SHARED)"]
fn builders_know_what_qwens_tokenizer_splits() {
    use tasks::{Arithmetic, Corruption, Operation, YearDigits, arithmetic, greater_than, ioi};
    let path = crate::fixtures::shared("tokenizers/qwen2.5/tokenizer.json");
    let text = model_qwen::Text::open(&path).unwrap();
    let read = |ids: &[u32]| text.decode(ids).unwrap();

    for corruption in [Corruption::Abc, Corruption::Flip] {
        let built = ioi(corruption, 40, 0, &text).unwrap();
        assert_eq!(built.pairs.len(), 40, "{}", built.summary());
        for pair in &built.pairs {
            let (io, subject) = (read(&pair.target.answers), read(&pair.target.distractors));
            let (clean, corrupt) = (read(&pair.clean), read(&pair.corrupt));
            assert_eq!((clean.matches(&io).count(), clean.matches(&subject).count()), (1, 2), "{clean}");
            assert_eq!(corrupt.matches(&io).count(), if corruption == Corruption::Flip { 2 } else { 1 });
            assert!(!clean.contains("PLACE") && !clean.contains("THING"), "{clean}");
        }
    }
    let error = greater_than(YearDigits::Two, 4, 0, &text).unwrap_err().to_string();
    assert!(error.contains("use --digits 1"), "{error}");
    for pair in &greater_than(YearDigits::One, 20, 0, &text).unwrap().pairs {
        let clean = read(&pair.clean);
        let tens: u32 = clean.split("the year 1").nth(1).unwrap()[1..2].parse().unwrap();
        let digits: Vec<u32> = pair.target.answers.iter().map(|&id| read(&[id]).parse().unwrap()).collect();
        assert_eq!(digits, (tens + 1..10).collect::<Vec<_>>(), "{clean}");
    }
    let sums = arithmetic(Arithmetic { operation: Operation::Add, digits: 2 }, 20, 0, &text).unwrap();
    for pair in &sums.pairs {
        let clean = read(&pair.clean);
        let (a, b) = clean.trim_end_matches('=').split_once('+').unwrap();
        let sum = a.parse::<u32>().unwrap() + b.parse::<u32>().unwrap();
        assert!(sum.to_string().starts_with(&read(&pair.target.answers)), "{clean}");
    }
}

#[test]
fn openings_are_what_each_model_says() {
    use model_qwen::Sampling;
    use tasks::{Opening, openings};
    let (post, base) = (load(&fixture("qwen2-tied")), model());
    let problems: Vec<(String, Vec<u32>)> = (0..6)
        .map(|i| (format!("q{i}"), (0..3 + i % 3).map(|j| (7 * i + 11 * j) as u32 % 61).collect()))
        .collect();
    let how = Sampling { max_tokens: 5, ..Sampling::default() };
    let of = |model, batch| Opening::of(model, &problems, &how, batch).unwrap();
    let (said, other) = (of(&post, 4), of(&base, 4));
    assert_eq!(said, of(&post, 1), "whatever the batch");
    let built = openings(&said, &other, &[2, 4]).unwrap();
    assert!(built.pairs.len() >= 6, "{}", built.summary());
    let next = |model: &Qwen, prompt: &Vec<u32>| {
        let batch = Batch::new(std::slice::from_ref(prompt)).unwrap().rows(Rows::Last);
        model.run(&batch, &mut ()).argmax(2).into_scalar::<i64>() as u32
    };
    for pair in &built.pairs {
        assert_eq!(pair.target.answers, [next(&post, &pair.clean)]);
        assert_eq!(pair.target.distractors, [next(&base, &pair.corrupt)]);
        let problem = problems.iter().find(|(id, _)| pair.id.starts_with(&format!("{id}-"))).unwrap();
        assert!(pair.clean.starts_with(&problem.1) && pair.corrupt.starts_with(&problem.1));
    }
    // A model beside itself differs in nothing.
    let same = openings(&said, &said, &[2]).unwrap();
    assert_eq!((same.pairs.len(), same.dropped["with one opening"]), (0, 6));
    assert!(same.checked().unwrap_err().to_string().contains("6 with one opening"));
}
