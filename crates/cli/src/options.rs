//! What every subcommand shares: device, dtype, threads, seed, and how a failure becomes an exit status.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use clap::Args;
use model_qwen::{Adapter, Checkpoint, Dtype, Qwen, Text};

/// A failure with its exit status: 2 for bad usage or input, 1 for anything else.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) status: u8,
}

impl Failure {
    /// Bad usage or bad input.
    pub(crate) fn input(message: impl std::fmt::Display) -> Self {
        Self { message: message.to_string(), status: 2 }
    }

    /// Anything that is not the user's input: a full disk, an interrupted run.
    pub(crate) fn other(message: impl std::fmt::Display) -> Self {
        Self { message: message.to_string(), status: 1 }
    }
}

impl From<common::Error> for Failure {
    fn from(error: common::Error) -> Self {
        if error.is_input() { Self::input(error) } else { Self::other(error) }
    }
}

pub(crate) type Result<T = ()> = std::result::Result<T, Failure>;

/// Flags of every subcommand.
#[derive(Args, Debug)]
pub(crate) struct Common {
    /// Where to compute; the best that this build has where not given.
    #[arg(long, global = true, value_name = "cpu|cuda[:N]|wgpu[:N]")]
    device: Option<String>,
    /// How weights are held in memory, f32 where not given; activations are f32.
    #[arg(long, global = true, value_name = "f32|bf16|f16")]
    dtype: Option<String>,
    /// A LoRA adapter in PEFT's format, applied beside the weights of MODEL.
    #[arg(long, global = true, value_name = "DIR")]
    adapter: Option<PathBuf>,
    /// Threads; as many as the machine has where 0.
    #[arg(long, global = true, default_value_t = 0, value_name = "N")]
    threads: usize,
    /// Seed of everything random.
    #[arg(long, global = true, default_value_t = 0, value_name = "N")]
    pub(crate) seed: u64,
    /// Of models and suites on the hub use only what is in the cache, as with HF_HUB_OFFLINE=1.
    #[arg(long, global = true)]
    pub(crate) offline: bool,
    /// No progress, no notes.
    #[arg(long, global = true)]
    pub(crate) quiet: bool,
}

const MAX_THREADS: usize = 1024;
/// A pool thread's stack, in bytes: the whole command runs on one, so it is what a main thread has.
const STACK: usize = 8 << 20;

impl Common {
    /// Applies what has to be applied once.
    pub(crate) fn start(&self) -> Result {
        self.device()?;
        self.dtype()?;
        if self.threads > MAX_THREADS {
            return Err(Failure::input(format!(
                "--threads: {}, expected at most {MAX_THREADS} (0 for as many as the machine has)",
                self.threads
            )));
        }
        rayon::ThreadPoolBuilder::new()
            .num_threads(self.threads)
            .stack_size(STACK)
            .build_global()
            .map_err(|e| Failure::other(format!("--threads: {e}")))
    }

    pub(crate) fn device(&self) -> Result<Device> {
        match &self.device {
            Some(name) => crate::device::parse(name),
            None => Ok(crate::device::best()),
        }
    }

    pub(crate) fn dtype(&self) -> Result<Dtype> {
        Ok(self.given_dtype()?.unwrap_or(Dtype::F32))
    }

    /// `--dtype`, where it was given.
    pub(crate) fn given_dtype(&self) -> Result<Option<Dtype>> {
        self.dtype.as_ref().map(|name| name.parse().map_err(|e| Failure::input(format!("--{e}")))).transpose()
    }

    /// A note on stderr.
    pub(crate) fn note(&self, text: impl std::fmt::Display) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    /// Says what a checkpoint asks of generation and does not get.
    pub(crate) fn note_not_applied(&self, checkpoint: &Checkpoint) {
        if !checkpoint.not_applied.is_empty() {
            self.note(format!(
                "warning: {}: generation_config.json: not applied: {}",
                checkpoint.dir().display(),
                checkpoint.not_applied.join(", ")
            ));
        }
    }

    /// Opens a checkpoint, a folder or a hub id, and says what it warns of.
    pub(crate) fn open(&self, model: &str) -> Result<Checkpoint> {
        let dir = crate::model::folder(self, model)?;
        let checkpoint = Checkpoint::open(&dir)?;
        for warning in &checkpoint.warnings {
            self.note(format!("warning: {}: {warning}", dir.display()));
        }
        Ok(checkpoint)
    }

    /// Loads the weights of an open checkpoint, with the adapter of `--adapter` beside them.
    pub(crate) fn load(&self, checkpoint: &Checkpoint) -> Result<Qwen> {
        let model = self.load_base(checkpoint, self.dtype()?)?;
        match &self.adapter {
            Some(dir) => Ok(Adapter::open(dir, &model)?.attach(&model)?),
            None => Ok(model),
        }
    }

    /// Loads the weights alone, and says what is odd about them.
    pub(crate) fn load_base(&self, checkpoint: &Checkpoint, dtype: Dtype) -> Result<Qwen> {
        let (model, warning) = checkpoint.load_as_is(dtype, &self.device()?)?;
        if checkpoint.config.tied && !model.config.tied {
            self.note(format!(
                "warning: {}: `tie_word_embeddings` is true, and `lm_head.weight` is not the embedding: it is used as it is",
                checkpoint.dir().display()
            ));
        }
        if let Some(warning) = warning {
            self.note(format!("warning: {}: {warning}", checkpoint.dir().display()));
        }
        Ok(model)
    }

    /// Refuses `--adapter` where it has no meaning.
    pub(crate) fn without_adapter(&self, command: &str) -> Result {
        match &self.adapter {
            None => Ok(()),
            Some(_) => Err(Failure::input(format!(
                "--adapter: {command} takes none; merge it first (merge-adapter)"
            ))),
        }
    }
}

/// The tokenizer of a checkpoint, or `None` where the folder has none.
pub(crate) fn text(checkpoint: &Checkpoint) -> Result<Option<Text>> {
    if checkpoint.dir().join("tokenizer.json").exists() { Ok(Some(checkpoint.text()?)) } else { Ok(None) }
}

/// Reads a file, naming it when that fails.
pub(crate) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| Failure::input(format!("{}: {e}", path.display())))
}
