//! Generation against `transformers`' greedy ids, and its own invariances.

use std::sync::Arc;

use ablation::{Ablation, Fill, Resampled, sweep};
use hooks::{Batch, Heads, Hook, HookedModel as _, Metric, Pair, Pairs, Site, Stream, Target, Task};
use model_qwen::{Finish, Next, Pass, Request, Room, Sampling, generate};

use crate::fixtures::{fixture, load};

fn requests(prompts: &[Vec<u32>]) -> Vec<Request> {
    prompts
        .iter()
        .enumerate()
        .map(|(i, p)| Request { prompt: p.clone(), stream: i as u64, origin: i })
        .collect()
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

/// Bits, not tokens alone: short prompts and longer ones, groups that share theirs, rows that end at different times
/// and are followed by others, caches that are moved.
#[test]
fn completions_have_the_same_bits_in_any_company() {
    for name in ["qwen2-tied", "qwen3"] {
        let model = load(&fixture(name));
        let prompt =
            |i: usize| (0..1 + i * 7 % 24).map(|t| ((i * 5 + t * 3) % 50) as u32).collect::<Vec<_>>();
        let request = |i: usize| Request { prompt: prompt(i / 3), stream: i as u64, origin: i / 3 };
        let all: Vec<Request> = (0..24).map(request).collect();
        let budget = |at: usize| 1 + at * 13 % 40;
        let run = |requests: &[Request], at: &[usize], room: Room| {
            let how = Sampling { max_tokens: 40, temperature: 1.0, seed: 7, room, ..Sampling::default() };
            let mut left: Vec<usize> = at.iter().map(|&at| budget(at)).collect();
            let watch = |row: usize, _| {
                left[row] -= 1;
                if left[row] == 0 { Next::EndRow } else { Next::Go }
            };
            generate(&model, requests, &how, &mut (), watch).unwrap()
        };
        let alone: Vec<_> =
            (0..all.len()).flat_map(|at| run(&all[at..=at], &[at], Room::default())).collect();
        assert!(alone.iter().enumerate().all(|(at, done)| done.ids.len() == budget(at)));
        let order: Vec<usize> = (0..all.len()).collect();
        for rows in [1, 2, 3, 7, 16, 100] {
            assert!(run(&all, &order, Room::rows(rows)) == alone, "{name}: {rows} rows");
        }
        // The longest row has 24 + 40 tokens; 80 positions a slot where rows follow each other.
        for tokens in [64, 159, 160, 500, 10_000] {
            assert!(run(&all, &order, Room { rows: 100, tokens }) == alone, "{name}: {tokens} tokens");
        }
        let backwards: Vec<usize> = order.iter().rev().copied().collect();
        let reversed: Vec<Request> = all.iter().rev().cloned().collect();
        let found = run(&reversed, &backwards, Room::rows(4));
        assert!(found.into_iter().rev().eq(alone), "{name}: in the other order");
    }
}

/// What `work` gives on `n` threads.
fn on_threads<T: Send>(n: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap().install(work)
}

/// A hook that changes heads as `Ablation` does, and cannot be forked.
struct Whole(Ablation);

impl Hook for Whole {
    fn wants(&self, site: Site) -> bool {
        self.0.wants(site)
    }
    fn begin(&mut self, batch: &Batch, offset: usize) {
        self.0.begin(batch, offset);
    }
    fn on_heads(&mut self, site: Heads, z: burn::tensor::Tensor<4>) -> burn::tensor::Tensor<4> {
        self.0.on_heads(site, z)
    }
}

/// Threads that run parts of the rows give the bits of one that runs them all, in every way that a row can end; a hook
/// that cannot be forked sees all rows.
#[test]
fn parts_of_the_rows_have_the_bits_of_all() {
    let model = load(&fixture("qwen3"));
    let prompt = |i: usize| (0..3 + i * 7 % 19).map(|t| ((i * 5 + t * 3) % 50) as u32).collect::<Vec<_>>();
    let source = Batch::new(&[vec![7, 8, 9], vec![20, 21]]).unwrap();
    let resampled = Fill::Resample(Arc::new(Resampled::record(&model, &source)));
    for fill in [Fill::Zero, resampled] {
        let hook = Ablation::heads(model.wiring(), model.wiring().heads().take(2), fill).unwrap();
        let request = |i: usize| Request { prompt: prompt(i / 3), stream: i as u64, origin: i / 3 };
        let all: Vec<Request> = (0..53).map(request).collect();
        let how = Sampling {
            max_tokens: 20,
            temperature: 1.0,
            stop_ids: (0..model.config.vocab as u32).step_by(23).collect(),
            room: Room::rows(33),
            ..Sampling::default()
        };
        let run = |threads: usize, hook: &mut (dyn Hook + Send)| {
            let watch = |row: usize, token: u32| match (row % 5, token % 7) {
                (0, 1) => Next::EndRow,
                _ => Next::Go,
            };
            on_threads(threads, || generate(&model, &all, &how, hook, watch).unwrap())
        };
        let expected = run(1, &mut hook.clone());
        for finish in [Finish::Eos, Finish::Length, Finish::Stop] {
            assert!(expected.iter().any(|done| done.finish == finish), "{finish:?}");
        }
        for threads in [2, 3, 8] {
            assert!(run(threads, &mut hook.clone()) == expected, "{threads} threads");
        }
        assert!(run(3, &mut Whole(hook.clone())) == expected, "a hook that cannot be forked");
    }
}

/// The watcher ends all parts: what is done by then is the beginning of what would have been.
#[test]
fn the_watcher_ends_all_parts() {
    let model = load(&fixture("qwen3"));
    let all = requests(&(0..40).map(|i| vec![i + 1, 5, 9, i]).collect::<Vec<_>>());
    let how = Sampling { room: Room::rows(32), ..greedy(12) };
    let whole = generate(&model, &all, &how, &mut (), |_, _| true).unwrap();
    for threads in [1, 3] {
        let mut tokens = 0;
        let watch = |_, _| {
            tokens += 1;
            tokens < 100
        };
        let cut = on_threads(threads, || generate(&model, &all, &how, &mut (), watch).unwrap());
        assert!(cut.iter().zip(&whole).all(|(cut, whole)| whole.ids.starts_with(&cut.ids)));
        let n: usize = cut.iter().map(|done| done.ids.len()).sum();
        assert!((100..140).contains(&n) && n == tokens, "{n} tokens, {tokens} seen");
    }
}

/// Makes the logits of some prompts' rows NaN once `after` positions are cached.
struct Broken {
    after: usize,
    rows: Vec<f32>,
}

impl Hook for Broken {
    fn wants(&self, site: Site) -> bool {
        site == Site::Stream(Stream::FinalNorm)
    }
    fn begin(&mut self, batch: &hooks::Batch, offset: usize) {
        let bad = |&origin: &usize| if origin % 2 == 1 && offset >= self.after { f32::NAN } else { 0.0 };
        self.rows = batch.origins().iter().map(bad).collect();
    }
    fn on_stream(&mut self, _: Stream, x: burn::tensor::Tensor<3>) -> burn::tensor::Tensor<3> {
        let add = burn::tensor::Tensor::<1>::from_data(&self.rows[..], &x.device());
        x + add.reshape([self.rows.len(), 1, 1])
    }
}

#[test]
fn logits_that_are_not_numbers_name_their_rows() {
    let model = load(&fixture("qwen2-tied"));
    let prompts = requests(&[vec![1, 2, 3], vec![9], vec![6, 7], vec![5, 1]]);
    for temperature in [0.0, 1.0] {
        let how = Sampling { temperature, ..greedy(6) };
        let mut hook = Broken { after: 4, rows: Vec::new() };
        let message = generate(&model, &prompts, &how, &mut hook, |_, _| true).unwrap_err().to_string();
        assert!(message.contains("row 1, 3: after 2 new tokens the logits are NaN"), "{message}");
    }
}

/// Counts the rows of prompts that are run.
#[derive(Default)]
struct Prompts(usize);

impl Hook for Prompts {
    fn wants(&self, _: Site) -> bool {
        false
    }
    fn begin(&mut self, batch: &hooks::Batch, offset: usize) {
        self.0 += if offset == 0 { batch.batch() } else { 0 };
    }
}

#[test]
fn a_group_shares_the_run_of_its_prompt() {
    let model = load(&fixture("qwen2-tied"));
    let request = |i: usize| Request { prompt: vec![1 + i as u32 / 8, 2], stream: i as u64, origin: i / 8 };
    let all: Vec<Request> = (0..24).map(request).collect();
    for rows in [1, 5, 24] {
        let mut seen = Prompts::default();
        let how = Sampling { room: Room::rows(rows), ..greedy(3) };
        let done = generate(&model, &all, &how, &mut seen, |_, _| true).unwrap();
        assert_eq!(seen.0, 3, "{rows} rows");
        assert!(done.chunks(8).all(|group| group.iter().all(|c| c == &group[0] && c.ids.len() == 3)));
    }
    // Another origin is another prompt to a hook.
    let mut seen = Prompts::default();
    let apart: Vec<Request> = (0..4).map(|origin| Request { origin, ..all[0].clone() }).collect();
    generate(&model, &apart, &greedy(1), &mut seen, |_, _| true).unwrap();
    assert_eq!(seen.0, 4);
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
    let narrow = Sampling { room: Room { tokens: 5, ..Room::default() }, ..greedy(4) };
    assert!(run(&[vec![1, 2]], &narrow).contains("has 6"));
    assert!(run(&[vec![1]], &Sampling { room: Room::rows(0), ..greedy(1) }).contains("at least 1"));
}

#[test]
fn several_stop_tokens_end_rows_early_and_the_others_go_on() {
    let model = load(&fixture("qwen2-tied"));
    let prompts = requests(&[vec![1, 2, 3, 4], vec![5], vec![6, 7]]);
    let free = generate(&model, &prompts, &greedy(10), &mut (), |_, _| true).unwrap();
    // The third token of the first row and the fifth of the second.
    let stop_ids = vec![free[0].ids[2], free[1].ids[4]];
    let how = Sampling { stop_ids: stop_ids.clone(), ..greedy(10) };
    let stopped = generate(&model, &prompts, &how, &mut (), |_, _| true).unwrap();
    for (stopped, free) in stopped.iter().zip(&free) {
        let end = free.ids.iter().position(|id| stop_ids.contains(id)).map_or(10, |at| at + 1);
        assert_eq!(stopped.ids, free.ids[..end], "a stop token is kept, and nothing after it");
        let finish =
            if free.ids[..end].iter().any(|id| stop_ids.contains(id)) { Finish::Eos } else { Finish::Length };
        assert_eq!(stopped.finish, finish);
        assert_eq!((stopped.logprobs.len(), stopped.sampling_logprobs.len()), (end, end));
    }
    assert!(stopped[0].ids.len() <= 3 && stopped[1].ids.len() <= 5);
}

#[test]
fn log_probabilities_are_those_of_the_model_and_of_what_was_sampled_from() {
    let model = load(&fixture("qwen3"));
    let prompt = vec![4, 8, 15, 16];
    let how = Sampling { max_tokens: 8, temperature: 0.7, top_k: 5, seed: 3, ..Sampling::default() };
    let done =
        generate(&model, &requests(std::slice::from_ref(&prompt)), &how, &mut (), |_, _| true).unwrap();
    // The oracle: one forward pass over prompt and completion.
    let whole = [prompt.clone(), done[0].ids.clone()].concat();
    let logits = model.forward(&hooks::Batch::new(std::slice::from_ref(&whole)).unwrap(), Pass::new(&mut ()));
    let rows: Vec<f32> = crate::fixtures::values(logits);
    for (at, &token) in done[0].ids.iter().enumerate() {
        let row = &rows[(prompt.len() + at - 1) * model.config.vocab..][..model.config.vocab];
        let log_prob = |scale: f64, kept: usize| -> f64 {
            let mut scaled: Vec<f64> = row.iter().map(|&x| f64::from(x) * scale).collect();
            let own = scaled[token as usize];
            scaled.sort_by(|a, b| b.total_cmp(a));
            own - scaled[..kept].iter().map(|x| (x - scaled[0]).exp()).sum::<f64>().ln() - scaled[0]
        };
        // Logits of some tens, with and without a cache: 1e-4 is ten times what was seen.
        assert!((f64::from(done[0].logprobs[at]) - log_prob(1.0, row.len())).abs() < 1e-4);
        assert!((f64::from(done[0].sampling_logprobs[at]) - log_prob(1.0 / 0.7, 5)).abs() < 1e-4);
    }
}

/// The cache's buffers grow; what it returns is what a run without one says.
#[test]
fn long_answers_outgrow_the_first_buffers() {
    let model = load(&fixture("qwen3"));
    let prompts = requests(&[vec![1, 2, 3, 4], vec![9]]);
    let found = generate(&model, &prompts, &greedy(600), &mut (), |_, _| true).unwrap();
    for (request, found) in prompts.iter().zip(&found) {
        assert_eq!(found.ids.len(), 600);
        let whole = [&request.prompt[..], &found.ids].concat();
        let logits = model.forward(&Batch::new(std::slice::from_ref(&whole)).unwrap(), Pass::new(&mut ()));
        let seq = logits.dims()[1];
        let ids: Vec<i64> = whole[1..].iter().map(|&id| i64::from(id)).chain([0]).collect();
        let ids = burn::tensor::TensorData::new(ids, [1, seq, 1]);
        let log_probs = burn::tensor::activation::log_softmax(logits, 2);
        let log_probs = log_probs.gather(2, burn::tensor::Tensor::from_data(ids, &model.device()));
        let log_probs: Vec<f32> = log_probs.into_data().try_to_vec().unwrap();
        let start = request.prompt.len() - 1;
        // Logits of some tens, with and without a cache, as below.
        for (at, (found, expected)) in found.logprobs.iter().zip(&log_probs[start..]).enumerate() {
            assert!((found - expected).abs() < 1e-4, "token {at}: {found} and {expected}");
        }
    }
}

/// A head's values from another run: each prompt keeps its source row, whatever finishes around it.
#[test]
fn resampled_values_are_those_of_the_prompt() {
    let model = load(&fixture("qwen2-tied"));
    let source = Batch::new(&[vec![7, 8, 9], vec![20, 21], vec![33, 34, 35, 36]]).unwrap();
    let fill = Fill::Resample(Arc::new(Resampled::record(&model, &source)));
    let wiring = model.wiring();
    let mut hook = Ablation::heads(wiring, wiring.heads().take(4), fill).unwrap();
    let prompts: Vec<Vec<u32>> = (0..9).map(|i| vec![i + 1, 2 * i + 3, i + 5]).collect();
    let all = requests(&prompts);
    let first = generate(&model, &all, &greedy(10), &mut hook, |_, _| true).unwrap();
    // The commonest first token ends some rows early.
    let stop_ids = vec![first[2].ids[0], first[5].ids[1]];
    let how = Sampling { stop_ids, ..greedy(10) };
    let together = generate(&model, &all, &how, &mut hook, |_, _| true).unwrap();
    assert!(together.iter().any(|c| c.ids.len() < 3) && together.iter().any(|c| c.ids.len() == 10));
    for (request, expected) in all.iter().zip(&together) {
        let alone = generate(&model, std::slice::from_ref(request), &how, &mut hook, |_, _| true).unwrap();
        assert_eq!(alone[0].ids, expected.ids);
    }

    let pairs: Vec<Pair> = prompts.iter().enumerate().map(|(i, p)| pair(i, p)).collect();
    let pairs = Pairs::new(pairs).unwrap();
    let effect = |batch| {
        sweep(&Task::new(&model, &pairs, Metric::LogitDiff).batch_size(batch), &[hook.clone()]).unwrap()[0]
            .ablated
    };
    assert!((effect(1) - effect(4)).abs() < 1e-5 && (effect(1) - effect(9)).abs() < 1e-5);
}

fn pair(i: usize, prompt: &[u32]) -> Pair {
    Pair {
        id: i.to_string(),
        clean: prompt.to_vec(),
        corrupt: prompt.to_vec(),
        target: Target { answers: vec![1], distractors: vec![2] },
        earlier: Vec::new(),
    }
}

#[test]
fn tokens_are_streamed_as_they_are_chosen_and_the_watcher_may_stop() {
    let model = load(&fixture("qwen2-tied"));
    let prompts = requests(&[vec![1, 2, 3], vec![9]]);
    let mut streamed = vec![Vec::new(); 2];
    let done = generate(&model, &prompts, &greedy(6), &mut (), |row, token| {
        streamed[row].push(token);
        true
    })
    .unwrap();
    assert!(done.iter().zip(&streamed).all(|(done, streamed)| &done.ids == streamed));
    let mut n = 0;
    let stopped = generate(&model, &prompts[..1], &greedy(6), &mut (), |_, _| {
        n += 1;
        n < 3
    })
    .unwrap();
    assert_eq!(stopped[0].ids, done[0].ids[..3]);
}
