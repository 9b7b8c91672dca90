//! The run file of `sparks sft` and `sparks grpo`: TOML with a section for each owner, and `--set` over it.

use common::Error;
use posttrain::TrainerConfig;
use posttrain::config::{OptimizerConfig, ScheduleConfig, TrainConfig, check_ranges};
use posttrain_grpo::GrpoConfig;
use posttrain_grpo::reward::RewardConfig;
use posttrain_sft::{Columns, DataConfig, Packing, SftConfig};
use serde::{Deserialize, Serialize};

use super::Kind;
use super::rollouts::RolloutsSection;
use super::sections::{
    DataColumns, DataSection, LoraSection, ModelSection, PromptSection, RunSection, TrainDtype, WatchSection,
};
use super::{keys, sections};

/// A run file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct RunFile {
    pub(super) model: ModelSection,
    pub(super) data: DataSection,
    pub(super) prompt: PromptSection,
    pub(super) run: RunSection,
    pub(super) train: TrainConfig,
    pub(super) optimizer: OptimizerConfig,
    pub(super) schedule: ScheduleConfig,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lora: Option<LoraSection>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rollouts: Option<RolloutsSection>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) watch: Option<WatchSection>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sft: Option<SftConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) grpo: Option<GrpoConfig>,
    /// Correctness alone where none is given; a single `[reward]` is a list of one.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "sections::one_or_more")]
    pub(super) reward: Vec<RewardConfig>,
}

impl RunFile {
    /// The table of a user's file with `section.key=value` changes over it: every key has an effect on this
    /// kind of run. Relative paths stay relative to the working folder.
    pub(super) fn user_table(kind: Kind, text: &str, set: &[String]) -> Result<toml::Table, Error> {
        let mut table = keys::table(text)?;
        for change in set {
            keys::apply(&mut table, change)?;
        }
        keys::check_effect(kind, &table)?;
        keys::check_algorithms(&table)?;
        Ok(table)
    }

    /// Reads `config.toml` of a run folder, which earlier versions wrote with keys that had no effect.
    pub(super) fn written(kind: Kind, text: &str) -> Result<Self, Error> {
        let mut table = keys::table(text)?;
        keys::remove_what_had_no_effect(kind, &mut table);
        Self::from_table(kind, table)
    }

    pub(super) fn from_table(kind: Kind, table: toml::Table) -> Result<Self, Error> {
        if table.get("reward").and_then(toml::Value::as_array).is_some_and(Vec::is_empty) {
            return Err(Error::input(
                "reward is an empty list, expected one or more; leave it out for `correct`",
            ));
        }
        let mut unknown = Vec::new();
        let mut file: Self = serde_ignored::deserialize(toml::Value::Table(table), |path| {
            unknown.push(path.to_string().replace(".?", ""));
        })
        .map_err(|e: toml::de::Error| {
            // What serde says of an enum that is given no text.
            Error::input(
                e.to_string().replace("invalid type: unit variant, expected string only", "expected a text"),
            )
        })?;
        if let Some(key) = unknown.first() {
            return Err(keys::unknown(key));
        }
        if kind == Kind::Grpo && file.reward.is_empty() {
            file.reward.push(RewardConfig::default());
        }
        file.check(kind)?;
        Ok(file)
    }

    /// The table that gives this configuration, defaults written out, without keys that have no effect.
    pub(super) fn to_table(&self, kind: Kind) -> Result<toml::Table, Error> {
        let mut table = toml::Table::try_from(self).map_err(Error::internal)?;
        keys::remove_without_effect(kind, &mut table);
        Ok(table)
    }

    /// The text of [`RunFile::to_table`].
    pub(super) fn to_toml(&self, kind: Kind) -> Result<String, Error> {
        toml::to_string_pretty(&self.to_table(kind)?).map_err(Error::internal)
    }

    /// What both trainers share.
    fn trainer(&self) -> TrainerConfig {
        TrainerConfig {
            train: self.train.clone(),
            optimizer: self.optimizer.clone(),
            schedule: self.schedule.clone(),
            seed: self.run.seed,
        }
    }

    pub(super) fn sft(&self) -> SftConfig {
        SftConfig { trainer: self.trainer(), ..self.sft.clone().unwrap_or_default() }
    }

