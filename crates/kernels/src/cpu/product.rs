//! Blocked products of matrices, `out[i, j] = sum over k of a[i, k] b[j, k]`.
//!
//! `a` is laid out once in panels of sixteen rows, whose sums stay in registers; `b` is read where it lies, in small
//! blocks that are widened to f32 on the way, and its values are broadcast. Each sum runs over `k` in order, one fused
//! multiply-add after another, so neither the number of threads nor what else is in the product changes a bit.

use std::ops::Range;

use half::{bf16, f16};
use rayon::prelude::*;

#[cfg(target_arch = "x86_64")]
use super::lanes::{Avx2, Avx512};
use super::lanes::{Level, Plain, Vector, prefetch};

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

/// A matrix `[n, depth]` in row-major order, or the transpose of one that is stored `[depth, n]`.
#[derive(Clone, Copy)]
pub(crate) struct Operand<'a, W> {
    values: &'a [W],
    n: usize,
    depth: usize,
    transposed: bool,
}

impl<'a, W: Copy> Operand<'a, W> {
    /// Rows of `depth` values.
    pub(crate) fn rows(values: &'a [W], depth: usize) -> Self {
        let n = values.len() / depth;
        assert!(n * depth == values.len(), "whole rows");
        Self { values, n, depth, transposed: false }
    }

    /// Columns of a matrix that is stored in rows of `n` values.
    pub(crate) fn columns(values: &'a [W], n: usize) -> Self {
        let depth = values.len() / n;
        assert!(n * depth == values.len(), "whole rows");
        Self { values, n, depth, transposed: true }
    }

    #[inline(always)]
    fn at(&self, i: usize, k: usize) -> usize {
        if self.transposed { k * self.n + i } else { i * self.depth + k }
    }
}

/// A result `[a.n, b.n]` in row-major order, or `[b.n, a.n]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    RowsOfA,
    RowsOfB,
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
}

/// Rows of `a` in a panel.
const PANEL: usize = 16;
/// Terms that are summed at a time: a panel of them stays in the first cache.
const DEPTH: usize = 512;
/// From one row of a block to the next: rows DEPTH apart would share the lines of the first cache.
const STRIDE: usize = DEPTH + 16;
/// The most rows of `b` in one piece of work: a block of them stays in the second cache.
const PIECE: usize = 96;
/// Values of `a` that are multiplied at a time: they stay in a shared cache.
const SPAN: usize = 5 << 18;
/// The most rows of `a` that are: their sums stay in the second cache.
const ROWS: usize = 1024;
/// Multiplications below which a product stays on one thread.
const SERIAL: usize = 1 << 18;
/// Values below which panels are laid out by one thread.
const SERIAL_PANELS: usize = 1 << 15;
/// Terms that a panel is transposed by: lines that are written to stay in the first cache.
const TERMS: usize = 64;

/// Rows `rows` of `a` in panels, `[panels][depth][PANEL]`, zeros behind the last row.
fn panels(a: Operand<'_, f32>, rows: Range<usize>) -> Vec<f32> {
    let width = PANEL * a.depth;
    let mut out = vec![0.0; rows.len().div_ceil(PANEL) * width];
    let fill = |(p, panel): (usize, &mut [f32])| {
        let first = rows.start + p * PANEL;
        let n = PANEL.min(rows.end - first);
        if a.transposed {
            for (k, to) in panel.chunks_exact_mut(PANEL).enumerate() {
                to[..n].copy_from_slice(&a.values[a.at(first, k)..][..n]);
            }
            return;
        }
        for k in (0..a.depth).step_by(TERMS) {
            let to = &mut panel[k * PANEL..(k + TERMS).min(a.depth) * PANEL];
            for i in 0..n {
                let from = &a.values[a.at(first + i, k)..][..to.len() / PANEL];
                for (to, &x) in to.chunks_exact_mut(PANEL).zip(from) {
                    to[i] = x;
                }
            }
        }
    };
    if out.len() <= SERIAL_PANELS || rayon::current_num_threads() == 1 {
        out.chunks_exact_mut(width).enumerate().for_each(fill);
    } else {
        out.par_chunks_exact_mut(width).enumerate().for_each(fill);
    }
    out
}

/// Adds the products of `S` rows of a block with one panel to `sums`, `S` rows of sixteen. `ROW` and `TERM` are from
/// one row of the block to the next and from one term to the next.
#[inline(always)]
#[allow(unsafe_code, clippy::needless_range_loop)]
fn tile<V: Vector, const H: usize, const S: usize, const ROW: usize, const TERM: usize>(
    panel: &[f32],
    block: &[f32],
    sums: &mut [f32],
) {
    let depth = panel.len() / PANEL;
    assert!(H * V::N == PANEL && sums.len() >= S * PANEL);
    assert!(block.len() > (S - 1) * ROW + (depth - 1) * TERM);
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
            // SAFETY: s is below S and k below depth; the last of both is within the block, as asserted.
            let b = V::splat(unsafe { *block.get_unchecked(s * ROW + k * TERM) });
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
    /// `[row][STRIDE]`, or `[term][PIECE]` where `b` is transposed.
    block: Vec<f32>,
    /// `[panel][row][PANEL]`.
    sums: Vec<f32>,
}

