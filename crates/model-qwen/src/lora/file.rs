//! PEFT's files: `adapter_config.json` and `adapter_model.safetensors`, read and written.

use std::collections::BTreeSet;
use std::path::Path;

use kernels::Dropout;

use crate::checkpoint::read;
use crate::save::{IN_TORCH, pretty, whole_folder, write_file};
use crate::stored::{Loader, WeightFiles};
use crate::tensors::{Entry, write_tensors};
use crate::weights::Source as _;
use crate::{Adapter, Dtype, Error, Lora, LoraConfig, LowRank, Param, Projection, Qwen, Weight};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

/// The names of the two factors in PEFT's files.
pub(super) fn names(layer: usize, which: Projection) -> [String; 2] {
    ["A", "B"].map(|factor| format!("base_model.model.{}.lora_{factor}.weight", which.path(layer)))
}

/// The name in PEFT's files of a parameter that an adapter holds whole.
pub(super) fn whole_name(name: &str) -> String {
    format!("base_model.model.{name}")
}

impl Adapter {
    /// Reads an adapter folder for `model`, onto the model's device.
    ///
    /// # Errors
    /// Files that are missing or damaged, options that are not implemented, factors that the configuration
    /// does not name or that have other shapes, NaN or infinity.
    pub fn open(dir: &Path, model: &Qwen) -> Result<Self, Error> {
        let path = dir.join(CONFIG);
        let config = LoraConfig::parse(&read(&path)?).map_err(|e| Error::at(&path, e))?;
        let places = config.places(&model.config).map_err(|e| Error::at(&path, e))?;
        let path = dir.join(WEIGHTS);
        if !path.exists() {
            return Err(Error::at(&path, "no such file, expected the factors of an adapter"));
        }
        let (files, device) = (WeightFiles::single(path.clone())?, model.device());
        let mut source = Loader::new(&files, Dtype::F32, &device);
        let mut left: BTreeSet<String> = files.names().into_iter().collect();
        let mut blocks = vec![Lora::default(); model.config.n_layers];
        for place in places {
            let [d_out, d_in] = place.projection.shape(&model.config);
            let [a, b] = names(place.layer, place.projection);
            let term = LowRank {
                a: source.matrix(&a, [place.rank, d_in])?,
                b: source.matrix(&b, [d_out, place.rank])?,
                scale: place.scale,
                dropout: Dropout { p: config.dropout, keys: Vec::new() },
            };
            left.remove(&a);
            left.remove(&b);
            blocks[place.layer].set(place.projection, term);
        }
        let whole = config.whole(model).map_err(|e| Error::at(dir.join(CONFIG), e))?;
        let mut modules = Vec::new();
        for (name, param) in model.clone().params().into_iter().filter(|(name, _)| whole.contains(name)) {
            let stored = whole_name(&name);
            left.remove(&stored);
            modules.push((
                name,
                match param {
                    Param::Matrix(w) => Weight::Matrix(source.matrix(&stored, w.dims())?),
                    Param::Vector(w) => Weight::Vector(source.vector(&stored, w.dims()[0])?),
                },
            ));
        }
        if let Some(name) = left.first() {
            return Err(Error::at(&path, format!("`{name}` is beside nothing that {CONFIG} targets")));
        }
        match source.not_finite() {
            None => Ok(Self { config, blocks, modules }),
            Some(warning) => Err(Error::at(&path, warning)),
        }
    }

    /// Writes an adapter folder that PEFT loads, factors in f32. The folder appears whole.
    ///
    /// # Errors
    /// Anything the file system refuses; an existing folder of that name is replaced.
    pub fn save(&self, dir: &Path) -> Result<(), Error> {
        whole_folder(dir, |folder| {
            write_file(&folder.join(CONFIG), pretty(&self.config.to_json())?.as_bytes())?;
            let mut blocks = self.blocks.clone();
            let mut modules = self.modules.clone();
            let factors = blocks.iter_mut().enumerate().flat_map(|(l, b)| b.params(l));
            let whole = modules.iter_mut().map(|(name, weight)| (whole_name(name), weight.param()));
            let params: Vec<_> = factors.chain(whole).collect();
            let entries: Vec<_> = params.iter().map(|(name, p)| Entry::param(name, p, Dtype::F32)).collect();
            write_tensors(&folder.join(WEIGHTS), &entries, &IN_TORCH)
        })
    }
}
