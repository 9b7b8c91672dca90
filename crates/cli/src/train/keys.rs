//! Keys of the run file: `--set`, unknown ones, ones without an effect, ones that a resumed run may change.

use bench_math::Template;
use common::Error;
use posttrain::config::{Decline, Group};
use posttrain_sft::{SftConfig, Truncation};
use toml::{Table, Value};

use super::Kind;
use super::config::RunFile;
use super::rollouts::RolloutsSection;
use crate::near::nearest;

use super::sections::{BestMetric, DataColumns, LoraSection, Switch, WatchSection};

/// Keys without an effect on a kind of run, and why.
fn without_effect(kind: Kind) -> &'static [(&'static str, &'static str)] {
    const EXAMPLES: &str = "problems have a prompt and an answer alone";
    match kind {
        Kind::Sft => &[
            ("grpo", "it belongs to sparks grpo"),
            ("rollouts", "it belongs to sparks grpo"),
            ("reward", "it belongs to sparks grpo"),
            ("run.eval_samples", "it belongs to sparks grpo"),
            ("prompt", "it belongs to sparks grpo: examples are written as they are"),
            ("data.columns.answer", "examples have no answer to be graded against"),
        ],
        Kind::Grpo => &[
            ("sft", "it belongs to sparks sft"),
            ("data.packing", EXAMPLES),
            ("data.turns", EXAMPLES),
            ("data.columns.completion", EXAMPLES),
            ("data.columns.text", EXAMPLES),
            ("data.columns.messages", EXAMPLES),
            ("data.columns.instruction", EXAMPLES),
            ("data.columns.weight", EXAMPLES),
            (
                "train.accumulation",
                "all completions of a step are taken together, in passes of train.batch_size rows",
            ),
        ],
    }
}

/// Keys that a resumed run may change: they alter no update that was made.
const MAY_CHANGE: &[&str] = &[
    "train.steps",
    "train.epochs",
    "train.recompute",
    "train.groups",
    "run.keep",
    "run.log_every",
    "run.checkpoint_every",
    "run.eval_every",
    "run.eval_samples",
    "run.best",
    "run.patience",
    "run.min_delta",
    "data.eval",
    "watch",
    "grpo.rollout_batch",
    "grpo.max_batch_tokens",
    "rollouts.server",
    "rollouts.adapters",
    "rollouts.concurrency",
    "rollouts.timeout",
    "rollouts.patience",
    // Where the folder lies is said by --resume.
    "run.dir",
];

pub(super) fn table(text: &str) -> Result<Table, Error> {
    text.parse().map_err(|e: toml::de::Error| Error::input(e))
}

/// Applies `section.key=value`, or `reward=[…]`; the value is TOML, or a string where it is none. `train.steps` and
/// `train.epochs` replace each other.
pub(super) fn apply(table: &mut Table, change: &str) -> Result<(), Error> {
    let bad = || Error::input(format!("--set {change}: expected section.key=value"));
    let (path, value) = change.split_once('=').ok_or_else(bad)?;
    let (sections, key) = match path.trim() {
        "reward" => ("", "reward"),
        path => path.rsplit_once('.').ok_or_else(bad)?,
    };
    let text = value.trim();
    let value = format!("x = {text}").parse::<Table>().ok().and_then(|mut t| t.remove("x"));
    let value = value.unwrap_or_else(|| Value::String(text.to_owned()));
    match path.trim() {
        "train.steps" => remove(table, "train.epochs"),
        "train.epochs" => remove(table, "train.steps"),
        _ => {}
    }
    let mut at = table;
    for section in sections.split('.').filter(|section| !section.is_empty()) {
        let entry = at.entry(section).or_insert_with(|| Value::Table(Table::new()));
        at = entry.as_table_mut().ok_or_else(bad)?;
    }
    at.insert(key.to_owned(), value);
    Ok(())
}

/// Refuses keys that have no effect on this kind of run.
pub(super) fn check_effect(kind: Kind, table: &Table) -> Result<(), Error> {
    let given = without_effect(kind).iter().find(|(key, _)| find(table, key).is_some());
    given.map_or(Ok(()), |(key, why)| {
        Err(Error::input(format!("`{key}` has no effect in {}: {why}; leave it out", kind.command())))
    })
}

