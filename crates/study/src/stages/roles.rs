//! Stage `heads`, jobs `roles`: what the heads of a checkpoint attend to.

use ::circuits::{Relation, attended, role, token_scores};
use burn::tensor::Tensor;
use common::Error;
use hooks::{Batch, Head, Heads, Hook, HookedModel as _, Pairs, Rows, Site};
use model_qwen::Qwen;
use serde_json::json;

use super::Subject;
use super::pairs::Suite;
use crate::jobs::Job;
use crate::results::{AttentionExample, HeadAttention, HeadRole, HeadRoles};
use crate::{Stage, Study};

/// The longest prompt that is taken as the example, tokens.
const LONGEST: usize = 64;

/// The roles of the heads of `subject` on `suite`; with the attention of `shown` heads on one prompt, where there are
/// any. Which are shown follows from the scores whose hashes are `by` and the first rule; they are not known before their
/// circuits are. `None` where the roles are not done here.
pub(crate) fn roles(
    study: &mut Study<'_>,
    subject: &Subject,
    (suite, is_base): (&Suite, bool),
    (by, shown): ([Option<String>; 2], Option<Vec<Head>>),
) -> Result<Option<HeadRoles>, Error> {
    let name = format!("{}/{}/roles", subject.label, suite.name);
    let Some((_, pairs_hash)) = suite.file(is_base) else {
        study.jobs.wait(Stage::Heads, &name);
        return Ok(None);
    };
    let rule = &study.config.circuit[0];
    let inputs = json!({ "model": subject.hash, "pairs": pairs_hash, "scores": by, "rule": rule });
    let job = Job { stage: Stage::Heads, name: &name, inputs, files: &[], ready: shown.is_some() };
    let shown = shown.unwrap_or_default();
    let Study { jobs, work, .. } = study;
    let done = jobs.run(&job, |_| {
        work.say(format!("heads: roles in {} on {}", subject.label, suite.name));
        let pairs = suite.of(subject, is_base)?;
        let texts = Texts::new(subject)?;
        let model = work.model(subject)?;
        let by_relation = attended(model, &pairs, &|id| Relation::of_text(&texts.of(id)))?;
        let scores = token_scores(model, (&model.embed, model.unembed()))?;
        let one = |head: Head| {
            let attended = by_relation.get(head).clone();
            HeadRole { head, role: role(&attended), attended, scores: *scores.get(head) }
        };
        Ok(HeadRoles {
            checkpoint: subject.label.clone(),
            suite: suite.name.clone(),
            heads: model.wiring().heads().map(one).collect(),
            example: example(model, &pairs, &shown, &texts)?,
        })
    })?;
    Ok(done.map(|done| done.result))
}

/// The texts of tokens; their ids where there is no tokenizer.
struct Texts {
    text: Option<model_qwen::Text>,
}

impl Texts {
    fn new(subject: &Subject) -> Result<Self, Error> {
        Ok(Self { text: subject.text()? })
    }

    fn of(&self, id: u32) -> String {
        let text = self.text.as_ref().and_then(|text| text.decode_all(&[id]).ok());
        text.unwrap_or_else(|| id.to_string())
    }
}

/// Attention of `shown` heads on the first prompt that is short enough.
fn example(
    model: &Qwen,
    pairs: &Pairs,
    shown: &[Head],
    texts: &Texts,
) -> Result<Option<AttentionExample>, Error> {
    let Some(pair) = pairs.iter().find(|p| p.clean.len() <= LONGEST).filter(|_| !shown.is_empty()) else {
        return Ok(None);
    };
    let mut rows = Patterns { shown, found: Vec::new() };
    let batch = Batch::new(std::slice::from_ref(&pair.clean))?.rows(Rows::Last);
    let _ = model.run(&batch, &mut rows);
    let tokens = pair.clean.iter().map(|&id| texts.of(id)).collect();
    Ok(Some(AttentionExample { pair: pair.id.clone(), tokens, heads: rows.found }))
}

struct Patterns<'a> {
    shown: &'a [Head],
    found: Vec<HeadAttention>,
}

impl Hook for Patterns<'_> {
    fn wants(&self, site: Site) -> bool {
        matches!(site, Site::Heads(Heads::Pattern(_)))
    }

    fn on_heads(&mut self, site: Heads, pattern: Tensor<4>) -> Tensor<4> {
        let Heads::Pattern(layer) = site else { return pattern };
        let [_, _, seq, _] = pattern.dims();
        let values: Vec<f32> = pattern.clone().inner().into_data().try_to_vec().expect("attention in f32");
        for &head in self.shown.iter().filter(|head| head.layer == layer) {
            let of = &values[head.head * seq * seq..(head.head + 1) * seq * seq];
            let row =
                |q: usize| of[q * seq..=q * seq + q].iter().map(|w| (1000.0 * w).round() as u16).collect();
            self.found.push(HeadAttention { head, rows: (0..seq).map(row).collect() });
        }
        pattern
    }
}
