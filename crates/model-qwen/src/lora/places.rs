//! Which projections an adapter sits beside, with rank and scale, by PEFT's rules for names and patterns.

use tokenizers::utils::SysRegex;

use super::config::{LoraConfig, Targets};
use crate::{Config, Error, Projection, Qwen};

/// One projection of one block, with its rank and scale.
pub(super) struct Place {
    pub(super) layer: usize,
    pub(super) projection: Projection,
    pub(super) rank: usize,
    pub(super) scale: f64,
}

impl LoraConfig {
    /// Numbers in the factors of such an adapter for `model`.
    ///
    /// # Errors
    /// A configuration that names no projection of this model.
    pub fn n_params(&self, model: &Config) -> Result<u64, Error> {
        let of = |place: &Place| place.rank * place.projection.shape(model).iter().sum::<usize>();
        Ok(self.places(model)?.iter().map(|place| of(place) as u64).sum())
    }

    /// The projections of `model` that get an adapter, block by block.
    ///
    /// # Errors
    /// None, names that no projection has, layers beyond the model, regular expressions that do not parse.
    pub(super) fn places(&self, model: &Config) -> Result<Vec<Place>, Error> {
        let (targets, exclude) = (Matcher::new(&self.targets)?, self.exclude.as_ref().map(Matcher::new));
        let exclude = exclude.transpose()?;
        let ranks = compile(&self.rank_pattern)?;
        let alphas = compile(&self.alpha_pattern)?;
        if let Some(&layer) = self.layers.iter().flatten().find(|&&layer| layer >= model.n_layers) {
            let n = model.n_layers;
            return Err(Error::input(format!("`layers_to_transform` has {layer}, the model has {n} layers")));
        }
        let mut places = Vec::new();
        for layer in (0..model.n_layers).filter(|l| self.layers.as_ref().is_none_or(|all| all.contains(l))) {
            for projection in Projection::ALL {
                let path = projection.path(layer);
                let excluded = exclude.as_ref().is_some_and(|e| e.matches(&path));
                // What is trained whole has no low-rank term too.
                let inside = self.whole.iter().any(|name| format!(".{path}.").contains(&format!(".{name}.")));
                if !targets.matches(&path) || excluded || inside {
                    continue;
                }
                let rank = first(&ranks, &path).copied().unwrap_or(self.rank);
                let alpha = first(&alphas, &path).copied().unwrap_or(self.alpha);
                let by = if self.rslora { (rank as f64).sqrt() } else { rank as f64 };
                places.push(Place { layer, projection, rank, scale: alpha / by });
            }
        }
        if let Targets::Names(names) = &self.targets
            && let Some(name) = names.iter().find(|n| !fits_any(n, model))
        {
            return Err(Error::input(format!(
                "`target_modules` has {name}: adapters are implemented beside q_proj, k_proj, v_proj, o_proj, \
                 gate_proj, up_proj and down_proj"
            )));
        }
        if places.is_empty() {
            return Err(Error::input("`target_modules` fits no projection of this model"));
        }
        Ok(places)
    }
}

impl LoraConfig {
    /// The names of the parameters of `model` that the adapter holds whole, in the order of `Qwen::params`: those in
    /// a module whose path ends with one of `whole`, as PEFT has it not only at a dot.
    ///
    /// # Errors
    /// A name that fits no module, that fits a projection with a low-rank term, or a tied embedding.
    pub(super) fn whole(&self, model: &Qwen) -> Result<Vec<String>, Error> {
        let refuse =
            |name: &str, what: &str| Err(Error::input(format!("`modules_to_save` has {name}, {what}")));
        let (places, mut found) = (self.places(&model.config)?, Vec::new());
        let names: Vec<String> = model.clone().params().into_iter().map(|(name, _)| name).collect();
        for module in &self.whole {
            let fitting =
                names.iter().filter(|name| modules(name).any(|path| path.ends_with(module.as_str())));
            let before = found.len();
            for name in fitting {
                if places.iter().any(|p| name.starts_with(&format!("{}.", p.projection.path(p.layer)))) {
                    return refuse(module, &format!("and a low-rank term is beside {name}"));
                }
                if model.config.tied && name == "model.embed_tokens.weight" {
                    return refuse(
                        module,
                        "which is tied to the output projection: PEFT would train one of the two",
                    );
                }
                found.push(name.clone());
            }
            if found.len() == before {
                return refuse(module, "which no module of this model ends with");
            }
        }
        Ok(names.into_iter().filter(|name| found.contains(name)).collect())
    }
}

/// The paths of the modules that a parameter is in: of `model.norm.weight`, `model.norm` and `model`.
fn modules(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('.').map(|(at, _)| &name[..at])
}

/// Whether a name targets any projection of any block.
fn fits_any(name: &str, model: &Config) -> bool {
    (0..model.n_layers).any(|layer| Projection::ALL.iter().any(|p| ends_with(&p.path(layer), name)))
}

/// Whether `path` is `name` or ends with it after a dot.
fn ends_with(path: &str, name: &str) -> bool {
    path.strip_suffix(name).is_some_and(|front| front.is_empty() || front.ends_with('.'))
}

enum Matcher<'a> {
    All,
    Names(&'a [String]),
    Pattern(SysRegex),
}

impl<'a> Matcher<'a> {
    fn new(targets: &'a Targets) -> Result<Self, Error> {
        Ok(match targets {
            Targets::AllLinear => Self::All,
            Targets::Names(names) => Self::Names(names),
            Targets::Pattern(pattern) => Self::Pattern(regex(pattern, pattern)?),
        })
    }

    fn matches(&self, path: &str) -> bool {
        match self {
            Self::All => true,
            Self::Names(names) => names.iter().any(|name| ends_with(path, name)),
            Self::Pattern(regex) => regex.find_iter(path).next().is_some(),
        }
    }
}

/// A regular expression that must fit a whole path; `shown` names it in a message.
fn regex(pattern: &str, shown: &str) -> Result<SysRegex, Error> {
    SysRegex::new(&format!("^(?:{pattern})$"))
        .map_err(|e| Error::input(format!("`{shown}` is no regular expression: {e}")))
}

/// PEFT's patterns of ranks and scales fit the end of a path at a dot.
fn compile<T: Copy>(patterns: &[(String, T)]) -> Result<Vec<(SysRegex, T)>, Error> {
    patterns.iter().map(|(key, value)| Ok((regex(&format!(r"(?:.*\.)?(?:{key})"), key)?, *value))).collect()
}

fn first<'a, T>(patterns: &'a [(SysRegex, T)], path: &str) -> Option<&'a T> {
    patterns.iter().find(|(regex, _)| regex.find_iter(path).next().is_some()).map(|(_, value)| value)
}