/// Removes keys that have no effect on this kind of run.
pub(super) fn remove_without_effect(kind: Kind, table: &mut Table) {
    without_effect(kind).iter().for_each(|(key, _)| remove(table, key));
}

/// Removes from `config.toml` of a run folder what earlier versions wrote and did not act on, and what they read
/// in another way.
pub(super) fn remove_what_had_no_effect(kind: Kind, table: &mut Table) {
    remove_without_effect(kind, table);
    if kind == Kind::Grpo && find(table, "data.truncation").is_none() {
        remove(table, "data.max_length");
    }
    let integer = |table: &Table, key: &str| find(table, key).and_then(Value::as_integer);
    if integer(table, "schedule.warmup_steps").is_some_and(|n| n > 0) {
        remove(table, "schedule.warmup_ratio");
    }
    let schedule = find(table, "schedule.kind").and_then(Value::as_str).unwrap_or("linear").to_owned();
    if schedule != "wsd" {
        remove(table, "schedule.decay_ratio");
    }
    if schedule == "constant" {
        remove(table, "schedule.min_lr_ratio");
    }
    if integer(table, "run.log_every") == Some(0) {
        remove(table, "run.log_every");
    }
    if let Some(watch) = table.get_mut("watch").and_then(Value::as_table_mut) {
        if matches!(watch.get("method").and_then(Value::as_str), Some("eap" | "clean-corrupt")) {
            watch.remove("steps");
        }
        if watch.get("every").and_then(Value::as_integer) == Some(0) {
            watch.insert("every".to_owned(), Value::Integer(1));
        }
    }
}

/// Removes the value of `section.key`, or a section.
pub(super) fn remove(table: &mut Table, key: &str) {
    match key.split_once('.') {
        Some((section, rest)) => {
            if let Some(inner) = table.get_mut(section).and_then(Value::as_table_mut) {
                remove(inner, rest);
            }
        }
        None => drop(table.remove(key)),
    }
}

/// The value of `section.key`, or a section.
pub(super) fn find<'a>(table: &'a Table, key: &str) -> Option<&'a Value> {
    match key.split_once('.') {
        Some((section, rest)) => find(table.get(section)?.as_table()?, rest),
        None => table.get(key),
    }
}

/// `section.key` of every value.
pub(super) fn leaves(table: &Table) -> Vec<String> {
    let of = |(name, value): (&String, &Value)| match value {
        Value::Table(inner) => leaves(inner).into_iter().map(|key| format!("{name}.{key}")).collect(),
        _ => vec![name.clone()],
    };
    table.iter().flat_map(of).collect()
}

/// Names of TRL, PEFT and `transformers`, and what they are here.
const ELSEWHERE: &[(&str, &str)] = &[
    ("output_dir", "run.dir"),
    ("max_steps", "train.steps"),
    ("num_train_epochs", "train.epochs"),
    ("per_device_train_batch_size", "train.batch_size"),
    ("gradient_accumulation_steps", "train.accumulation"),
    ("gradient_checkpointing", "train.recompute"),
    ("learning_rate", "optimizer.lr"),
    ("adam_beta1", "optimizer.betas"),
    ("adam_beta2", "optimizer.betas"),
    ("adam_epsilon", "optimizer.eps"),
    ("lr_scheduler_type", "schedule.kind"),
    ("logging_steps", "run.log_every"),
    ("save_steps", "run.checkpoint_every"),
    ("save_total_limit", "run.keep"),
    ("eval_steps", "run.eval_every"),
    ("metric_for_best_model", "run.best"),
    ("max_seq_length", "data.max_length"),
    ("max_prompt_length", "data.max_length"),
    ("truncation_mode", "data.truncation"),
    ("dataset_text_field", "data.columns.text"),
    ("shuffle_dataset", "data.shuffle"),
    ("packing_strategy", "data.packing"),
    ("label_smoothing_factor", "sft.label_smoothing"),
    ("lora_alpha", "lora.alpha"),
    ("lora_dropout", "lora.dropout"),
    ("target_modules", "lora.targets"),
    ("use_rslora", "lora.rslora"),
    ("r", "lora.rank"),
    ("num_generations", "grpo.group_size"),
    ("max_completion_length", "grpo.max_tokens"),
    ("num_iterations", "grpo.updates"),
    ("ppo_epochs", "grpo.updates"),
    ("steps_per_generation", "grpo.minibatches"),
    ("ppo_mini_batch_size", "grpo.minibatches"),
    ("importance_sampling_level", "grpo.ratio"),
    ("loss_type", "sft.loss or grpo.loss"),
    ("scale_rewards", "grpo.advantage"),
    ("mask_truncated_completions", "grpo.mask_truncated"),
    ("top_entropy_quantile", "grpo.top_entropy"),
    ("use_vllm", "rollouts.server"),
    ("vllm_server_base_url", "rollouts.server"),
    ("vllm_server_host", "rollouts.server"),
    ("vllm_importance_sampling_mode", "rollouts.correction"),
    ("vllm_importance_sampling_clip_min", "rollouts.clip_min"),
    ("vllm_importance_sampling_clip_max", "rollouts.clip_max"),
    ("max_staleness", "rollouts.staleness"),
    ("use_adaptive_entropy", "grpo.adaptive_entropy.target"),
    ("entropy_target", "grpo.adaptive_entropy.target"),
    ("sync_ref_model", "grpo.sync_reference.every"),
    ("ref_model_sync_steps", "grpo.sync_reference.every"),
    ("ref_model_mixup_alpha", "grpo.sync_reference.mix"),
    ("reward_funcs", "[[reward]]"),
    ("reward_weights", "[[reward]]"),
];

