//! Blocked products `x W^T` of many tokens.
//!
//! The tokens are laid out once in panels of sixteen, whose sums stay in registers; the weights are read where they lie,
//! in small blocks that are widened to f32 on the way, and their values are broadcast. Each sum runs over the inputs in
//! order, one fused multiply-add after another, so neither the number of threads nor that of tokens changes a bit.

use std::ops::Range;

use half::{bf16, f16};
use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
use super::lanes::{Avx2, Avx512};
use super::lanes::{Lanes, Level, Plain, Vector, prefetch};

/// The stored form of a weight.
pub(crate) trait Stored: Copy + Sync {
    fn wide(self) -> f32;
}

macro_rules! stored {
    ($($type:ty),*) => {$(
        impl Stored for $type {
            #[inline(always)]
            fn wide(self) -> f32 {
                f32::from(self)
            }
        }
    )*};
}
stored!(f32, f16);

impl Stored for bf16 {
    // `f32::from` looks for NaN, which costs the loop its vectors.
    #[inline(always)]
    fn wide(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}

/// A pointer through which pieces of work write disjoint parts of a result.
#[derive(Clone, Copy)]
pub(crate) struct Shared {
    pub(crate) out: *mut f32,
    pub(crate) len: usize,
}

// SAFETY: every piece of work writes values of its own.
#[allow(unsafe_code)]
unsafe impl Send for Shared {}
#[allow(unsafe_code)]
unsafe impl Sync for Shared {}

impl Shared {
    pub(crate) fn new(out: &mut [f32]) -> Self {
        Self { out: out.as_mut_ptr(), len: out.len() }
    }

    #[inline(always)]
    #[allow(unsafe_code)]
    pub(crate) fn put(self, at: usize, value: f32) {
        debug_assert!(at < self.len);
        // SAFETY: `at` is row * width + column, both in range, and the value is this piece's own.
        unsafe { *self.out.add(at) = value }
    }

    /// Writes up to eight columns of `sums`, rows of [`PANEL`], as `lanes` rows `width` apart.
    #[inline(always)]
    #[allow(unsafe_code)]
    fn transposed<L: Lanes>(self, sums: &[f32], at: usize, [width, lanes]: [usize; 2]) {
        let n = sums.len() / PANEL;
        assert!(at + (lanes - 1) * width + n <= self.len);
        if n < 8 || lanes < PANEL {
            for l in 0..lanes {
                (0..n).for_each(|r| self.put(at + l * width + r, sums[r * PANEL + l]));
            }
            return;
        }
        for half in [0, 8] {
            let mut rows = [L::zero(); 8];
            for (r, row) in rows.iter_mut().enumerate() {
                // SAFETY: eight rows of sixteen values.
                *row = unsafe { L::load(sums.as_ptr().add(r * PANEL + half)) };
            }
            for (l, row) in L::transposed(rows).into_iter().enumerate() {
                // SAFETY: eight columns are in range, as asserted, and are this piece's own.
                unsafe { row.store(self.out.add(at + (half + l) * width)) };
            }
        }
    }
}

/// Tokens of a panel.
const PANEL: usize = 16;
/// Inputs that are summed at a time: a panel of them stays in the first cache. Half of 896.
const DEPTH: usize = 448;
/// From one row of a block to the next: rows a power of two apart would share the lines of the first cache.
const STRIDE: usize = DEPTH + 16;
/// The most rows of weights in one piece of work: a block of them stays in the second cache.
const PIECE: usize = 96;
/// Values of `x` that are multiplied at a time: they stay in a shared cache.
const SPAN: usize = 5 << 18;
/// The most tokens that are: their sums stay in the second cache.
const TOKENS: usize = 1024;
/// Multiplications below which a product stays on one thread.
const SERIAL: usize = 1 << 18;
/// Values below which panels are laid out by one thread.
const SERIAL_PANELS: usize = 1 << 15;
/// Inputs that a panel is transposed by: lines that are written to stay in the first cache.
const TERMS: usize = 64;

/// `x` in panels of tokens, `[panels][in][PANEL]`, zeros behind the last token.
fn panels(x: &[f32], d_in: usize) -> Vec<f32> {
    let tokens = x.len() / d_in;
    let mut out = vec![0.0; tokens.div_ceil(PANEL) * PANEL * d_in];
    let fill = |(panel, rows): (&mut [f32], &[f32])| {
        for (k, to) in (0..d_in).step_by(TERMS).zip(panel.chunks_mut(TERMS * PANEL)) {
            for (t, row) in rows.chunks_exact(d_in).enumerate() {
                for (to, &x) in to.chunks_exact_mut(PANEL).zip(&row[k..]) {
                    to[t] = x;
                }
            }
        }
    };
    let width = PANEL * d_in;
    if out.len() <= SERIAL_PANELS || rayon::current_num_threads() == 1 {
        out.chunks_exact_mut(width).zip(x.chunks(width)).for_each(fill);
    } else {
        out.par_chunks_exact_mut(width).zip(x.par_chunks(width)).for_each(fill);
    }
    out
}

/// Adds the products of `S` rows of a block with one panel to `sums`, `S` rows of sixteen.
#[inline(always)]
#[allow(unsafe_code, clippy::needless_range_loop)]
fn tile<V: Vector, const H: usize, const S: usize>(panel: &[f32], block: &[f32], sums: &mut [f32]) {
    let depth = panel.len() / PANEL;
    assert!(H * V::N == PANEL && sums.len() >= S * PANEL);
    assert!(depth <= STRIDE && block.len() >= S * STRIDE);
    let mut acc = [[V::zero(); H]; S];
    for s in 0..S {
        for h in 0..H {
            // SAFETY: sixteen values for each s below S, as asserted.
            acc[s][h] = unsafe { V::load(sums.as_ptr().add(s * PANEL + h * V::N)) };
        }
    }
    for k in 0..depth {
        let mut x = [V::zero(); H];
        for h in 0..H {
            // SAFETY: the panel has sixteen values for each k below `depth`.
            x[h] = unsafe { V::load(panel.as_ptr().add(k * PANEL + h * V::N)) };
        }
        for s in 0..S {
            // SAFETY: s is below S and k below depth; both are within the block, as asserted.
            let b = V::splat(unsafe { *block.get_unchecked(s * STRIDE + k) });
            for h in 0..H {
                acc[s][h] = acc[s][h].add_product(x[h], b);
            }
        }
    }
    for s in 0..S {
        for h in 0..H {
            // SAFETY: as where they were loaded.
            unsafe { acc[s][h].store(sums.as_mut_ptr().add(s * PANEL + h * V::N)) };
        }
    }
}

/// Memory of a piece of work, kept for the next.
#[derive(Default)]
struct Room {
    /// `[row][STRIDE]`.
    block: Vec<f32>,
    /// `[panel][row][PANEL]`.
    sums: Vec<f32>,
}

/// Some tokens by a matrix of weights.
struct Task<'a, W> {
    /// In [`panels`].
    x: &'a [f32],
    weight: &'a [W],
    tokens: usize,
    d_in: usize,
    d_out: usize,
    out: Shared,
}

