//! The optimiser's state in a file: the same whichever ranks keep it.

use std::path::Path;

use burn::tensor::Tensor;
use model_qwen::{Entry, TensorReader, write_tensors};

use crate::Error;
use crate::optimizer::{Optimizer, State};

/// A vector of a parameter's state.
#[derive(Debug, Clone, Copy)]
enum Part {
    Moment(usize),
    Master,
}

impl Part {
    fn name(self, parameter: &str) -> String {
        let kind = match self {
            Self::Moment(0) => "m",
            Self::Moment(_) => "v",
            Self::Master => "w",
        };
        format!("{kind}.{parameter}")
    }

    fn of(self, state: &State) -> Option<&Tensor<1>> {
        match self {
            Self::Moment(at) => Some(&state.moments[at]),
            Self::Master => state.master.as_ref(),
        }
    }
}

impl Optimizer {
    /// Writes the state as a safetensors file, one tensor at a time: `t` and, for each parameter, `m.NAME`,
    /// `v.NAME` and, where the model holds it in bf16, `w.NAME`: the f32 weights. Among several ranks, for the first;
    /// the others [give](Self::give_state) theirs meanwhile.
    ///
    /// # Errors
    /// What the file system or the format refuses.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let vectors = self.vectors().into_iter().map(|(name, slot, part)| {
            let get =
                move || self.bring(slot, part).unwrap_or_else(|| panic!("the first rank gets every vector"));
            Entry::made(name, self.shares.sizes()[slot], get)
        });
        let entries: Vec<Entry<'_>> =
            std::iter::once(Entry::number("t", self.updates())).chain(vectors).collect();
        write_tensors(path, &entries, &[])
    }

    /// Gives the first rank, which [saves](Self::save), what this one keeps.
    pub fn give_state(&self) {
        for (_, slot, part) in self.vectors() {
            self.bring(slot, part);
        }
    }

    /// Reads back what [`Optimizer::save`] wrote, one tensor at a time; each rank what it keeps.
    ///
    /// # Errors
    /// A file that cannot be read, is damaged, or belongs to another model. Some moments are the file's then: the
    /// optimiser is of no further use.
    pub fn load(&mut self, path: &Path) -> Result<(), Error> {
        let file = TensorReader::open(path)?;
        self.t = file.number("t")?;
        for (slot, n) in self.slots.iter_mut().zip(self.shares.sizes()) {
            let Some(state) = &mut slot.state else { continue };
            let vector = |part: Part| file.vector(&part.name(&slot.name), *n, &self.device);
            state.moments = [vector(Part::Moment(0))?, vector(Part::Moment(1))?];
            state.master = slot.has_master.then(|| vector(Part::Master)).transpose()?;
        }
        Ok(())
    }

    /// Every vector with its name, in the order of the safetensors libraries: the widest dtype first, then by name.
    fn vectors(&self) -> Vec<(String, usize, Part)> {
        let mut all = Vec::with_capacity(3 * self.slots.len());
        for (at, slot) in self.slots.iter().enumerate() {
            let master = slot.has_master.then_some(Part::Master);
            let parts = [Some(Part::Moment(0)), Some(Part::Moment(1)), master].into_iter().flatten();
            all.extend(parts.map(|part| (part.name(&slot.name), at, part)));
        }
        all.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        all
    }

    /// A vector, at the first rank.
    fn bring(&self, slot: usize, part: Part) -> Option<Tensor<1>> {
        let own = self.slots[slot].state.as_ref().and_then(|state| part.of(state));
        self.shares.bring(slot, own, &self.device)
    }
}
