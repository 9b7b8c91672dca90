//! Opening a run: its run file, its folder, the checkpoint that it starts from.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::Error;
use model_qwen::{Adapter, Checkpoint, Qwen};
use posttrain::{Ranks, Resumed, RunFolder};
use toml::Table;

use super::config::RunFile;
use super::{Args, Kind, keys};
use crate::options::{Common, Result};

/// Where the run writes. Model and data are read first, so that what is refused leaves nothing behind.
enum Place {
    /// A dry run's, or one that another rank writes.
    Nowhere,
    New,
    /// Open already; with a new text of its `config.toml`, where the settings have changed.
    Resumed(Box<RunFolder>, Option<String>),
}

/// An open run.
pub(super) struct Open<'a> {
    pub(super) common: &'a Common,
    pub(super) kind: Kind,
    pub(super) file: RunFile,
    place: Place,
    /// Weights to begin with: the model's, or the newest checkpoint's in a resumed run of whole models.
    pub(super) start: Checkpoint,
    /// Where a resumed run was.
    pub(super) resumed: Option<Resumed>,
    /// Whether a resumed run has another `data.eval` than before: its best evaluation says nothing then.
    pub(super) other_eval: bool,
    pub(super) json: bool,
    pub(super) dry_run: bool,
    pub(super) ranks: Arc<dyn Ranks>,
    stop: Arc<AtomicBool>,
}

impl<'a> Open<'a> {
    pub(super) fn new(common: &'a Common, kind: Kind, args: &Args, ranks: Arc<dyn Ranks>) -> Result<Self> {
        common.without_adapter("training")?;
        let asked = Asked { common, kind, args, ranks: &*ranks };
        let Opened { mut file, place, resumed, other_eval } = match &args.resume {
            Some(dir) => asked.resume(dir)?,
            None => asked.begin()?,
        };
        file.train.groups.get_or_insert(ranks.count());
        file.check_files()?;
        let from = match (&resumed, &file.lora) {
            (Some(resumed), None) => &resumed.dir,
            _ => &file.model.path,
        };
        let start = common.open(&from.to_string_lossy())?;
        if let Some(lora) = &file.lora {
            lora.config(&file.model.path).n_params(&start.config).map_err(|e| e.within("lora.targets"))?;
        }
        // The run file says how weights are held, which a command line without --dtype does not know.
        common.compute_with(file.model.dtype.into()).set();
        let stop = crate::signals::polled();
        let (json, dry_run) = (args.json, args.dry_run);
        Ok(Self { common, kind, file, place, start, resumed, other_eval, json, dry_run, ranks, stop })
    }

    /// The run folder, made where the run is new; none in a dry run, nor for a rank that does not write.
    pub(super) fn folder(&mut self) -> Result<Option<RunFolder>> {
        let model = &self.file.model.path;
        let folder = match std::mem::replace(&mut self.place, Place::Nowhere) {
            Place::Nowhere => return Ok(None),
            Place::New => {
                let config = self.file.to_toml(self.kind)?;
                RunFolder::create(&self.file.run.dir, &config)?.with_tokenizer(model)
            }
            Place::Resumed(folder, config) => {
                config.map(|config| folder.set_config(&config)).transpose()?;
                *folder
            }
        };
        let folder = folder.keeping(self.file.run.keep);
        Ok(Some(match &self.file.lora {
            Some(lora) => folder.with_adapter(lora.config(model)),
            None => folder,
        }))
    }

    /// The model to train: the weights, with an adapter where `[lora]` asks for one.
    pub(super) fn load(&self) -> Result<Qwen> {
        let base = self.common.load_base(&self.start, self.file.model.dtype.into())?;
        let Some(lora) = &self.file.lora else { return Ok(base) };
        let adapter = match &self.resumed {
            Some(resumed) => Adapter::open(&resumed.dir, &base)?,
            None => Adapter::new(lora.config(&self.file.model.path), &base, self.file.run.seed)?,
        };
        adapter.attach(&base)
    }

    /// Whether this process was sent a signal.
    pub(super) fn is_signalled(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Whether any rank was. Collective.
    pub(super) fn interrupted(&self) -> bool {
        self.ranks.any(self.is_signalled())
    }
}

struct Opened {
    file: RunFile,
    place: Place,
    resumed: Option<Resumed>,
    other_eval: bool,
}

/// What the user asked for.
#[derive(Clone, Copy)]
struct Asked<'a> {
    common: &'a Common,
    kind: Kind,
    args: &'a Args,
    ranks: &'a dyn Ranks,
}

