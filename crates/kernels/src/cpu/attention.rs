//! Attention inside documents: scores are held for a block of queries of one document alone. A row that is not packed
//! is one document behind its padding.
//!
//! One piece of work is one head in one document, on one thread, so the number of threads changes no bit. Products are
//! those of the `gemm` crate.

use std::ops::Range;

use rayon::prelude::*;

use super::softmax::{backward_block, forward_one};
use crate::CausalMask;

/// Queries whose scores are held at a time: keys behind the last of them are not computed.
const QUERIES: usize = 64;
/// Values times queries below which all is done by one thread.
const SERIAL: usize = 1 << 17;

/// Arguments of attention, each `[batch, heads, seq, d]`, with `group` heads of `q` to one of `k` and `v`.
#[derive(Clone, Copy)]
pub(crate) struct Inputs<'a> {
    pub(crate) q: &'a [f32],
    pub(crate) k: &'a [f32],
    pub(crate) v: &'a [f32],
    pub(crate) n_kv: usize,
    pub(crate) group: usize,
    pub(crate) d: usize,
    pub(crate) scale: f32,
    pub(crate) mask: &'a CausalMask,
}

/// A matrix in row-major order, or its transpose.
#[derive(Clone, Copy)]
struct Matrix<'a> {
    values: &'a [f32],
    size: [usize; 2],
    strides: [isize; 2],
}

impl<'a> Matrix<'a> {
    fn new(values: &'a [f32], width: usize) -> Self {
        Self { values, size: [values.len() / width, width], strides: [width as isize, 1] }
    }

    fn transposed(self) -> Self {
        let ([a, b], [s, t]) = (self.size, self.strides);
        Self { size: [b, a], strides: [t, s], ..self }
    }
}

/// `out = a b`, or `out += a b`, with `out` in row-major order.
fn product(out: &mut [f32], add: bool, a: Matrix<'_>, b: Matrix<'_>) {
    let ([m, k], [inner, n]) = (a.size, b.size);
    assert!(k == inner && out.len() == m * n, "[m, k] by [k, n] into [m, n]");
    assert!(a.values.len() == m * k && b.values.len() == k * n, "a matrix has all its values");
    // SAFETY: the strides of each argument stay within its values, whose number was asserted.
    #[allow(unsafe_code)]
    unsafe {
        #[rustfmt::skip]
        gemm::gemm(
            m, n, k,
            out.as_mut_ptr(), 1, n as isize, add,
            a.values.as_ptr(), a.strides[1], a.strides[0],
            b.values.as_ptr(), b.strides[1], b.strides[0],
            1.0, 1.0, false, false, false, gemm::Parallelism::None,
        );
    }
}

/// One document under one key/value head.
#[derive(Clone)]
struct Piece<'a> {
    inputs: Inputs<'a>,
    /// Its row and key/value head in one number.
    at: usize,
    tokens: Range<usize>,
}

impl<'a> Piece<'a> {
    /// The document's part of an array whose row and key/value head have `heads` heads, for one of them.
    fn part(&self, values: &'a [f32], heads: usize, head: usize) -> &'a [f32] {
        let Inputs { d, mask, .. } = self.inputs;
        let start = (self.at * heads + head) * mask.seq;
        &values[(start + self.tokens.start) * d..(start + self.tokens.end) * d]
    }

    /// Blocks of queries, each with the keys that any of them sees, both counted from the document's start.
    fn blocks(&self) -> impl Iterator<Item = (Range<usize>, Range<usize>)> + use<> {
        let (n, window) = (self.tokens.len(), self.inputs.mask.window);
        (0..n).step_by(QUERIES).map(move |start| {
            let end = (start + QUERIES).min(n);
            (start..end, window.map_or(0, |w| (start + 1).saturating_sub(w))..end)
        })
    }

    /// Probabilities `[queries, keys]` of a block; `scores` is room for as many scores.
    fn pattern(&self, q: &[f32], k: &[f32], block: (&Range<usize>, &Range<usize>), room: [&mut Vec<f32>; 2]) {
        let (Inputs { d, scale, mask, .. }, (queries, keys), [scores, pattern]) = (self.inputs, block, room);
        let size = queries.len() * keys.len();
        scores.resize(size, 0.0);
        pattern.clear();
        pattern.resize(size, 0.0);
        product(scores, false, rows(q, queries, d), rows(k, keys, d).transposed());
        let lines = scores.chunks_exact(keys.len()).zip(pattern.chunks_exact_mut(keys.len()));
        for (query, (scores, pattern)) in queries.clone().zip(lines) {
            let oldest = mask.window.map_or(0, |w| (query + 1).saturating_sub(w));
            let seen = oldest - keys.start..query + 1 - keys.start;
            forward_one(&scores[seen.clone()], scale, &mut pattern[seen]);
        }
    }

    /// `out`: the document's part of the result for head `head` of the group.
    fn forward(&self, head: usize, out: &mut [f32], [scores, pattern]: [&mut Vec<f32>; 2]) {
        let Inputs { q, k, v, group, d, .. } = self.inputs;
        let (q, k, v) = (self.part(q, group, head), self.part(k, 1, 0), self.part(v, 1, 0));
        for (queries, keys) in self.blocks() {
            self.pattern(q, k, (&queries, &keys), [&mut *scores, &mut *pattern]);
            let out = &mut out[queries.start * d..queries.end * d];
            product(out, false, Matrix::new(pattern, keys.len()), rows(v, &keys, d));
        }
    }

    /// Gradients from `grad`, that of the result: `to_q` for head `head` of the group, and what this head adds to those
    /// in keys and values.
    fn backward(&self, head: usize, grad: &'a [f32], to_q: &mut [f32]) -> [Vec<f32>; 2] {
        let Inputs { q, k, v, group, d, scale, .. } = self.inputs;
        let (q, grad) = (self.part(q, group, head), self.part(grad, group, head));
        let (k, v) = (self.part(k, 1, 0), self.part(v, 1, 0));
        let [mut to_k, mut to_v] = [k, v].map(|x| vec![0.0; x.len()]);
        let (mut scores, mut pattern, mut to_pattern) = (Vec::new(), Vec::new(), Vec::new());
        for (queries, keys) in self.blocks() {
            self.pattern(q, k, (&queries, &keys), [&mut scores, &mut pattern]);
            let (n, grad) = (keys.len(), rows(grad, &queries, d));
            to_pattern.resize(pattern.len(), 0.0);
            product(&mut to_pattern, false, grad, rows(v, &keys, d).transposed());
            let span = keys.start * d..keys.end * d;
            product(&mut to_v[span.clone()], true, Matrix::new(&pattern, n).transposed(), grad);
            backward_block(&pattern, &to_pattern, scale, n, &mut scores);
            let to_scores = Matrix::new(&scores, n);
            product(&mut to_q[queries.start * d..queries.end * d], false, to_scores, rows(k, &keys, d));
            product(&mut to_k[span], true, to_scores.transposed(), rows(q, &queries, d));
        }
        [to_k, to_v]
    }
}

fn rows<'a>(values: &'a [f32], range: &Range<usize>, width: usize) -> Matrix<'a> {
    Matrix::new(&values[range.start * width..range.end * width], width)
}

