//! The flags that every subcommand takes, opening and loading a model, notes and warnings on stderr.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use clap::Args;
use common::Error;
use kernels::Compute;
use model_qwen::{Adapter, Checkpoint, Dtype, Qwen, Sampling, Text};

use crate::choices::{COMPUTES, DTYPES, named, table};
use crate::device::DeviceName;
use crate::files::Files;

/// The result of a subcommand.
pub(crate) type Result<T = ()> = std::result::Result<T, Error>;

/// Flags of every subcommand.
#[derive(Args, Debug)]
pub(crate) struct Common {
    /// Device to compute on: cpu, cuda, cuda:N, wgpu, wgpu:N or wgpu:cpu. Default: the best that this build has.
    #[arg(long, global = true)]
    device: Option<DeviceName>,
    /// Type of the weights in memory (default f32). Activations are f32.
    #[arg(long, global = true, value_parser = named::<Dtype>(&DTYPES))]
    dtype: Option<Dtype>,
    /// Arithmetic of matrix products on a GPU, with sums in f32 (default: bf16 on CUDA where weights are held in bf16,
    /// else f32). A CPU computes in f32.
    #[arg(long, global = true, value_parser = table(&COMPUTES))]
    compute: Option<Compute>,
    /// LoRA adapter folder in PEFT's format, applied to MODEL without changing its weights.
    #[arg(long, global = true, value_name = "DIR")]
    adapter: Option<PathBuf>,
    /// Number of threads; 0 means one for each core.
    #[arg(long, global = true, default_value_t = 0, value_name = "N")]
    threads: usize,
    /// Seed of every random number (default 0).
    #[arg(long, global = true, value_name = "N")]
    seed: Option<u64>,
    /// Do not connect to the hub: use only cached models and suites, as with HF_HUB_OFFLINE=1.
    #[arg(long, global = true)]
    pub(crate) offline: bool,
    /// Treat every warning as an error (exit status 2), and a --max-tokens that could pass the model's positions.
    #[arg(long, global = true)]
    strict: bool,
    /// Print no progress, notes or warnings.
    #[arg(long, global = true)]
    pub(crate) quiet: bool,
    /// The paths that are given.
    #[arg(skip)]
    pub(crate) files: Files,
}

const MAX_THREADS: usize = 1024;
/// A pool thread's stack, in bytes. The whole command runs on a pool thread, so this is the size of a usual
/// main thread's stack.
const STACK: usize = 8 << 20;

impl Common {
    /// Checks the paths that are given and the device that was named, and starts the thread pool. Call once, before any computation. A device that nobody
    /// named is opened where something is computed on it: grading and joining files need none.
    pub(crate) fn start(&self) -> Result {
        self.files.check()?;
        if let Some(adapter) = &self.adapter {
            self.files.keep("--adapter", adapter)?;
        }
        let named = self.device.as_ref().map(DeviceName::open).transpose()?;
        if let Some(compute) = self.compute.filter(|compute| *compute != Compute::F32)
            && kernels::is_cpu(&named.map_or_else(|| self.device(), Ok)?)
        {
            return Err(Error::input(format!("--compute {}: the CPU computes in f32", compute.name())));
        }
        self.compute().set();
        if self.threads > MAX_THREADS {
            return Err(Error::input(format!(
                "--threads: {}, expected at most {MAX_THREADS} (0 means one for each core)",
                self.threads
            )));
        }
        rayon::ThreadPoolBuilder::new()
            .num_threads(self.threads)
            .stack_size(STACK)
            .build_global()
            .map_err(|e| Error::internal(format!("--threads: {e}")))
    }

    pub(crate) fn device(&self) -> Result<Device> {
        self.device.as_ref().unwrap_or(&DeviceName::BEST).open()
    }

    /// The number of the CUDA device, where that is the one.
    pub(crate) fn gpu(&self) -> Option<usize> {
        self.device.as_ref().unwrap_or(&DeviceName::BEST).cuda()
    }

    /// The device that commands compute on, by name.
    pub(crate) fn device_name(&self) -> String {
        self.device.as_ref().unwrap_or(&DeviceName::BEST).to_string()
    }