    pub(super) fn examples(&self) -> DataConfig {
        let DataSection { shuffle, packing, max_length, truncation, turns, columns, .. } = self.data.clone();
        let DataColumns { prompt, completion, text, messages, instruction, weight, .. } = columns;
        DataConfig {
            shuffle,
            packing,
            max_length: max_length.unwrap_or(DataConfig::default().max_length),
            truncation: truncation.unwrap_or_default(),
            turns,
            columns: Columns { prompt, completion, text, messages, instruction, weight },
        }
    }

    pub(super) fn grpo(&self) -> GrpoConfig {
        let rollouts = self.rollouts.as_ref().map(RolloutsSection::config);
        GrpoConfig { trainer: self.trainer(), rollouts, ..self.grpo.clone().unwrap_or_default() }
    }

    /// Refuses files that are not there, by their keys, before anything is read.
    pub(super) fn check_files(&self) -> Result<(), Error> {
        let watch = self.watch.as_ref().map(|watch| &watch.pairs);
        let named = [
            ("data.train", Some(&self.data.train)),
            ("data.eval", self.data.eval.as_ref()),
            ("watch.pairs", watch),
        ];
        for (key, path) in named.into_iter().filter_map(|(key, path)| Some((key, path?))) {
            // A pattern that matches nothing has a message of its own.
            if !path.exists() && !path.to_string_lossy().contains(['*', '?', '[']) {
                let why = "no such file; paths are relative to the folder that the command runs in";
                return Err(Error::at(path, why).within(key));
            }
        }
        Ok(())
    }

    fn check(&self, kind: Kind) -> Result<(), Error> {
        let missing = |name: &str| Err(Error::input(format!("missing `{name}`")));
        let required =
            [("model.path", &self.model.path), ("data.train", &self.data.train), ("run.dir", &self.run.dir)];
        if let Some((name, _)) = required.into_iter().find(|(_, path)| path.as_os_str().is_empty()) {
            return missing(name);
        }
        let max_length = self.data.max_length.unwrap_or(2) as f64;
        check_ranges(&[("data.max_length", max_length, 2.0, 1e9, "from 2")])?;
        self.run.check(kind, self.data.eval.is_some())?;
        if self.data.packing == Packing::BfdSplit && self.data.truncation.is_some() {
            return Err(Error::input(
                "data.truncation has no effect with data.packing = \"bfd_split\", which splits longer examples",
            ));
        }
        if kind == Kind::Grpo && self.data.truncation.is_some() && self.data.max_length.is_none() {
            return Err(Error::input("data.truncation has no effect without data.max_length"));
        }
        match &self.lora {
            Some(lora) => lora.check(kind)?,
            None if self.model.dtype == TrainDtype::F16 => {
                return Err(Error::input(
                    "model.dtype (--dtype): weights that are trained are held in f32 or bf16, expected one of them, or a \
                     section [lora]",
                ));
            }
            None => {}
        }
        if let Some(watch) = &self.watch {
            if watch.pairs.as_os_str().is_empty() {
                return missing("watch.pairs");
            }
            if watch.steps.is_some() && !watch.method.integrates() {
                return Err(Error::input(
                    "watch.steps has no effect on a watch.method that does not integrate",
                ));
            }
            check_ranges(&[
                ("watch.every", watch.every as f64, 1.0, f64::MAX, "from 1"),
                ("watch.steps", watch.steps.unwrap_or(1) as f64, 1.0, 1e5, "from 1 to 100000"),
                ("watch.top", watch.top as f64, 1.0, f64::MAX, "from 1"),
            ])?;
        }
        match kind {
            Kind::Sft => self.examples().check().and_then(|()| self.sft().check()),
            Kind::Grpo => {
                self.prompt.settings().check().map_err(|e| e.within("prompt"))?;
                RewardConfig::check_all(&self.reward)?;
                self.check_rollouts()?;
                self.grpo().check()
            }
        }
    }