/// Rows `rows` of `a`, in [`panels`], by all of `b`.
struct Task<'a, W> {
    panels: &'a [f32],
    rows: Range<usize>,
    b: Operand<'a, W>,
    out: Shared,
    order: Order,
    /// Of the whole result.
    width: usize,
}

impl<W: Stored> Task<'_, W> {
    /// Puts terms `terms` of rows `rows` of `b` into a block.
    #[inline(always)]
    fn fill(&self, block: &mut [f32], rows: &Range<usize>, terms: &Range<usize>) {
        let copy = |to: &mut [f32], at: usize| {
            for (to, &b) in to.iter_mut().zip(&self.b.values[at..]) {
                *to = b.wide();
            }
        };
        if self.b.transposed {
            for (k, to) in terms.clone().zip(block.chunks_exact_mut(PIECE)) {
                copy(&mut to[..rows.len()], self.b.at(rows.start, k));
            }
        } else {
            for (j, to) in rows.clone().zip(block.chunks_exact_mut(STRIDE)) {
                copy(&mut to[..terms.len()], self.b.at(j, terms.start));
            }
        }
    }

    /// Asks for a share of the block after this one: `at` of `of` equal parts.
    #[inline(always)]
    fn ask(&self, rows: &Range<usize>, terms: &Range<usize>, [at, of]: [usize; 2]) {
        let per_line = 64 / size_of::<W>();
        // The next terms of these rows, or the first ones of the next.
        let (row, term) = if terms.end < self.b.depth { (rows.start, terms.end) } else { (rows.end, 0) };
        let share = |n: usize| at * n / of..(at + 1) * n / of;
        let line = |row: usize, term: usize| prefetch(self.b.values.as_ptr().wrapping_add(self.b.at(row, term)));
        let lines = |n: usize| n.div_ceil(per_line);
        if self.b.transposed {
            for k in share(DEPTH) {
                (0..lines(rows.len())).for_each(|l| line(row + l * per_line, term + k));
            }
        } else {
            for i in share(rows.len() * lines(DEPTH)) {
                line(row + i / lines(DEPTH), term + i % lines(DEPTH) * per_line);
            }
        }
    }

    /// Columns `rows` of the result, those of rows `rows` of `b`: tiles of `H` vectors by `S` rows.
    #[inline(always)]
    fn piece<V: Vector, const H: usize, const S: usize>(&self, rows: Range<usize>, room: &mut Room) {
        let (n, n_panels) = (rows.len().next_multiple_of(S), self.rows.len().div_ceil(PANEL));
        let tiles = n / S * n_panels;
        room.block.resize(if self.b.transposed { DEPTH * PIECE } else { PIECE * STRIDE }, 0.0);
        room.sums.clear();
        room.sums.resize(n_panels * n * PANEL, 0.0);
        for k in (0..self.b.depth).step_by(DEPTH) {
            let terms = k..(k + DEPTH).min(self.b.depth);
            self.fill(&mut room.block, &rows, &terms);
            let panels = self.panels.chunks_exact(PANEL * self.b.depth);
            for (p, (panel, sums)) in panels.zip(room.sums.chunks_exact_mut(n * PANEL)).enumerate() {
                let panel = &panel[k * PANEL..terms.end * PANEL];
                for (s, sums) in sums.chunks_exact_mut(S * PANEL).enumerate() {
                    self.ask(&rows, &terms, [p * (n / S) + s, tiles]);
                    if self.b.transposed {
                        tile::<V, H, S, 1, PIECE>(panel, &room.block[s * S..], sums);
                    } else {
                        tile::<V, H, S, STRIDE, 1>(panel, &room.block[s * S * STRIDE..], sums);
                    }
                }
            }
        }
        for (p, sums) in room.sums.chunks_exact(n * PANEL).enumerate() {
            let first = self.rows.start + p * PANEL;
            let lanes = PANEL.min(self.rows.end - first);
            match self.order {
                Order::RowsOfA => {
                    for l in 0..lanes {
                        for (r, sums) in sums.chunks_exact(PANEL).take(rows.len()).enumerate() {
                            self.out.put((first + l) * self.width + rows.start + r, sums[l]);
                        }
                    }
                }
                Order::RowsOfB => {
                    for (r, sums) in sums.chunks_exact(PANEL).take(rows.len()).enumerate() {
                        for (l, &sum) in sums[..lanes].iter().enumerate() {
                            self.out.put((rows.start + r) * self.width + first + l, sum);
                        }
                    }
                }
            }
        }
    }

    /// [`piece`](Self::piece) in the code of `level`, which the processor has.
    #[allow(unsafe_code)]
    fn run(&self, level: Level, rows: Range<usize>, room: &mut Room) {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx2,fma,f16c")]
        fn avx512<W: Stored>(task: &Task<'_, W>, rows: Range<usize>, room: &mut Room) {
            task.piece::<Avx512, 1, 8>(rows, room);
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma,f16c")]
        fn avx2<W: Stored>(task: &Task<'_, W>, rows: Range<usize>, room: &mut Room) {
            task.piece::<Avx2, 2, 6>(rows, room);
        }
        match level {
            Level::Plain => self.piece::<Plain, 2, 6>(rows, room),
            // SAFETY of both: the processor has the features of its level.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { avx2(self, rows, room) },
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { avx512(self, rows, room) },
        }
    }
}