impl Asked<'_> {
    fn begin(&self) -> Result<Opened> {
        let Self { common, kind, args, ranks } = *self;
        let path = args.config.as_ref().ok_or_else(|| Error::input("missing CONFIG.toml or --resume RUN"))?;
        let file = user_file(common, kind, path, &args.set)?;
        if same(path, &file.run.dir.join("config.toml")) {
            return Err(Error::input(format!(
                "{}: lies where the run writes its own: choose another run.dir",
                path.display()
            )));
        }
        let place = if args.dry_run || !ranks.is_first() {
            Place::Nowhere
        } else {
            RunFolder::check_new(&file.run.dir)?;
            Place::New
        };
        Ok(Opened { file, place, resumed: None, other_eval: false })
    }

    fn resume(&self, dir: &Path) -> Result<Opened> {
        let Self { common, kind, args, ranks } = *self;
        let (place, text) = (dir.join("config.toml"), RunFolder::config(dir)?);
        let of = Kind::of_run(&text).map_err(|e| e.within(place.display()))?;
        if of != kind {
            return Err(Error::at(dir, format!("is a run of {0}: go on with {0} --resume", of.command())));
        }
        let began = RunFile::written(kind, &text).map_err(|e| e.within(place.display()))?;
        let before = began.to_table(kind)?;
        let mut file = match &args.config {
            Some(path) => user_file(common, kind, path, &args.set)?,
            None => {
                let mut table = RunFile::user_table(kind, &began.to_toml(kind)?, &args.set)?;
                flags(common, &mut table)?;
                RunFile::from_table(kind, table)?
            }
        };
        keys::check_changes(&before, &file.to_table(kind)?, &args.set)
            .map_err(|e| e.within(dir.display()))?;
        if file.run.dir != began.run.dir && !same(&file.run.dir, dir) {
            return Err(Error::input(format!(
                "run.dir is {} and --resume {}: expected the same folder",
                file.run.dir.display(),
                dir.display()
            )));
        }
        file.run.dir.clone_from(&began.run.dir);
        let config = if file == began { None } else { Some(file.to_toml(kind)?) };
        let (mut place, mut found) = (Place::Nowhere, Vec::new());
        if ranks.is_first() {
            let (folder, resumed) = RunFolder::resume(dir, |place, wrong| {
                common.warn(format!("not whole, {} is resumed in its place: {wrong}", place.display()))
            })?;
            place = Place::Resumed(Box::new(folder), config);
            found = serde_json::to_vec(&resumed).map_err(Error::internal)?;
        }
        // The others learn which checkpoint it is.
        let found = ranks.all_gather(found).swap_remove(0);
        let resumed = Some(serde_json::from_slice(&found).map_err(Error::internal)?);
        let other_eval = file.data.eval != began.data.eval;
        Ok(Opened { file, place, resumed, other_eval })
    }
}

pub(super) fn user_file(common: &Common, kind: Kind, path: &Path, set: &[String]) -> Result<RunFile> {
    let within = |e: Error| e.within(path.display());
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    let mut table = RunFile::user_table(kind, &text, set).map_err(within)?;
    flags(common, &mut table)?;
    let mut file = RunFile::from_table(kind, table).map_err(within)?;
    resolve(common, &mut file)?;
    Ok(file)
}

/// `--seed` is `run.seed`, and `--dtype` is `model.dtype`.
fn flags(common: &Common, table: &mut Table) -> Result {
    let seed = common.given_seed().map(|seed| seed.to_string());
    let dtype = common.given_dtype().map(|dtype| format!("{dtype:?}").to_lowercase());
    for (flag, key, value) in [("--seed", "run.seed", seed), ("--dtype", "model.dtype", dtype)] {
        let Some(value) = value else { continue };
        match keys::find(table, key).map(|v| v.to_string().trim_matches('"').to_owned()) {
            None => keys::apply(table, &format!("{key}={value}"))?,
            Some(given) if given == value => {}
            Some(given) => {
                return Err(Error::input(format!(
                    "{key} is {given} and {flag} {value}: expected one of the two"
                )));
            }
        }
    }
    Ok(())
}

/// A hub id becomes the folder that its files were fetched to.
fn resolve(common: &Common, file: &mut RunFile) -> Result {
    if let Some(model) = file.model.path.to_str() {
        file.model.path = crate::model::folder(common, model)?;
    }
    Ok(())
}

fn same(a: &Path, b: &Path) -> bool {
    let real = |p: &Path| -> Option<PathBuf> { p.canonicalize().ok() };
    real(a).is_some() && real(a) == real(b)
}
