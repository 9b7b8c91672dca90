//! `x W^T` with weights of any float dtype, accumulated in f32, and its gradients.
//!
//! Few tokens (decoding) are bound by reading the weights: dot products from the stored dtype, in an order that
//! depends on `in` alone, so a token's result does not depend on the number of tokens. Many tokens are bound by
//! arithmetic: [`super::product`]. The gradients are products of the `gemm` crate.

use std::ops::Range;

use half::{bf16, f16};
use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
use super::lanes::{Avx2, Avx512};
use super::lanes::{Dots, Lanes, Level, Plain, Vector, prefetch};
use super::product::{Shared, product};

/// A weight matrix `[out, in]`, row after row.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Weights<'a> {
    F32(&'a [f32]),
    Bf16(&'a [bf16]),
    F16(&'a [f16]),
}

/// The stored form of a weight, eight at a time.
trait Stored: super::product::Stored {
    /// # Safety
    /// Eight values can be read from `from` on.
    #[allow(unsafe_code)]
    unsafe fn load<L: Lanes>(from: *const Self) -> L;
}

macro_rules! stored {
    ($type:ty, $load:ident) => {
        impl Stored for $type {
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
/// Widened weights held at a time, in values: they stay in a shared cache.
const BLOCK: usize = 1 << 20;
/// Bytes of a cache line.
const LINE: usize = 64;
/// Multiplications below which a product stays on one thread.
const SERIAL: usize = 1 << 17;

/// Adds the products of `T` tokens with `S` registers of weight rows, from row `row` on, to `out`.
#[inline(always)]
#[allow(unsafe_code, clippy::needless_range_loop)]
fn tile<L: Dots, W: Stored, const T: usize, const S: usize>(
    of: &Projection<'_, W>,
    token: usize,
    row: usize,
) {
    let (n, rows) = (of.d_in, S * L::ROWS);
    let (x, w) = (&of.x[token * n..(token + T) * n], &of.weight[row * n..(row + rows) * n]);
    let mut sums = [[L::zero(); S]; T];
    let whole = n / 8 * 8;
    for k in (0..whole).step_by(8) {
        if token == 0 && k % (LINE / size_of::<W>()) == 0 {
            // Few tokens are bound by memory: the same place of the rows that come next.
            for r in 0..rows {
                prefetch(of.weight.as_ptr().wrapping_add((row + rows + r) * n + k));
            }
        }
        let (mut tokens, mut weights) = ([L::zero(); T], [L::zero(); S]);
        for t in 0..T {
            // SAFETY: T rows of n values, and k + 8 <= n.
            tokens[t] = L::token(unsafe { L::Eight::load(x.as_ptr().add(t * n + k)) });
        }
        for s in 0..S {
            // SAFETY: S * ROWS rows of n values, and k + 8 <= n.
            let one = |r| unsafe { W::load::<L::Eight>(w.as_ptr().add((s * L::ROWS + r) * n + k)) };
            weights[s] = L::weights(one);
        }
        // The fewer of the two stay in registers, the others come one at a time.
        if T > S {
            for t in 0..T {
                for s in 0..S {
                    sums[t][s] = sums[t][s].add_product(tokens[t], weights[s]);
                }
            }
        } else {
            for s in 0..S {
                for t in 0..T {
                    sums[t][s] = sums[t][s].add_product(tokens[t], weights[s]);
                }
            }
        }
    }
    for t in 0..T {
        for r in 0..rows {
            let mut sum = sums[t][r / L::ROWS].sum(r % L::ROWS);
            for k in whole..n {
                sum += x[t * n + k] * w[r * n + k].wide();
            }
            of.out.put((token + t) * of.d_out + row + r, sum);
        }
    }
}

/// `x W^T` for few tokens.
struct Projection<'a, W> {
    x: &'a [f32],
    weight: &'a [W],
    d_in: usize,
    d_out: usize,
    out: Shared,
}

impl<W: Stored> Projection<'_, W> {
    /// All tokens by `S` registers of weight rows, eight, four or two at a time. Sums, weights and tokens fill sixteen
    /// registers, or thirty-two where one holds two rows.
    #[inline(always)]
    fn strip<L: Dots, const S: usize>(&self, row: usize) {
        let tokens = self.x.len() / self.d_in;
        let mut token = 0;
        while L::ROWS == 2 && S <= 3 && token + 8 <= tokens {
            tile::<L, W, 8, S>(self, token, row);
            token += 8;
        }
        while L::ROWS == 2 && token + 4 <= tokens {
            tile::<L, W, 4, S>(self, token, row);
            token += 4;
        }
        while token + 2 <= tokens {
            tile::<L, W, 2, S>(self, token, row);
            token += 2;
        }
        if token < tokens {
            tile::<L, W, 1, S>(self, token, row);
        }
    }

    /// Columns of the result; `L` for several tokens, the eight lanes of it for one.
    #[inline(always)]
    fn columns<L: Dots>(&self, columns: Range<usize>) {
        let mut row = columns.start;
        if self.x.len() == self.d_in {
            while row + 8 <= columns.end {
                tile::<L::Eight, W, 1, 8>(self, 0, row);
                row += 8;
            }
        }
        // Eight tokens go over the weights once, and a strip of three registers stays in the first cache for the next.
        while L::ROWS == 2 && self.x.len() >= 8 * self.d_in && row + 3 * L::ROWS <= columns.end {
            self.strip::<L, 3>(row);
            row += 3 * L::ROWS;
        }
        while row + 6 * L::ROWS <= columns.end {
            self.strip::<L, 6>(row);
            row += 6 * L::ROWS;
        }
        for row in row..columns.end {
            self.strip::<L::Eight, 1>(row);
        }
    }

    /// [`columns`](Self::columns) in the best code that the processor has.
    #[allow(unsafe_code)]
    fn piece(&self, range: Range<usize>) {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx2,fma,f16c")]
        fn avx512<W: Stored>(of: &Projection<'_, W>, range: Range<usize>) {
            of.columns::<Avx512>(range);
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma,f16c")]
        fn avx2<W: Stored>(of: &Projection<'_, W>, range: Range<usize>) {
            of.columns::<Avx2>(range);
        }
        match Level::of_processor() {
            Level::Plain => self.columns::<Plain>(range),
            // SAFETY of both: the processor has the features of its level.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { avx2(self, range) },
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { avx512(self, range) },
        }
    }
}

fn few_of<W: Stored>(x: &[f32], weight: &[W], d_in: usize, out: &mut [f32]) {
    let d_out = weight.len() / d_in;
    let tokens = x.len() / d_in;
    assert!(x.len() == tokens * d_in && out.len() == tokens * d_out, "x [tokens, in], out [tokens, out]");
    let all = Projection { x, weight, d_in, d_out, out: Shared::new(out) };
    if x.len() * d_out <= SERIAL || rayon::current_num_threads() == 1 {
        return all.piece(0..d_out);
    }
    let pieces = (0..d_out.div_ceil(PIECE)).into_par_iter();
    pieces.for_each(|i| all.piece(i * PIECE..((i + 1) * PIECE).min(d_out)));
}

/// `x W^T` for few tokens: `x` `[tokens, in]`, `out` `[tokens, out]`.
pub(crate) fn few(x: &[f32], weight: Weights<'_>, d_in: usize, out: &mut [f32]) {
    match weight {
        Weights::F32(w) => few_of(x, w, d_in, out),
        Weights::Bf16(w) => few_of(x, w, d_in, out),
        Weights::F16(w) => few_of(x, w, d_in, out),
    }
}

/// `x W^T` for many tokens: `x` `[tokens, in]`, `out` `[tokens, out]`. The tokens are reordered and the weights
/// are not: a prompt has fewer values than a matrix.
pub(crate) fn many(x: &[f32], weight: Weights<'_>, d_in: usize, out: &mut [f32]) {
    match weight {
        Weights::F32(w) => product(x, w, d_in, out),
        Weights::Bf16(w) => product(x, w, d_in, out),
        Weights::F16(w) => product(x, w, d_in, out),
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
