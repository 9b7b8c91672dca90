//! What the servers are asked and what they answer. Both kinds take the same request; it names every setting, since a
//! server takes what is left out from the model's `generation_config.json`.

use model_qwen::{Completion, Finish, Request, Sampling};
use serde_json::{Value, json};

use crate::http::Failure;

/// The program that serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Vllm,
    Sglang,
}

/// What a server says of itself in `/v1/models`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Card {
    pub(crate) kind: Kind,
    /// Its name of the model without adapters.
    pub(crate) model: String,
    /// The folder or hub id that it was started with; nothing where it does not say.
    pub(crate) root: Option<String>,
    /// Tokens of a prompt and its completion at most.
    pub(crate) max_len: usize,
    /// Whether its log-probabilities are those of the distribution after temperature; nothing where it does not say.
    pub(crate) at_temperature: Option<bool>,
}

impl Card {
    /// # Errors
    /// What is missing.
    pub(crate) fn read(models: &Value) -> Result<Self, String> {
        let all = models["data"].as_array().into_iter().flatten();
        let base =
            all.into_iter().find(|model| model["parent"].is_null()).ok_or("/v1/models lists no model")?;
        let kind = match base["owned_by"].as_str() {
            Some("vllm") => Kind::Vllm,
            Some("sglang") => Kind::Sglang,
            other => return Err(format!("owned_by {other:?} in /v1/models, expected vllm or sglang")),
        };
        let model = base["id"].as_str().ok_or("a model without id in /v1/models")?.to_owned();
        let max_len = base["max_model_len"].as_u64().ok_or("no max_model_len in /v1/models")? as usize;
        // SGLang has its name there.
        let root = base["root"].as_str().filter(|_| kind == Kind::Vllm).map(str::to_owned);
        Ok(Self { kind, model, root, max_len, at_temperature: None })
    }
}

/// How a completion is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    pub(crate) request: &'a Request,
    pub(crate) how: &'a Sampling,
    /// Strings that end it.
    pub(crate) stops: &'a [String],
}

impl Ask<'_> {
    /// The body of `/v1/completions`, with an adapter by its name or without.
    pub(crate) fn body(&self, card: &Card, adapter: Option<&str>) -> Value {
        let Self { request, how, stops } = self;
        let mut body = json!({
            "model": adapter.unwrap_or(&card.model),
            "prompt": request.prompt,
            "max_tokens": how.max_tokens,
            "temperature": how.temperature,
            "top_p": how.top_p,
            "top_k": if how.top_k == 0 { -1 } else { how.top_k as i64 },
            "min_p": how.min_p,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "seed": seed(how.seed, request.stream),
            "stop": stops,
            "stop_token_ids": how.stop_ids,
            "logprobs": 0,
            "return_token_ids": true,
        });
        if let (Kind::Sglang, Some(adapter)) = (card.kind, adapter) {
            body["model"] = card.model.clone().into();
            body["lora_path"] = adapter.into();
        }
        body
    }

    /// The completion of an answer. Both log-probabilities are the server's.
    pub(crate) fn read(&self, answer: &Value) -> Result<Completion, Failure> {
        let wrong = |what: String| Failure::Refused(format!("/v1/completions: {what}"));
        let choice = &answer["choices"][0];
        let ids = ids(&choice["token_ids"]).ok_or_else(|| {
            wrong("no token_ids in the answer, expected a server that knows return_token_ids".to_owned())
        })?;
        if ids_differ(&choice["prompt_token_ids"], &self.request.prompt) {
            return Err(wrong("the server changed the ids of the prompt".to_owned()));
        }
        let values = choice["logprobs"]["token_logprobs"].as_array();
        // null where the server has no number.
        let number = |x: &Value| x.as_f64().map_or(f32::NAN, |x| x as f32);
        let logprobs: Vec<f32> = values.into_iter().flatten().map(number).collect();
        if logprobs.len() != ids.len() {
            return Err(wrong(format!("{} log-probabilities of {} tokens", logprobs.len(), ids.len())));
        }
        let ended = ids.last().is_some_and(|last| self.how.stop_ids.contains(last));
        let finish = match choice["finish_reason"].as_str() {
            Some("length") if ids.len() == self.how.max_tokens => Finish::Length,
            Some("length") => {
                let (n, asked) = (ids.len(), self.how.max_tokens);
                return Err(wrong(format!("ended by length after {n} of {asked} tokens")));
            }
            Some("stop") if ended => Finish::Eos,
            Some("stop") if !self.stops.is_empty() => Finish::Stop,
            Some("stop") => {
                return Err(wrong(format!(
                    "the server ended a completion at token {:?}, which is no stop token of this model: expected the \
                     same generation_config.json",
                    ids.last()
                )));
            }
            other => return Err(Failure::Away(None, format!("/v1/completions: finish_reason {other:?}"))),
        };
        Ok(Completion { ids, sampling_logprobs: logprobs.clone(), logprobs, finish })
    }
}