impl<W: Stored> Task<'_, W> {
    /// Asks for a share, `at` of `of` equal parts, of the block after inputs `k` on of rows `rows`: the next inputs, or
    /// the first ones of the next rows.
    #[inline(always)]
    fn ask(&self, rows: &Range<usize>, k: usize, [at, of]: [usize; 2]) {
        let per_line = 64 / size_of::<W>();
        let (row, k) = if k + DEPTH < self.d_in { (rows.start, k + DEPTH) } else { (rows.end, 0) };
        let (lines, first) = (DEPTH / per_line, row * self.d_in + k);
        let n = rows.len() * lines;
        for i in at * n / of..(at + 1) * n / of {
            let at = first + i / lines * self.d_in + i % lines * per_line;
            prefetch(self.weight.as_ptr().wrapping_add(at));
        }
    }

    /// Columns `rows` of the result: tiles of `H` vectors by `S` rows.
    #[inline(always)]
    fn piece<V: Vector, L: Lanes, const H: usize, const S: usize>(
        &self,
        rows: Range<usize>,
        room: &mut Room,
    ) {
        let (n, n_panels) = (rows.len().next_multiple_of(S), self.tokens.div_ceil(PANEL));
        room.block.resize(PIECE * STRIDE, 0.0);
        room.sums.clear();
        room.sums.resize(n_panels * n * PANEL, 0.0);
        for k in (0..self.d_in).step_by(DEPTH) {
            let end = (k + DEPTH).min(self.d_in);
            for (row, to) in rows.clone().zip(room.block.chunks_exact_mut(STRIDE)) {
                for (to, &w) in to.iter_mut().zip(&self.weight[row * self.d_in + k..row * self.d_in + end]) {
                    *to = w.wide();
                }
            }
            let panels = self.x.chunks_exact(PANEL * self.d_in);
            for (p, (panel, sums)) in panels.zip(room.sums.chunks_exact_mut(n * PANEL)).enumerate() {
                let panel = &panel[k * PANEL..end * PANEL];
                let tiles = room.block.chunks_exact(S * STRIDE).zip(sums.chunks_exact_mut(S * PANEL));
                for (s, (block, sums)) in tiles.enumerate() {
                    self.ask(&rows, k, [p * (n / S) + s, n_panels * (n / S)]);
                    tile::<V, H, S>(panel, block, sums);
                }
            }
        }
        for (p, sums) in room.sums.chunks_exact(n * PANEL).enumerate() {
            let token = p * PANEL;
            let lanes = PANEL.min(self.tokens - token);
            for (eight, sums) in sums[..rows.len() * PANEL].chunks(8 * PANEL).enumerate() {
                let to = token * self.d_out + rows.start + 8 * eight;
                self.out.transposed::<L>(sums, to, [self.d_out, lanes]);
            }
        }
    }

    /// [`piece`](Self::piece) in the code of `level`, which the processor has.
    #[allow(unsafe_code)]
    fn run(&self, level: Level, rows: Range<usize>, room: &mut Room) {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx2,fma,f16c")]
        fn avx512<W: Stored>(task: &Task<'_, W>, rows: Range<usize>, room: &mut Room) {
            task.piece::<Avx512, Avx2, 1, 8>(rows, room);
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma,f16c")]
        fn avx2<W: Stored>(task: &Task<'_, W>, rows: Range<usize>, room: &mut Room) {
            task.piece::<Avx2, Avx2, 2, 6>(rows, room);
        }
        match level {
            Level::Plain => self.piece::<Plain, Plain, 2, 6>(rows, room),
            // SAFETY of both: the processor has the features of its level.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { avx2(self, rows, room) },
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { avx512(self, rows, room) },
        }
    }
}

