//! Stored controls and other seeds' results, shown beside a study's own.

use std::path::Path;

use common::{Error, read_text};
use serde::{Deserialize, Serialize};

use super::controls::{head_rate, rate};
use crate::results::{Control, Controls, MatchedNoise, Stability};

/// Controls and other seeds that were stored.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Evidence {
    pub(crate) controls: Option<Controls>,
    pub(crate) stability: Option<Stability>,
}

pub(crate) fn evidence(path: Option<&Path>) -> Result<Evidence, Error> {
    let Some(path) = path else { return Ok(Evidence::default()) };
    serde_json::from_str(&read_text(path)?).map_err(|e| Error::at(path, e))
}

/// The trials of this study and the stored ones of other seeds.
pub(crate) fn joined(here: Option<Controls>, stored: Option<Controls>) -> Option<Controls> {
    let (Some(here), Some(stored)) = (&here, &stored) else { return here.or(stored) };
    let one = |here: &Option<Control>, stored: &Option<Control>| {
        let (Some(here), Some(stored)) = (here, stored) else { return here.clone().or(stored.clone()) };
        let mut all = here.clone();
        let seen: Vec<u64> = here.trials.iter().map(|t| t.seed).collect();
        all.trials.extend(stored.trials.iter().filter(|t| !seen.contains(&t.seed)).cloned());
        all.trials.sort_by_key(|t| t.seed);
        all.rate = rate(&all.trials);
        all.head_rate = here.head_rate.and(head_rate(&all.trials)).or(stored.head_rate);
        all.command.clone_from(&stored.command);
        Some(all)
    };
    Some(Controls {
        positive: one(&here.positive, &stored.positive),
        negative: one(&here.negative, &stored.negative),
        matched: here.matched.iter().map(|here| with_stored(here, &stored.matched)).collect(),
    })
}

/// The trials of this study and the stored ones of the same training.
fn with_stored(here: &MatchedNoise, stored: &[MatchedNoise]) -> MatchedNoise {
    let mut all = here.clone();
    // Trials of another run of the training have noise of another size.
    let same = |stored: &&MatchedNoise| {
        stored.training == here.training && (stored.change / here.change - 1.0).abs() < 1e-9
    };
    if let Some(stored) = stored.iter().find(same) {
        let seen: Vec<u64> = here.trials.iter().map(|t| t.seed).collect();
        all.trials.extend(stored.trials.iter().filter(|t| !seen.contains(&t.seed)).cloned());
        all.trials.sort_by_key(|t| t.seed);
        all.command.clone_from(&stored.command);
    }
    all
}