fn ids(value: &Value) -> Option<Vec<u32>> {
    value.as_array()?.iter().map(|id| id.as_u64()?.try_into().ok()).collect()
}

/// Whether the server says the ids of the prompt, and others than were sent.
fn ids_differ(said: &Value, sent: &[u32]) -> bool {
    said.is_array() && ids(said).as_deref() != Some(sent)
}

/// The seed of a request: a function of the run's seed and of its stream (splitmix64), from 0 to 2⁶³ − 1.
fn seed(run: u64, stream: u64) -> u64 {
    let mix = |x: u64| {
        let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    };
    let next = |x: u64| x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mix(next(mix(next(run)) ^ stream)) >> 1
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(answer: &Value, how: &Sampling, stops: &[String]) -> Result<Completion, Failure> {
        let request = Request { prompt: vec![1, 2], stream: 0, origin: 0 };
        Ask { request: &request, how, stops }.read(answer)
    }

    fn answer(change: impl Fn(&mut Value)) -> Value {
        let mut choice = json!({
            "token_ids": [7, 8, 9], "prompt_token_ids": [1, 2], "finish_reason": "stop",
            "logprobs": { "token_logprobs": [-1.5, null, -0.25] },
        });
        change(&mut choice);
        json!({ "choices": [choice] })
    }

    #[test]
    fn what_an_answer_says_is_checked() {
        let how = Sampling { max_tokens: 4, stop_ids: vec![9], ..Sampling::default() };
        let whole = read(&answer(|_| ()), &how, &[]).unwrap();
        assert_eq!((whole.ids, whole.finish), (vec![7, 8, 9], Finish::Eos));
        assert!(whole.logprobs[1].is_nan() && whole.sampling_logprobs[2] == -0.25);
        let stops = ["x".to_owned()];
        let stopped = read(&answer(|c| c["token_ids"] = json!([7, 8, 5])), &how, &stops).unwrap();
        assert_eq!(stopped.finish, Finish::Stop);
        type Change = fn(&mut Value);
        let refused: [(&str, Change); 6] = [
            ("no token_ids", |c| c["token_ids"] = Value::Null),
            ("no token_ids", |c| c["token_ids"] = json!([-1])),
            ("changed the ids", |c| c["prompt_token_ids"] = json!([2])),
            ("2 log-probabilities of 3", |c| c["logprobs"]["token_logprobs"] = json!([-1.0, -1.0])),
            ("no stop token", |c| c["token_ids"] = json!([7, 8, 5])),
            ("after 3 of 4 tokens", |c| c["finish_reason"] = "length".into()),
        ];
        for (says, change) in refused {
            let Err(Failure::Refused(message)) = read(&answer(change), &how, &[]) else { panic!("{says}") };
            assert!(message.contains(says), "{message}");
        }
        let aborted = read(&answer(|c| c["finish_reason"] = "abort".into()), &how, &[]);
        assert!(matches!(aborted, Err(Failure::Away(..))));
    }

    #[test]
    fn seeds_are_of_streams_and_fit_a_signed_integer() {
        let all: std::collections::BTreeSet<u64> =
            (0..4).flat_map(|run| (0..1000).map(move |stream| seed(run, stream))).collect();
        assert_eq!(all.len(), 4000);
        assert!(all.iter().all(|&seed| i64::try_from(seed).is_ok()));
    }

    #[test]
    fn a_server_says_what_it_is() {
        let lora = json!({ "id": "a", "parent": "policy", "owned_by": "vllm", "max_model_len": null });
        let base =
            json!({ "id": "policy", "root": "/m", "parent": null, "owned_by": "vllm", "max_model_len": 512 });
        let card = Card::read(&json!({ "data": [lora, base] })).unwrap();
        assert_eq!(
            card,
            Card {
                kind: Kind::Vllm,
                model: "policy".into(),
                root: Some("/m".into()),
                max_len: 512,
                at_temperature: None
            }
        );
        let other = json!({ "data": [{ "id": "m", "owned_by": "llamacpp" }] });
        assert!(Card::read(&other).unwrap_err().contains("expected vllm or sglang"));
    }
}