/// The product of `a` and `b` into all of `out`.
pub(crate) fn product<W: Stored>(a: Operand<'_, f32>, b: Operand<'_, W>, order: Order, out: &mut [f32]) {
    product_at(Level::of_processor(), a, b, (order, out));
}

fn product_at<W: Stored>(
    level: Level,
    a: Operand<'_, f32>,
    b: Operand<'_, W>,
    (order, out): (Order, &mut [f32]),
) {
    assert!(a.depth == b.depth && out.len() == a.n * b.n, "[n, depth] by [m, depth] into [n, m]");
    if a.depth == 0 {
        return out.fill(0.0);
    }
    let width = if order == Order::RowsOfA { b.n } else { a.n };
    let (out, threads) = (Shared::new(out), rayon::current_num_threads());
    let span = (SPAN / a.depth / PANEL * PANEL).clamp(8 * PANEL, ROWS);
    for first in (0..a.n).step_by(span) {
        let rows = first..(first + span).min(a.n);
        let panels = panels(a, rows.clone());
        let serial = rows.len() * b.n * b.depth <= SERIAL || threads == 1;
        let share = if serial { PIECE } else { b.n.div_ceil(4 * threads) };
        // Whole tiles of six and of eight rows.
        let piece = share.next_multiple_of(24).min(PIECE);
        let task = Task { panels: &panels, rows, b, out, order, width };
        let run = |room: &mut Room, i: usize| task.run(level, i * piece..((i + 1) * piece).min(b.n), room);
        if serial {
            let mut room = Room::default();
            (0..b.n.div_ceil(piece)).for_each(|i| run(&mut room, i));
        } else {
            (0..b.n.div_ceil(piece)).into_par_iter().for_each_init(Room::default, run);
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

    /// `[n, depth]` in the order of an operand.
    fn operand(values: &[f32], n: usize, transposed: bool) -> Operand<'_, f32> {
        if transposed { Operand::columns(values, n) } else { Operand::rows(values, values.len() / n) }
    }

    #[test]
    fn every_level_and_order_is_the_sum_of_the_terms() {
        let levels = match Level::of_processor() {
            Level::Plain => vec![Level::Plain],
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => vec![Level::Plain, Level::Avx2],
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => vec![Level::Plain, Level::Avx2, Level::Avx512],
        };
        for (n, m, depth) in [(1, 1, 1), (17, 5, 3), (33, 97, 513), (130, 29, 65), (16, 200, 1100)] {
            for (ta, tb) in [(false, false), (false, true), (true, false), (true, true)] {
                let (x, y) = (values(n * depth, 1), values(m * depth, 2));
                let (a, b) = (operand(&x, n, ta), operand(&y, m, tb));
                let mut first: Option<Vec<f32>> = None;
                for &level in &levels {
                    for order in [Order::RowsOfA, Order::RowsOfB] {
                        let mut out = vec![f32::NAN; n * m];
                        product_at(level, a, b, (order, &mut out));
                        let at = |i: usize, j: usize| match order {
                            Order::RowsOfA => out[i * m + j],
                            Order::RowsOfB => out[j * n + i],
                        };
                        for (i, j) in (0..n).flat_map(|i| (0..m).map(move |j| (i, j))) {
                            let terms = (0..depth).map(|k| (f64::from(x[a.at(i, k)]), f64::from(y[b.at(j, k)])));
                            let sum: f64 = terms.clone().map(|(x, y)| x * y).sum();
                            let size: f64 = terms.map(|(x, y)| (x * y).abs()).sum();
                            // One rounding a term, each below half a last place of the sum of sizes.
                            let bound = size * f64::from(f32::EPSILON) * (depth as f64 + 1.0);
                            assert!((f64::from(at(i, j)) - sum).abs() <= bound, "{level:?} {order:?} {i} {j}");
                        }
                        // Fused levels and both orders have the same bits.
                        if level != Level::Plain {
                            let all: Vec<f32> = (0..n * m).map(|at_| at(at_ / m, at_ % m)).collect();
                            assert_eq!(first.get_or_insert_with(|| all.clone()), &all, "{level:?} {order:?}");
                        }
                    }
                }
            }
        }
    }
}