/// Algorithms by name, and the settings that they are here.
const ALGORITHMS: &[(&str, &str, &str)] = &[
    ("grpo.loss", "gspo", "grpo.ratio = \"sequence\""),
    ("grpo.loss", "rloo", "grpo.advantage = \"leave_one_out\""),
    ("grpo.advantage", "rloo", "grpo.advantage = \"leave_one_out\""),
    ("schedule.kind", "constant_with_warmup", "schedule.kind = \"constant\" with schedule.warmup_steps"),
    ("schedule.kind", "cosine_with_min_lr", "schedule.kind = \"cosine\" with schedule.min_lr_ratio"),
    ("schedule.kind", "warmup_stable_decay", "schedule.kind = \"wsd\""),
];

/// Refuses a value that is the name of an algorithm with a setting of another key.
pub(super) fn check_algorithms(table: &Table) -> Result<(), Error> {
    let given = |key, name| find(table, key).and_then(Value::as_str) == Some(name);
    let found = ALGORITHMS.iter().find(|(key, name, _)| given(key, name));
    found.map_or(Ok(()), |(key, name, ours)| {
        Err(Error::input(format!("{key} = \"{name}\": here it is {ours} (docs/TRL.md)")))
    })
}

/// What a name of another tool is here.
fn elsewhere(key: &str) -> Option<&'static str> {
    let name = key.rsplit('.').next()?;
    ELSEWHERE.iter().find(|(other, _)| *other == name).map(|(_, ours)| *ours)
}

/// The error for a key that is not known: it names the nearest one that is.
pub(super) fn unknown(key: &str) -> Error {
    if let Some(ours) = elsewhere(key) {
        return Error::input(format!("unknown key `{key}`, here it is {ours} (docs/TRL.md)"));
    }
    let known = leaves(&every_key());
    let mut sections: Vec<&str> = known.iter().filter_map(|k| k.split('.').next()).collect();
    sections.dedup();
    let section_near = |word: &str| nearest(word, sections.iter().copied()).unwrap_or_default();
    match key.split_once('.') {
        Some((section, _)) if sections.contains(&section) => {
            let keys = known.iter().map(String::as_str).filter(|k| k.split('.').next() == Some(section));
            let near = nearest(key, keys).unwrap_or_default();
            Error::input(format!("unknown key `{key}`, the nearest known is `{near}`"))
        }
        Some((section, _)) => {
            let near = section_near(section);
            Error::input(format!("unknown section [{section}], the nearest known is [{near}]"))
        }
        None => {
            // A key outside its section, or a section's name in an empty table.
            let near = known.iter().find(|k| k.split('.').nth(1) == Some(key)).map(|k| format!("`{k}`"));
            let near = near.unwrap_or_else(|| format!("[{}]", section_near(key)));
            Error::input(format!("unknown section `{key}`, the nearest known is {near}"))
        }
    }
}

