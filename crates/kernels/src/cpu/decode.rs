//! Attention of one new position of each row over its cache.
//!
//! One piece of work is one row under one key/value head. Sums run from the row's first visible key on, so neither
//! the other rows, nor where the row lies in its cache, nor the number of threads change a bit.

use std::ops::Range;

use rayon::prelude::*;

use super::softmax::forward_one;
use super::{SERIAL, compiled_twice, lane_sum};
use crate::CausalMask;

/// Queries `[rows, n_kv * group, d]` and a cache `[.., n_kv, room, d]` whose last written position is `at`.
#[derive(Clone, Copy)]
pub(crate) struct Inputs<'a> {
    pub(crate) q: &'a [f32],
    pub(crate) keys: &'a [f32],
    pub(crate) values: &'a [f32],
    pub(crate) n_kv: usize,
    pub(crate) room: usize,
    pub(crate) d: usize,
    pub(crate) at: usize,
    pub(crate) scale: f32,
    pub(crate) mask: &'a CausalMask,
}

#[inline(always)]
fn dots(q: &[f32], keys: &[f32], scores: &mut [f32]) {
    for (score, key) in scores.iter_mut().zip(keys.chunks_exact(q.len())) {
        *score = lane_sum(q, key, |a, b| a * b);
    }
}

#[inline(always)]
fn mix(pattern: &[f32], values: &[f32], out: &mut [f32]) {
    out.fill(0.0);
    for (&p, value) in pattern.iter().zip(values.chunks_exact(out.len())) {
        for (o, &v) in out.iter_mut().zip(value) {
            *o += p * v;
        }
    }
}

compiled_twice!(fn dots_of(q: &[f32], keys: &[f32], scores: &mut [f32]) = dots);
compiled_twice!(fn mix_of(pattern: &[f32], values: &[f32], out: &mut [f32]) = mix);

impl Inputs<'_> {
    fn span(&self, piece: usize) -> Range<usize> {
        let seen = self.mask.visible(piece / self.n_kv, 0, self.at + 1);
        let start = piece * self.room;
        (start + seen.start) * self.d..(start + seen.end) * self.d
    }

    fn piece(&self, piece: usize, out: &mut [f32]) {
        let (d, span, start) = (self.d, self.span(piece), piece * out.len());
        let (keys, values) = (&self.keys[span.clone()], &self.values[span]);
        let mut scores = vec![0.0; keys.len() / d];
        let mut pattern = vec![0.0; keys.len() / d];
        for (q, out) in self.q[start..start + out.len()].chunks_exact(d).zip(out.chunks_exact_mut(d)) {
            dots_of(q, keys, &mut scores);
            forward_one(&scores, self.scale, &mut pattern);
            mix_of(&pattern, values, out);
        }
    }
}

/// `out` `[rows, n_kv * group, d]`.
pub(crate) fn forward(inputs: Inputs<'_>, out: &mut [f32]) {
    let width = out.len() / (inputs.mask.first.len() * inputs.n_kv);
    let work = out.len() * (inputs.at + 1);
    if work <= SERIAL || rayon::current_num_threads() == 1 {
        out.chunks_exact_mut(width).enumerate().for_each(|(i, out)| inputs.piece(i, out));
    } else {
        out.par_chunks_exact_mut(width).enumerate().for_each(|(i, out)| inputs.piece(i, out));
    }
}