/// `x W^T`: `x` `[tokens, in]`, `weight` `[out, in]`, `out` `[tokens, out]`.
pub(crate) fn product<W: Stored>(x: &[f32], weight: &[W], d_in: usize, out: &mut [f32]) {
    product_at(Level::of_processor(), x, weight, (d_in, out));
}

fn product_at<W: Stored>(level: Level, x: &[f32], weight: &[W], (d_in, out): (usize, &mut [f32])) {
    let (tokens, d_out, threads) = (x.len() / d_in, weight.len() / d_in, rayon::current_num_threads());
    assert!(x.len() == tokens * d_in && out.len() == tokens * d_out, "x [tokens, in], out [tokens, out]");
    let serial = x.len() * d_out <= SERIAL || threads == 1;
    let most = (SPAN / d_in).clamp(8 * PANEL, TOKENS);
    let span = tokens.div_ceil(tokens.div_ceil(most).max(1)).next_multiple_of(PANEL).max(PANEL);
    let share = if serial { PIECE } else { d_out.div_ceil(4 * threads) };
    // Whole tiles of six and of eight rows.
    let piece = share.next_multiple_of(24).min(PIECE);
    for (x, out) in x.chunks(span * d_in).zip(out.chunks_mut(span * d_out)) {
        let (tokens, x, out) = (x.len() / d_in, &panels(x, d_in)[..], Shared::new(out));
        let task = Task { x, weight, tokens, d_in, d_out, out };
        let run = |room: &mut Room, i: usize| task.run(level, i * piece..((i + 1) * piece).min(d_out), room);
        if serial {
            let mut room = Room::default();
            (0..d_out.div_ceil(piece)).for_each(|i| run(&mut room, i));
        } else {
            (0..d_out.div_ceil(piece)).into_par_iter().for_each_init(Room::default, run);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(n: usize, seed: u64) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
        };
        (0..n).map(|_| next()).collect()
    }

    #[test]
    fn every_level_sums_the_terms_and_the_fused_ones_to_the_same_bits() {
        let levels = match Level::of_processor() {
            Level::Plain => vec![Level::Plain],
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => vec![Level::Plain, Level::Avx2],
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => vec![Level::Plain, Level::Avx2, Level::Avx512],
        };
        for [tokens, d_out, d_in] in [[1, 1, 1], [17, 5, 3], [33, 97, 449], [130, 29, 65], [1100, 30, 1300]] {
            let (x, w) = (values(tokens * d_in, 1), values(d_out * d_in, 2));
            let mut fused: Option<Vec<f32>> = None;
            for &level in &levels {
                let mut out = vec![f32::NAN; tokens * d_out];
                product_at(level, &x, &w, (d_in, &mut out));
                for (at, &found) in out.iter().enumerate() {
                    let (x, w) = (&x[at / d_out * d_in..][..d_in], &w[at % d_out * d_in..][..d_in]);
                    let terms = || x.iter().zip(w).map(|(&x, &w)| f64::from(x) * f64::from(w));
                    let (sum, size): (f64, f64) = (terms().sum(), terms().map(f64::abs).sum());
                    // Two roundings a term, each at most half a last place of the sum of sizes.
                    let bound = size * f64::from(f32::EPSILON) * (d_in as f64 + 1.0);
                    assert!((f64::from(found) - sum).abs() <= bound, "{level:?} at {at}: {found} {sum}");
                }
                if level != Level::Plain {
                    assert!(fused.get_or_insert_with(|| out.clone()) == &out, "{level:?}");
                }
            }
        }
    }
}
