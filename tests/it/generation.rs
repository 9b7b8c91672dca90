//! Generation against `transformers`' greedy ids, and its own invariances.

use hooks::{Heads, Hook, Site};
use model_qwen::{Request, Sampling, generate};

use crate::fixtures::{fixture, load};

fn requests(prompts: &[Vec<u32>]) -> Vec<Request> {
    prompts.iter().enumerate().map(|(i, p)| Request { prompt: p.clone(), stream: i as u64 }).collect()
}

fn greedy(n: usize) -> Sampling {
    Sampling { max_tokens: n, ..Sampling::default() }
}

#[test]
fn greedy_tokens_are_those_of_transformers() {
    for name in ["qwen2-tied", "qwen3"] {
        let model = load(&fixture(name));
        let text = std::fs::read_to_string(fixture(name).join("greedy.json")).unwrap();
        let golden: serde_json::Value = serde_json::from_str(&text).unwrap();
        let runs = golden.as_array().cloned().or_else(|| golden["runs"].as_array().cloned()).unwrap();
        let ids = |v: &serde_json::Value| -> Vec<u32> {
            v.as_array().unwrap().iter().map(|x| x.as_u64().unwrap() as u32).collect()
        };
        let prompts: Vec<Vec<u32>> = runs.iter().map(|r| ids(&r["prompt_ids"])).collect();
        // All in one left-padded batch.
        let found = generate(&model, &requests(&prompts), &greedy(20), &mut (), |_, _| true).unwrap();
        for (run, found) in runs.iter().zip(found) {
            assert_eq!(found.ids, ids(&run["ids"]), "{name}");
            for (a, b) in found.logprobs.iter().zip(run["logprobs"].as_array().unwrap()) {
                assert!((f64::from(*a) - b.as_f64().unwrap()).abs() < 1e-4);
            }
        }
    }
}

#[test]
fn samples_do_not_depend_on_batch_mates() {
    let model = load(&fixture("qwen2-tied"));
    let how = Sampling {
        max_tokens: 12,
        temperature: 1.0,
        top_p: 0.9,
        seed: 7,
        stop_ids: vec![3],
        ..Sampling::default()
    };
    let prompts = [vec![1, 2, 3, 4], vec![5], vec![6, 7], vec![1, 2, 3, 4]];
    let all = requests(&prompts);
    let together = generate(&model, &all, &how, &mut (), |_, _| true).unwrap();
    for (request, expected) in all.iter().zip(&together) {
        let alone = generate(&model, std::slice::from_ref(request), &how, &mut (), |_, _| true).unwrap();
        assert_eq!(&alone[0].ids, &expected.ids);
    }
    let mut reversed = all.clone();
    reversed.reverse();
    let backwards = generate(&model, &reversed, &how, &mut (), |_, _| true).unwrap();
    assert!(backwards.iter().rev().zip(&together).all(|(a, b)| a.ids == b.ids));
    assert_ne!(together[0].ids, together[3].ids, "streams of one seed differ");
}

/// Zeroes every head's mixed values and counts passes.
#[derive(Default)]
struct Silence {
    passes: Vec<usize>,
}

impl Hook for Silence {
    fn wants(&self, site: Site) -> bool {
        matches!(site, Site::Heads(Heads::Z(_)))
    }
    fn begin(&mut self, _: &hooks::Batch, offset: usize) {
        self.passes.push(offset);
    }
    fn on_heads(&mut self, _: Heads, x: burn::tensor::Tensor<4>) -> burn::tensor::Tensor<4> {
        x.zeros_like()
    }
}

#[test]
fn hooks_act_in_prefill_and_decode() {
    let model = load(&fixture("qwen2-tied"));
    let prompt = requests(&[vec![1, 2, 3, 4, 5]]);
    let plain = generate(&model, &prompt, &greedy(8), &mut (), |_, _| true).unwrap();
    let mut hook = Silence::default();
    let silent = generate(&model, &prompt, &greedy(8), &mut hook, |_, _| true).unwrap();
    assert_eq!(hook.passes, [0, 5, 6, 7, 8, 9, 10, 11]);
    assert_ne!(plain[0].ids, silent[0].ids);
    // Without attention nothing is remembered: the next token is a function of the last one alone.
    for pair in silent[0].ids.windows(2) {
        let step =
            generate(&model, &requests(&[vec![pair[0]]]), &greedy(1), &mut Silence::default(), |_, _| true);
        assert_eq!(step.unwrap()[0].ids, [pair[1]]);
    }
}

#[test]
fn bad_requests_are_errors() {
    let model = load(&fixture("qwen2-tied"));
    let run = |prompts: &[Vec<u32>], how: &Sampling| {
        generate(&model, &requests(prompts), how, &mut (), |_, _| true).unwrap_err().to_string()
    };
    assert!(run(&[vec![61]], &greedy(1)).contains("token 61"));
    assert!(run(&[], &greedy(1)).contains("no rows"));
    assert!(run(&[vec![]], &greedy(1)).contains("row 0 is empty"));
    assert!(run(&[vec![1]], &Sampling { temperature: -1.0, ..greedy(1) }).contains("temperature"));
    assert!(run(&[vec![1]], &Sampling { top_p: 0.0, ..greedy(1) }).contains("top-p"));
}
