//! A hook that records activations.

use std::collections::HashMap;

use burn::tensor::Tensor;

use crate::{Heads, Hook, Site, Stream};

/// Records the activations of chosen sites; changes nothing.
///
/// Recording costs a reference count, not a copy. Where a site is passed several times (generation), the last pass is
/// kept.
#[derive(Debug, Default)]
pub struct Recorder {
    sites: Vec<Site>,
    streams: HashMap<Stream, Tensor<3>>,
    heads: HashMap<Heads, Tensor<4>>,
}

impl Recorder {
    /// A recorder of `sites`.
    pub fn new(sites: impl IntoIterator<Item = Site>) -> Self {
        Self { sites: sites.into_iter().collect(), ..Self::default() }
    }

    /// Whether a run has passed `site`.
    pub fn has(&self, site: Site) -> bool {
        match site {
            Site::Stream(site) => self.streams.contains_key(&site),
            Site::Heads(site) => self.heads.contains_key(&site),
        }
    }

    /// The activation at `site`, `[batch, seq, _]`.
    ///
    /// # Panics
    /// If the site was not asked for, or no run has passed it yet.
    pub fn stream(&self, site: Stream) -> Tensor<3> {
        self.streams.get(&site).unwrap_or_else(|| panic!("{} was not recorded", Site::from(site))).clone()
    }

    /// The activation at `site`, `[batch, heads, seq, _]`.
    ///
    /// # Panics
    /// If the site was not asked for, or no run has passed it yet.
    pub fn heads(&self, site: Heads) -> Tensor<4> {
        self.heads.get(&site).unwrap_or_else(|| panic!("{} was not recorded", Site::from(site))).clone()
    }

    /// Removes and returns the activation at `site`, to free its memory early.
    pub fn take_heads(&mut self, site: Heads) -> Option<Tensor<4>> {
        self.heads.remove(&site)
    }

    /// Removes and returns the activation at `site`, to free its memory early.
    pub fn take_stream(&mut self, site: Stream) -> Option<Tensor<3>> {
        self.streams.remove(&site)
    }
}

impl Hook for Recorder {
    fn wants(&self, site: Site) -> bool {
        self.sites.contains(&site)
    }
    fn on_stream(&mut self, site: Stream, x: Tensor<3>) -> Tensor<3> {
        self.streams.insert(site, x.clone());
        x
    }
    fn on_heads(&mut self, site: Heads, x: Tensor<4>) -> Tensor<4> {
        self.heads.insert(site, x.clone());
        x
    }
}
