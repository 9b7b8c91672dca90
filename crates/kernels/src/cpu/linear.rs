//! `x W^T` with weights of any float dtype, accumulated in f32.
//!
//! Few tokens (decoding) are bound by reading the weights: dot products from the stored dtype, in an order that
//! depends on `in` alone, so a token's result does not depend on the number of tokens. Many tokens are bound by
//! arithmetic: sums of sixteen tokens by six rows of weights stay in registers, and 16-bit weights are widened in
//! small blocks, so that no f32 copy of a whole matrix exists. The gradient is a product of the `gemm` crate.

use std::ops::Range;

use half::{bf16, f16};
use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
use super::lanes::Avx2;
use super::lanes::{Lanes, Plain};

/// A weight matrix `[out, in]`, row after row.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Weights<'a> {
    F32(&'a [f32]),
    Bf16(&'a [bf16]),
    F16(&'a [f16]),
}

/// The stored form of a weight.
trait Stored: Copy + Sync {
    fn wide(self) -> f32;
    /// # Safety
    /// Eight values can be read from `from` on.
    #[allow(unsafe_code)]
    unsafe fn load<L: Lanes>(from: *const Self) -> L;
}

macro_rules! stored {
    ($type:ty, $load:ident) => {
        impl Stored for $type {
            #[inline(always)]
            fn wide(self) -> f32 {
                f32::from(self)
            }
            #[inline(always)]
            #[allow(unsafe_code)]
            unsafe fn load<L: Lanes>(from: *const Self) -> L {
                // SAFETY: the caller's.
                unsafe { L::$load(from) }
            }
        }
    };
}
stored!(f32, load);
stored!(bf16, load_bf16);
stored!(f16, load_f16);

/// Rows of the weight in one piece of work.
const PIECE: usize = 48;
/// Multiplications below which a product stays on one thread.
const SERIAL: usize = 1 << 17;
/// Tokens from which on four are multiplied at a time.
const FOUR: usize = 8;
/// Widened weights held at a time, in values: they stay in a shared cache.
const BLOCK: usize = 1 << 20;

/// Sums of `T` tokens against `S` rows of the weight.
#[inline(always)]
#[allow(unsafe_code)]
fn tile<L: Lanes, W: Stored, const T: usize, const S: usize>(
    x: [&[f32]; T],
    w: [&[W]; S],
    n: usize,
) -> [[f32; S]; T] {
    let (x, w) = (x.map(|x| &x[..n]), w.map(|w| &w[..n]));
    let mut sums = [[L::zero(); S]; T];
    let whole = n / 8 * 8;
    for k in (0..whole).step_by(8) {
        // SAFETY: each slice has n values, and k + 8 <= n.
        let mut tokens = [L::zero(); T];
        for t in 0..T {
            // SAFETY: each slice has n values, and k + 8 <= n.
            tokens[t] = unsafe { L::load(x[t].as_ptr().add(k)) };
        }
        for s in 0..S {
            // SAFETY: as above.
            let weight: L = unsafe { W::load(w[s].as_ptr().add(k)) };
            for t in 0..T {
                sums[t][s] = sums[t][s].add_product(tokens[t], weight);
            }
        }
    }
    let mut out = [[0.0; S]; T];
    for t in 0..T {
        for s in 0..S {
            out[t][s] = sums[t][s].sum();
            for k in whole..n {
                out[t][s] += x[t][k] * w[s][k].wide();
            }
        }
    }
    out
}

/// A pointer through which pieces of work write disjoint columns.
#[derive(Clone, Copy)]
struct Columns {
    out: *mut f32,
    len: usize,
}

// SAFETY: every piece of work writes columns of its own.
#[allow(unsafe_code)]
unsafe impl Send for Columns {}
#[allow(unsafe_code)]
unsafe impl Sync for Columns {}

impl Columns {
    #[inline(always)]
    #[allow(unsafe_code)]
    fn put(self, at: usize, value: f32) {
        debug_assert!(at < self.len);
        // SAFETY: `at` is token * d_out + column, both in range, and the column is this piece's own.
        unsafe { *self.out.add(at) = value }
    }
}

/// `S` columns from `o` on, for all tokens, `T` at a time.
#[inline(always)]
fn strip<L: Lanes, W: Stored, const T: usize, const S: usize>(
    x: &[f32],
    weight: &[W],
    d_in: usize,
    d_out: usize,
    o: usize,
    out: Columns,
) {
    let w: [&[W]; S] = std::array::from_fn(|s| &weight[(o + s) * d_in..(o + s + 1) * d_in]);
    let mut rows = x.chunks_exact(T * d_in);
    let mut t = 0;
    let mut put = |sums: [f32; S]| {
        for (s, sum) in sums.into_iter().enumerate() {
            out.put(t * d_out + o + s, sum);
        }
        t += 1;
    };
    for block in rows.by_ref() {
        let x: [&[f32]; T] = std::array::from_fn(|t| &block[t * d_in..]);
        tile::<L, W, T, S>(x, w, d_in).into_iter().for_each(&mut put);
    }
    for x in rows.remainder().chunks_exact(d_in) {
        put(tile::<L, W, 1, S>([x], w, d_in)[0]);
    }
}

/// Columns of the result. The sums and operands of a tile fill the sixteen registers of AVX2.
#[inline(always)]
fn columns<L: Lanes, W: Stored>(
    x: &[f32],
    weight: &[W],
    d_in: usize,
    d_out: usize,
    columns: Range<usize>,
    out: Columns,
) {
    let tokens = x.len() / d_in;
    let width = match tokens {
        1 => 8,
        2..FOUR => 6,
        _ => 3,
    };
    let whole = columns.start + columns.len() / width * width;
    for o in (columns.start..whole).step_by(width) {
        match tokens {
            1 => strip::<L, W, 1, 8>(x, weight, d_in, d_out, o, out),
            2..FOUR => strip::<L, W, 2, 6>(x, weight, d_in, d_out, o, out),
            _ => strip::<L, W, 4, 3>(x, weight, d_in, d_out, o, out),
        }
    }
    for o in whole..columns.end {
        strip::<L, W, 2, 1>(x, weight, d_in, d_out, o, out);
    }
}

/// A function over lanes, compiled for AVX2 with fused multiply-add and plainly, and chosen as the program runs.
macro_rules! over_lanes {
    (fn $name:ident<$w:ident>($($arg:ident: $ty:ty),* $(,)?) = $body:ident) => {
        fn $name<$w: Stored>($($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            if std::arch::is_x86_feature_detected!("avx2")
                && std::arch::is_x86_feature_detected!("fma")
                && std::arch::is_x86_feature_detected!("f16c")
            {
                #[target_feature(enable = "avx2,fma,f16c")]
                fn avx2<$w: Stored>($($arg: $ty),*) {
                    $body::<Avx2, $w>($($arg),*);
                }
                // SAFETY: the processor has the features.
                #[allow(unsafe_code)]
                return unsafe { avx2($($arg),*) };
            }
            $body::<Plain, $w>($($arg),*);
        }
    };
}
over_lanes!(fn piece<W>(x: &[f32], weight: &[W], d_in: usize, d_out: usize, range: Range<usize>, out: Columns) = columns);

fn few_of<W: Stored>(x: &[f32], weight: &[W], d_in: usize, out: &mut [f32]) {
    let d_out = weight.len() / d_in;
    let shared = Columns { out: out.as_mut_ptr(), len: out.len() };
    if x.len() * d_out <= SERIAL || rayon::current_num_threads() == 1 {
        return piece(x, weight, d_in, d_out, 0..d_out, shared);
    }
    (0..d_out.div_ceil(PIECE)).into_par_iter().for_each(|i| {
        piece(x, weight, d_in, d_out, i * PIECE..((i + 1) * PIECE).min(d_out), shared);
    });
}

/// `x W^T` for few tokens: `x` `[tokens, in]`, `out` `[tokens, out]`.
pub(crate) fn few(x: &[f32], weight: Weights<'_>, d_in: usize, out: &mut [f32]) {
    match weight {
        Weights::F32(w) => few_of(x, w, d_in, out),
        Weights::Bf16(w) => few_of(x, w, d_in, out),
        Weights::F16(w) => few_of(x, w, d_in, out),
    }
}

/// Tokens of a panel: two registers.
const PANEL: usize = 16;
/// Inputs that are multiplied at a time: a panel of them stays in the first cache.
const DEPTH: usize = 512;
/// Tokens that are multiplied at a time: the sums of a piece of work stay in the second cache.
const TOKENS: usize = 1024;

/// `x` in panels of tokens, `[panels][in][PANEL]`, zeros behind the last token.
fn panels(x: &[f32], d_in: usize) -> Vec<f32> {
    let tokens = x.len() / d_in;
    let mut out = vec![0.0; tokens.div_ceil(PANEL) * PANEL * d_in];
    out.par_chunks_mut(PANEL * d_in).zip(x.par_chunks(PANEL * d_in)).for_each(|(panel, rows)| {
        for (t, row) in rows.chunks_exact(d_in).enumerate() {
            for (k, &value) in row.iter().enumerate() {
                panel[k * PANEL + t] = value;
            }
        }
    });
    out
}

/// Adds the products of `S` rows of weights with one panel's inputs to `sums`, `S` rows of length `stride`.
#[inline(always)]
#[allow(unsafe_code, clippy::needless_range_loop)]
fn panel_tile<L: Lanes, const S: usize>(panel: &[f32], w: [&[f32]; S], sums: &mut [f32], stride: usize) {
    let depth = panel.len() / PANEL;
    assert!(w.iter().all(|w| w.len() == depth) && sums.len() >= (S - 1) * stride + PANEL);
    let mut acc = [[L::zero(); 2]; S];
    for s in 0..S {
        for half in 0..2 {
            // SAFETY: s * stride + 16 is within `sums`, as asserted.
            acc[s][half] = unsafe { L::load(sums.as_ptr().add(s * stride + 8 * half)) };
        }
    }
    for k in 0..depth {
        // SAFETY: the panel has 16 values for each k below `depth`, and each row of weights one.
        let x: [L; 2] = unsafe {
            let at = panel.as_ptr().add(k * PANEL);
            [L::load(at), L::load(at.add(8))]
        };
        for s in 0..S {
            // SAFETY: as above.
            let weight = L::splat(unsafe { *w[s].get_unchecked(k) });
            acc[s][0] = acc[s][0].add_product(x[0], weight);
            acc[s][1] = acc[s][1].add_product(x[1], weight);
        }
    }
    for s in 0..S {
        for half in 0..2 {
            // SAFETY: as where they were loaded.
            unsafe { acc[s][half].store(sums.as_mut_ptr().add(s * stride + 8 * half)) };
        }
    }
}

/// Columns `rows` of the result, for all tokens, from `x` in [`panels`].
#[inline(always)]
fn panel_columns<L: Lanes, W: Stored>(
    x: &[f32],
    weight: &[W],
    [tokens, d_in, d_out]: [usize; 3],
    rows: Range<usize>,
    out: Columns,
) {
    let (n, stride) = (rows.len(), tokens.div_ceil(PANEL) * PANEL);
    let mut sums = vec![0.0; n * stride];
    let mut block = vec![0.0; n * DEPTH.min(d_in)];
    for k in (0..d_in).step_by(DEPTH) {
        let depth = DEPTH.min(d_in - k);
        for (r, wide) in block.chunks_exact_mut(depth).take(n).enumerate() {
            let from = (rows.start + r) * d_in + k;
            for (wide, &w) in wide.iter_mut().zip(&weight[from..from + depth]) {
                *wide = w.wide();
            }
        }
        let row = |r: usize| &block[r * depth..(r + 1) * depth];
        for (p, panel) in x.chunks_exact(PANEL * d_in).enumerate() {
            let panel = &panel[k * PANEL..(k + depth) * PANEL];
            let whole = n / 6 * 6;
            for r in (0..whole).step_by(6) {
                let w = [row(r), row(r + 1), row(r + 2), row(r + 3), row(r + 4), row(r + 5)];
                panel_tile::<L, 6>(panel, w, &mut sums[r * stride + p * PANEL..], stride);
            }
            for r in whole..n {
                panel_tile::<L, 1>(panel, [row(r)], &mut sums[r * stride + p * PANEL..], stride);
            }
        }
    }
    for t in 0..tokens {
        for r in 0..n {
            out.put(t * d_out + rows.start + r, sums[r * stride + t]);
        }
    }
}

over_lanes!(fn panel_piece<W>(x: &[f32], weight: &[W], sizes: [usize; 3], rows: Range<usize>, out: Columns) = panel_columns);

fn many_of<W: Stored>(x: &[f32], weight: &[W], d_in: usize, out: &mut [f32]) {
    let d_out = weight.len() / d_in;
    for (x, out) in x.chunks(TOKENS * d_in).zip(out.chunks_mut(TOKENS * d_out)) {
        let sizes = [x.len() / d_in, d_in, d_out];
        let shared = Columns { out: out.as_mut_ptr(), len: out.len() };
        let x = panels(x, d_in);
        (0..d_out.div_ceil(PIECE)).into_par_iter().for_each(|i| {
            panel_piece(&x, weight, sizes, i * PIECE..((i + 1) * PIECE).min(d_out), shared);
        });
    }
}

/// `x W^T` for many tokens: `x` `[tokens, in]`, `out` `[tokens, out]`. The tokens are reordered and the weights
/// are not: a prompt has fewer values than a matrix.
pub(crate) fn many(x: &[f32], weight: Weights<'_>, d_in: usize, out: &mut [f32]) {
    let (tokens, d_out) = (x.len() / d_in, weight.len() / d_in);
    assert!(x.len() == tokens * d_in && out.len() == tokens * d_out, "x [tokens, in], out [tokens, out]");
    match weight {
        Weights::F32(w) => many_of(x, w, d_in, out),
        Weights::Bf16(w) => many_of(x, w, d_in, out),
        Weights::F16(w) => many_of(x, w, d_in, out),
    }
}

#[inline(always)]
fn widen_bf16_body(from: &[bf16], to: &mut [f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = f32::from_bits(u32::from(from.to_bits()) << 16);
    }
}
super::compiled_twice!(fn widen_bf16(from: &[bf16], to: &mut [f32]) = widen_bf16_body);

impl Weights<'_> {
    fn len(self) -> usize {
        match self {
            Weights::F32(w) => w.len(),
            Weights::Bf16(w) => w.len(),
            Weights::F16(w) => w.len(),
        }
    }

    /// 16-bit values from `start` on, in f32.
    fn widen(self, start: usize, to: &mut [f32]) {
        use half::slice::HalfFloatSliceExt as _;
        const SHARE: usize = 1 << 14;
        to.par_chunks_mut(SHARE).enumerate().for_each(|(i, to)| {
            let span = start + i * SHARE..start + i * SHARE + to.len();
            match self {
                Weights::F32(w) => to.copy_from_slice(&w[span]),
                Weights::Bf16(w) => widen_bf16(&w[span], to),
                Weights::F16(w) => w[span].convert_to_f32_slice(to),
            }
        });
    }

    /// Calls `f(first_row, rows, values)` on blocks of rows in f32; weights stored so are one block.
    fn blocks(self, d_in: usize, mut f: impl FnMut(usize, usize, &[f32])) {
        let d_out = self.len() / d_in;
        if let Weights::F32(values) = self {
            return f(0, d_out, values);
        }
        let rows = (BLOCK / d_in).clamp(1, d_out);
        let mut block = vec![0f32; rows * d_in];
        for first in (0..d_out).step_by(rows) {
            let rows = rows.min(d_out - first);
            let values = &mut block[..rows * d_in];
            self.widen(first * d_in, values);
            f(first, rows, values);
        }
    }
}

fn parallelism() -> gemm::Parallelism {
    if rayon::current_num_threads() == 1 { gemm::Parallelism::None } else { gemm::Parallelism::Rayon(0) }
}

/// `grad W`, the gradient of [`many`] and [`few`] with respect to `x`: `grad` `[tokens, out]`, `out` `[tokens, in]`.
pub(crate) fn backward(grad: &[f32], weight: Weights<'_>, d_in: usize, out: &mut [f32]) {
    let d_out = weight.len() / d_in;
    let tokens = grad.len() / d_out;
    assert!(
        grad.len() == tokens * d_out && out.len() == tokens * d_in,
        "grad [tokens, out], out [tokens, in]"
    );
    let ([k, width], out) = ([d_in as isize, d_out as isize], out.as_mut_ptr());
    weight.blocks(d_in, |first, rows, w| {
        // SAFETY: out[tokens, in] += grad[tokens, first..first + rows] w[rows, in], within the lengths asserted.
        #[allow(unsafe_code)]
        unsafe {
            #[rustfmt::skip]
            gemm::gemm(
                tokens, d_in, rows,
                out, 1, k, first > 0,
                grad.as_ptr().add(first), 1, width,
                w.as_ptr(), 1, k,
                1.0, 1.0, false, false, false, parallelism(),
            );
        }
    });
}

/// `grad^T x`, the gradient of [`many`] and [`few`] with respect to the weight: `grad` `[tokens, out]`, `x`
/// `[tokens, in]`, `out` `[out, in]`.
pub(crate) fn backward_weight(grad: &[f32], x: &[f32], [d_out, d_in]: [usize; 2], out: &mut [f32]) {
    let tokens = grad.len() / d_out;
    assert!(
        grad.len() == tokens * d_out && x.len() == tokens * d_in && out.len() == d_out * d_in,
        "grad [tokens, out], x [tokens, in], out [out, in]"
    );
    let [k, width] = [d_in as isize, d_out as isize];
    // SAFETY: out[out, in] = grad[tokens, out]^T x[tokens, in], within the lengths asserted.
    #[allow(unsafe_code)]
    unsafe {
        #[rustfmt::skip]
        gemm::gemm(
            d_out, d_in, tokens,
            out.as_mut_ptr(), 1, k, false,
            grad.as_ptr(), width, 1,
            x.as_ptr(), 1, k,
            0.0, 1.0, false, false, false, parallelism(),
        );
    }
}