    fn check_rollouts(&self) -> Result<(), Error> {
        let Some(rollouts) = &self.rollouts else { return Ok(()) };
        rollouts.check()?;
        let (grpo, own) = (self.grpo(), GrpoConfig::default());
        let room = (grpo.rollout_batch, grpo.max_batch_tokens) != (own.rollout_batch, own.max_batch_tokens);
        if room && self.data.eval.is_none() {
            return Err(Error::input(
                "grpo.rollout_batch and grpo.max_batch_tokens have no effect where servers sample and there is no \
                 data.eval: expected rollouts.concurrency",
            ));
        }
        if self.lora.as_ref().is_some_and(|lora| !lora.modules_to_save.is_empty()) {
            return Err(Error::input(
                "lora.modules_to_save: servers load factors alone, expected none with [rollouts]",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const OLD: &str = "model.path = 'm'\nmodel.dtype = 'f32'\ndata.train = 'd'\ndata.shuffle = true\n\
        data.packing = 'none'\ndata.max_length = 1024\nrun.dir = 'r'\nrun.log_every = 0\ntrain.steps = 3\n\
        train.accumulation = 1\nschedule.warmup_steps = 2\nschedule.warmup_ratio = 0.5\nwatch.pairs = 'p'\n\
        watch.every = 0\nwatch.method = 'eap'\nwatch.steps = 5\ngrpo.group_size = 4\n";

    #[test]
    fn run_folders_of_earlier_versions_are_read() {
        for kind in [Kind::Sft, Kind::Grpo] {
            let file = RunFile::written(kind, OLD).unwrap();
            assert_eq!((file.run.log_every, file.grpo.is_some()), (1, kind == Kind::Grpo));
            assert_eq!(file.data.max_length, (kind == Kind::Sft).then_some(1024));
            let again = RunFile::written(kind, &file.to_toml(kind).unwrap()).unwrap();
            assert_eq!(again, file);
            // As a user's file it has keys without an effect.
            assert!(RunFile::user_table(kind, OLD, &[]).and_then(|t| RunFile::from_table(kind, t)).is_err());
        }
    }

    #[test]
    fn the_table_of_effects_has_every_key() {
        let rows: Vec<Vec<&str>> = include_str!("../../testdata/keys.txt")
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split('|').map(str::trim).collect())
            .collect();
        let missing: Vec<String> = ["sft", "grpo"]
            .into_iter()
            .flat_map(|kind| keys::leaves(&keys::every_key()).into_iter().map(move |key| (kind, key)))
            .filter(|(kind, key)| {
                let of_key = |r: &str| r == key || r.strip_suffix('*').is_some_and(|s| key.starts_with(s));
                !rows.iter().any(|r| (r[0] == *kind || r[0] == "both") && of_key(r[1]))
            })
            .map(|(kind, key)| format!("{kind} | {key}"))
            .collect();
        assert!(missing.is_empty(), "testdata/keys.txt lacks\n{}", missing.join("\n"));
    }

    #[test]
    fn every_key_is_taken_or_refused_by_name() {
        for kind in [Kind::Sft, Kind::Grpo] {
            let base = "model.path = 'm'\ndata.train = 'd'\nrun.dir = 'r'\nwatch.pairs = 'p'\n";
            let every = keys::every_key();
            for key in keys::leaves(&every) {
                let value = keys::find(&every, &key).unwrap();
                let set = [format!("{key}={value}")];
                match RunFile::user_table(kind, base, &set).and_then(|t| RunFile::from_table(kind, t)) {
                    Ok(file) => {
                        let table = file.to_table(kind).unwrap();
                        assert_eq!(keys::find(&table, &key), Some(value), "{key}");
                    }
                    Err(e) => {
                        let name = key.rsplit('.').next().unwrap();
                        let section = key.split('.').next().unwrap();
                        let message = e.to_string();
                        assert!(message.contains(name) || message.contains(section), "{key}: {message}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_files_in_studies_are_read() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../studies");
        let mut n = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|e| e != "toml") {
                continue;
            }
            let (text, name) = (std::fs::read_to_string(&path).unwrap(), path.display().to_string());
            let kind = if name.contains("grpo") { Kind::Grpo } else { Kind::Sft };
            let read = match name.contains("study") {
                true => study::StudyConfig::parse(&text).map(|_| ()),
                false => RunFile::user_table(kind, &text, &[])
                    .and_then(|t| RunFile::from_table(kind, t))
                    .map(|_| ()),
            };
            assert!(read.is_ok(), "{name}: {}", read.unwrap_err());
            n += 1;
        }
        assert!(n >= 6);
    }
}