    /// The arithmetic of products with weights of `--dtype`.
    pub(crate) fn compute(&self) -> Compute {
        self.compute_with(self.dtype())
    }

    /// The arithmetic of products with weights that are held in `dtype`: `--compute`, or the type of the weights where
    /// that is bf16 and the device has been seen to multiply in it.
    pub(crate) fn compute_with(&self, dtype: Dtype) -> Compute {
        let bf16 = dtype == Dtype::Bf16 && self.gpu().is_some();
        self.compute.unwrap_or(if bf16 { Compute::Bf16 } else { Compute::F32 })
    }

    /// `--dtype`, or f32.
    pub(crate) fn dtype(&self) -> Dtype {
        self.dtype.unwrap_or(Dtype::F32)
    }

    /// `--dtype`, where it was given.
    pub(crate) fn given_dtype(&self) -> Option<Dtype> {
        self.dtype
    }

    /// `--seed`, or 0.
    pub(crate) fn seed(&self) -> u64 {
        self.seed.unwrap_or(0)
    }

    /// `--seed`, where it was given.
    pub(crate) fn given_seed(&self) -> Option<u64> {
        self.seed
    }

    /// Prints a note on stderr.
    pub(crate) fn note(&self, text: impl std::fmt::Display) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    /// Prints a warning on stderr. Every warning of the command goes through here.
    ///
    /// # Errors
    /// With `--strict`, the warning itself.
    pub(crate) fn warn(&self, text: impl std::fmt::Display) -> Result {
        if self.strict {
            return Err(Error::input(format!("{text} (--strict)")));
        }
        self.note(format_args!("warning: {text}"));
        Ok(())
    }

    /// Warns of fields in an input file that are not read.
    pub(crate) fn warn_unread(&self, path: impl AsRef<Path>, fields: &[String]) -> Result {
        if fields.is_empty() {
            return Ok(());
        }
        self.warn(format!("{}: fields that are not read: {}", path.as_ref().display(), fields.join(", ")))
    }

    /// Warns of a row with more tokens than the model has positions.
    pub(crate) fn warn_positions(
        &self,
        what: impl std::fmt::Display,
        tokens: usize,
        model: &Checkpoint,
    ) -> Result {
        match model.config.check_positions(tokens) {
            Ok(()) => Ok(()),
            Err(e) => self.warn(e.within(what)),
        }
    }

    /// With `--strict`, refuses before any work a budget of new tokens that could pass the model's positions. Without
    /// it the rows that did are named afterwards.
    pub(crate) fn strict_positions(
        &self,
        what: impl std::fmt::Display,
        tokens: usize,
        model: &Checkpoint,
    ) -> Result {
        if self.strict { self.warn_positions(what, tokens, model) } else { Ok(()) }
    }

    /// Warns of what has no effect at temperature 0: several samples, which are all the same, and bounds of the tokens
    /// that are drawn from.
    pub(crate) fn warn_greedy(&self, samples: usize, how: &Sampling) -> Result {
        if how.temperature != 0.0 {
            return Ok(());
        }
        if samples > 1 {
            self.warn(format!(
                "--samples {samples}: at --temperature 0 all samples of a prompt are the same"
            ))?;
        }
        let bounds = [
            (how.top_p != 1.0, format!("--top-p {}", how.top_p)),
            (how.top_k != 0, format!("--top-k {}", how.top_k)),
            (how.min_p != 0.0, format!("--min-p {}", how.min_p)),
        ];
        bounds.into_iter().filter(|(given, _)| *given).try_for_each(|(_, bound)| {
            self.warn(format!("{bound}: no effect at --temperature 0, which takes the most likely token"))
        })
    }

    /// Warns of settings in generation_config.json that generation here does not apply.
    pub(crate) fn warn_not_applied(&self, checkpoint: &Checkpoint) -> Result {
        if checkpoint.not_applied.is_empty() {
            return Ok(());
        }
        self.warn(format!(
            "{}: generation_config.json: not applied: {}",
            checkpoint.dir().display(),
            checkpoint.not_applied.join(", ")
        ))
    }