/// A run file with every key, optional ones included.
pub(super) fn every_key() -> Table {
    let mut file = RunFile::default();
    (file.train.steps, file.train.epochs, file.train.groups) = (Some(1), Some(1.0), Some(1));
    (file.data.eval, file.run.eval_every) = (Some("eval.jsonl".into()), Some(1));
    (file.run.eval_samples, file.run.best) = (Some(2), Some(BestMetric::EvalLoss));
    (file.run.patience, file.run.min_delta) = (Some(3), Some(0.0));
    (file.data.max_length, file.data.truncation) = (Some(1024), Some(Truncation::default()));
    (file.schedule.decay_ratio, file.schedule.decay) = (Some(0.1), Some(Decline::default()));
    file.schedule.cycles = Some(1);
    let pattern = "*.mlp.*".to_owned();
    file.optimizer.groups =
        vec![Group { pattern, lr: Some(1e-4), weight_decay: Some(0.0), ..Group::default() }];
    file.sft = Some(SftConfig::default());
    let name = || Some("column".to_owned());
    file.data.columns = DataColumns {
        prompt: name(),
        completion: name(),
        text: name(),
        messages: name(),
        instruction: name(),
        answer: name(),
        weight: name(),
    };
    let prompt = &mut file.prompt;
    (prompt.template, prompt.system, prompt.think) =
        (Template::Chat, Some("system".to_owned()), Some(Switch::On));
    let watch = WatchSection { steps: Some(5), ..WatchSection::default() };
    let grpo = posttrain_grpo::GrpoConfig {
        epsilon_high: Some(0.2),
        delta: Some(2.0),
        sapo: Some(Default::default()),
        vespo: Some(Default::default()),
        off_policy_mask: Some(0.1),
        adaptive_entropy: Some(Default::default()),
        sync_reference: Some(Default::default()),
        max_batch_tokens: Some(100_000),
        ..Default::default()
    };
    file.reward = posttrain_grpo::reward::RewardConfig::examples();
    let lora = LoraSection { modules_to_save: vec!["lm_head".to_owned()], ..LoraSection::default() };
    let rollouts = RolloutsSection {
        server: vec!["http://127.0.0.1:8000".to_owned()],
        adapters: Some("adapters".into()),
        ..RolloutsSection::default()
    };
    (file.lora, file.watch, file.grpo, file.rollouts) = (Some(lora), Some(watch), Some(grpo), Some(rollouts));
    Table::try_from(&file).unwrap_or_default()
}

/// Refuses a difference that a resumed run may not have from how it began; of several it names the one in `set`.
pub(super) fn check_changes(began: &Table, wanted: &Table, set: &[String]) -> Result<(), Error> {
    let mut keys: Vec<String> =
        set.iter().filter_map(|change| Some(change.split_once('=')?.0.trim().to_owned())).collect();
    keys.extend(leaves(began));
    keys.extend(leaves(wanted));
    let may = |key: &str| MAY_CHANGE.iter().any(|m| *m == key || key.split('.').next() == Some(*m));
    match keys.iter().find(|key| find(began, key) != find(wanted, key) && !may(key)) {
        None => Ok(()),
        Some(key) => {
            let say = |t: &Table| find(t, key).map_or("not set".to_owned(), ToString::to_string);
            Err(Error::input(format!(
                "`{key}` is {} in this run and cannot become {}: a resumed run may change {}",
                say(began),
                say(wanted),
                MAY_CHANGE[..MAY_CHANGE.len() - 1].join(", ")
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_section_is_near_it() {
        for (key, near) in
            [("optim.lr", "[optimizer]"), ("sched.kind", "[schedule]"), ("optim", "[optimizer]")]
        {
            assert!(unknown(key).to_string().ends_with(near), "{}", unknown(key));
        }
    }

    #[test]
    fn names_of_other_tools_lead_to_keys() {
        let known = leaves(&every_key());
        for (other, ours) in ELSEWHERE {
            for key in ours.split(" or ") {
                let section = key.trim_matches(['[', ']']);
                assert!(known.iter().any(|k| k == key || k == section), "{other}: {key}");
            }
        }
    }
}