impl<'a> Inputs<'a> {
    /// All pieces of work, in the order of [`cut`](Self::cut).
    fn pieces(self) -> Vec<Piece<'a>> {
        let one = |at: usize| self.mask.documents(at / self.n_kv).map(move |tokens| (at, tokens));
        let all = (0..self.mask.first.len() * self.n_kv).flat_map(one);
        all.map(|(at, tokens)| Piece { inputs: self, at, tokens }).collect()
    }

    /// Cuts an array with `heads` heads to each row and key/value head: for each piece of work its part of each head.
    fn cut<'b>(&self, values: &'b mut [f32], heads: usize) -> Vec<Vec<&'b mut [f32]>> {
        let (width, mut pieces) = (self.mask.seq * self.d, Vec::new());
        for (at, values) in values.chunks_exact_mut(heads * width).enumerate() {
            let first = pieces.len();
            for mut head in values.chunks_exact_mut(width) {
                let mut end = 0;
                for (document, tokens) in self.mask.documents(at / self.n_kv).enumerate() {
                    // Padding may lie in front.
                    let (part, rest) =
                        head[(tokens.start - end) * self.d..].split_at_mut(tokens.len() * self.d);
                    (head, end) = (rest, tokens.end);
                    if pieces.len() == first + document {
                        pieces.push(Vec::with_capacity(heads));
                    }
                    pieces[first + document].push(part);
                }
            }
        }
        pieces
    }
}

/// Every head of every piece of work, with its part of an array with a group of heads to each.
fn by_head<'a, 'b>(inputs: Inputs<'a>, values: &'b mut [f32]) -> Vec<(Piece<'a>, usize, &'b mut [f32])> {
    let parts = inputs.cut(values, inputs.group);
    let one = |(piece, heads): (Piece<'a>, Vec<&'b mut [f32]>)| {
        heads.into_iter().enumerate().map(move |(head, part)| (piece.clone(), head, part))
    };
    inputs.pieces().into_iter().zip(parts).flat_map(one).collect()
}

/// Attention; `out` is zero on entry and stays so under padding.
pub(crate) fn forward(inputs: Inputs<'_>, out: &mut [f32]) {
    let work = out.len() * inputs.mask.seq;
    let heads = by_head(inputs, out);
    let run = |[scores, pattern]: &mut [Vec<f32>; 2], (piece, head, out): (Piece<'_>, usize, &mut [f32])| {
        piece.forward(head, out, [scores, pattern]);
    };
    if work <= SERIAL || rayon::current_num_threads() == 1 {
        let mut room = Default::default();
        heads.into_iter().for_each(|head| run(&mut room, head));
    } else {
        heads.into_par_iter().for_each_init(Default::default, run);
    }
}

/// Its gradients in `q`, `k` and `v`, each zero on entry.
pub(crate) fn backward(inputs: Inputs<'_>, grad: &[f32], [to_q, to_k, to_v]: [&mut [f32]; 3]) {
    let work = to_q.len() * inputs.mask.seq;
    let heads = by_head(inputs, to_q);
    let run = |(piece, head, to_q): (Piece<'_>, usize, &mut [f32])| piece.backward(head, grad, to_q);
    let of_heads: Vec<[Vec<f32>; 2]> = if work <= SERIAL || rayon::current_num_threads() == 1 {
        heads.into_iter().map(run).collect()
    } else {
        heads.into_par_iter().map(run).collect()
    };
    // Heads of a group are added in their order.
    let pieces = inputs.cut(to_k, 1).into_iter().zip(inputs.cut(to_v, 1));
    for ((mut to_k, mut to_v), group) in pieces.zip(of_heads.chunks_exact(inputs.group)) {
        for (to, from) in group.iter().flat_map(|[k, v]| [(0, k), (1, v)]) {
            let to = if to == 0 { &mut to_k[0] } else { &mut to_v[0] };
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        }
    }
}