    /// Opens a checkpoint, given as a folder or a hub id, and prints its warnings.
    pub(crate) fn open(&self, model: &str) -> Result<Checkpoint> {
        let dir = crate::model::folder(self, model)?;
        self.files.keep("MODEL", &dir)?;
        let checkpoint = Checkpoint::open(&dir)?;
        for warning in &checkpoint.warnings {
            self.warn(format!("{}: {warning}", dir.display()))?;
        }
        Ok(checkpoint)
    }

    /// Loads the weights of an open checkpoint and attaches the adapter of `--adapter`.
    pub(crate) fn load(&self, checkpoint: &Checkpoint) -> Result<Qwen> {
        let model = self.load_base(checkpoint, self.dtype())?;
        match &self.adapter {
            Some(dir) => Adapter::open(dir, &model)?.attach(&model),
            None => Ok(model),
        }
    }

    /// Loads the weights without an adapter, with the loader's warnings.
    pub(crate) fn load_base(&self, checkpoint: &Checkpoint, dtype: Dtype) -> Result<Qwen> {
        let (model, warnings) = checkpoint.load_as_is(dtype, &self.device()?)?;
        for warning in warnings {
            self.warn(format!("{}: {warning}", checkpoint.dir().display()))?;
        }
        Ok(model)
    }

    /// The adapter folder of `--adapter`.
    pub(crate) fn adapter(&self) -> Option<&Path> {
        self.adapter.as_deref()
    }

    /// Refuses the options of a model for a command that is given none.
    pub(crate) fn without_model(&self, command: &str) -> Result {
        if self.dtype.is_some() {
            return Err(Error::input(format!(
                "--dtype: {command} loads no model of yours, so it has no effect"
            )));
        }
        match &self.adapter {
            None => Ok(()),
            Some(_) => Err(Error::input(format!(
                "--adapter: {command} loads no model of yours, so it has no effect"
            ))),
        }
    }

    /// Refuses the options of a model that is computed here, where none is.
    pub(crate) fn without_computing(&self, why: &str) -> Result {
        let given = [
            ("--device", self.device.is_some()),
            ("--dtype", self.dtype.is_some()),
            ("--compute", self.compute.is_some()),
            ("--adapter", self.adapter.is_some()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            None => Ok(()),
            Some((flag, _)) => Err(Error::input(format!("{why} {flag} has no effect; leave it out"))),
        }
    }

    /// Refuses `--adapter` for a command that takes none.
    pub(crate) fn without_adapter(&self, command: &str) -> Result {
        match &self.adapter {
            None => Ok(()),
            Some(_) => Err(Error::input(format!(
                "--adapter: {command} takes no adapter; merge it first (sparks merge-adapter)"
            ))),
        }
    }
}

/// The tokenizer of a checkpoint, or `None` where the folder has none.
pub(crate) fn text(checkpoint: &Checkpoint) -> Result<Option<Text>> {
    if checkpoint.dir().join("tokenizer.json").exists() { Ok(Some(checkpoint.text()?)) } else { Ok(None) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn products_follow_weights_in_bf16_on_a_gpu() {
        let compute = |flags: &str| {
            let args = "sparks info m".split(' ').chain(flags.split_whitespace());
            crate::Cli::try_parse_from(args).unwrap().common.compute()
        };
        for (flags, expected) in [
            ("--device cuda --dtype bf16", Compute::Bf16),
            ("--device cuda:1 --dtype bf16 --compute f32", Compute::F32),
            ("--device cuda --dtype bf16 --compute tf32", Compute::Tf32),
            ("--device cuda", Compute::F32),
            ("--device cuda --dtype f16", Compute::F32),
            ("--device wgpu --dtype bf16", Compute::F32),
            ("--device cpu --dtype bf16", Compute::F32),
        ] {
            assert_eq!(compute(flags), expected, "{flags}");
        }
        // A run file names the type of its weights.
        let common = crate::Cli::try_parse_from(["sparks", "info", "m", "--device", "cuda"]).unwrap().common;
        assert_eq!(common.compute_with(Dtype::Bf16), Compute::Bf16);
    }
}
