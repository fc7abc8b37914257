//! What the machine can do at most, measured at the start of each call: products of numbers in registers, and numbers
//! from and to memory.
//!
//! Both limits are the best of many short rounds, because other processes on the machine only slow a round down. A
//! machine that is busy all along still shows too low a limit, and a figure beside it too high a share.
use pulp::{Arch, NullaryFnOnce, Simd, WithSimd};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

/// The time of the rounds of one limit.
const TIME: Duration = Duration::from_millis(60);

/// The links of each chain of multiply-adds in a round, which takes a millisecond or two.
const LINKS: usize = 1 << 18;

/// The bytes that a triad moves for a number, counted as the benchmark STREAM does: two reads and a write. Most
/// processors also read what they are about to write, so a benchmark that only reads may come to 4/3 of this limit.
const TRIAD_BYTES: usize = 3 * size_of::<f32>();

/// The size of each of a triad's arrays, if it is not known how large the last cache is.
const ARRAY_MIB: u64 = 64;

/// The limits of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Limits {
    /// The most operations in `f32`: multiply-adds of the kernels' vector instructions, two operations each. Not those
    /// of a matrix unit (AMX).
    pub(super) flops_per_s: Limit,
    /// The most bytes from and to memory: a triad, `a = b + 3 c`.
    pub(super) bytes_per_s: Limit,
    /// The size of each of the triad's three arrays.
    pub(super) array_mib: u64,
}

/// A limit of one thread, and of all threads of the pool together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Limit {
    pub(super) one_thread: f64,
    pub(super) all_threads: f64,
}

impl Limit {
    pub(super) fn of(&self, on_one_thread: bool) -> f64 {
        if on_one_thread { self.one_thread } else { self.all_threads }
    }
}

impl Limits {
    /// Measures the limits of the current thread, and of the pool that it belongs to.
    pub(super) fn measure() -> Self {
        Self::with_arrays(array_mib(last_cache_mib(), ra_core::available_mib()))
    }

    fn with_arrays(array_mib: u64) -> Self {
        let flops_per_s = Limit {
            one_thread: most(multiply_adds),
            all_threads: most(|| rayon::broadcast(|_| multiply_adds()).iter().sum()),
        };
        let mut triad = Triad::new((array_mib as usize) << 20);
        let bytes_per_s =
            Limit { one_thread: most(|| triad.on_one_thread()), all_threads: most(|| triad.on_all_threads()) };
        Self { flops_per_s, bytes_per_s, array_mib }
    }
}

/// Returns the most that a round does in a second. A round returns what it did.
fn most(mut round: impl FnMut() -> f64) -> f64 {
    let since = Instant::now();
    let mut timed = || {
        let started = Instant::now();
        let done = round();
        done / started.elapsed().as_secs_f64()
    };
    // The first round starts threads and touches memory.
    let mut best = timed().max(timed());
    while since.elapsed() < TIME {
        best = best.max(timed());
    }
    best
}

/// Runs chains of multiply-adds on numbers in registers, and returns the operations.
fn multiply_adds() -> f64 {
    Arch::new().dispatch(Chains)
}

/// Independent chains of multiply-adds, as many as registers hold beside two constants: that hides the latency of each.
struct Chains;

impl WithSimd for Chains {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f64 {
        if S::REGISTER_COUNT >= 32 { chains::<S, 24>(simd) } else { chains::<S, 12>(simd) }
    }
}

#[inline(always)]
fn chains<S: Simd, const CHAINS: usize>(simd: S) -> f64 {
    // x = 0.5 x + 0.5 tends to 1 from any start. The compiler cannot know the numbers.
    let [factor, term] = black_box([0.5f32; 2]).map(|x| simd.splat_f32s(x));
    let mut sums = black_box([2.0f32; CHAINS]).map(|x| simd.splat_f32s(x));
    for _ in 0..LINKS {
        for sum in &mut sums {
            *sum = simd.mul_add_f32s(*sum, factor, term);
        }
    }
    for sum in sums {
        black_box(simd.reduce_sum_f32s(sum));
    }
    (2 * LINKS * CHAINS * S::F32_LANES) as f64
}

/// Three arrays that no cache holds.
struct Triad {
    arrays: [Vec<f32>; 3],
}

impl Triad {
    /// Makes arrays of `bytes` each. The pool's threads write their parts first, so that each lies near one of them.
    fn new(bytes: usize) -> Self {
        let array = || {
            let mut array = vec![0.0f32; bytes / size_of::<f32>()];
            let share = share(array.len());
            array.par_chunks_mut(share).for_each(|part| part.fill(1.0));
            array
        };
        Self { arrays: [array(), array(), array()] }
    }

    fn bytes(&self) -> f64 {
        (self.arrays[0].len() * TRIAD_BYTES) as f64
    }

    fn on_one_thread(&mut self) -> f64 {
        let [a, b, c] = &mut self.arrays;
        Arch::new().dispatch(Part { a, b, c });
        self.bytes()
    }

    fn on_all_threads(&mut self) -> f64 {
        let [a, b, c] = &mut self.arrays;
        let share = share(a.len());
        let parts = a.par_chunks_mut(share).zip(b.par_chunks(share)).zip(c.par_chunks(share));
        parts.for_each(|((a, b), c)| Arch::new().dispatch(Part { a, b, c }));
        self.bytes()
    }
}

/// The part of each thread.
fn share(all: usize) -> usize {
    all.div_ceil(rayon::current_num_threads()).max(1)
}

/// A triad over a part of the arrays. It is not a closure because a closure's body would not be inlined.
struct Part<'a> {
    a: &'a mut [f32],
    b: &'a [f32],
    c: &'a [f32],
}

impl NullaryFnOnce for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for ((a, b), c) in self.a.iter_mut().zip(self.b).zip(self.c) {
            *a = b + 3.0 * c;
        }
        black_box(self.a);
    }
}

/// Returns the size of an array: that of the last cache within bounds, so that three of them exceed it far, and a
/// twelfth of the free memory at most.
fn array_mib(last_cache: Option<u64>, available: Option<u64>) -> u64 {
    let wanted = last_cache.unwrap_or(ARRAY_MIB).clamp(32, 256);
    wanted.min(available.unwrap_or(u64::MAX) / 12).max(1)
}

/// Returns the size of the largest cache of the first processor, on Linux.
fn last_cache_mib() -> Option<u64> {
    let caches = Path::new("/sys/devices/system/cpu/cpu0/cache").read_dir().ok()?;
    let size = |entry: std::io::Result<std::fs::DirEntry>| {
        mib(&std::fs::read_to_string(entry.ok()?.path().join("size")).ok()?)
    };
    caches.filter_map(size).max()
}

/// Reads a size such as `266240K`, in MiB and rounded up.
fn mib(size: &str) -> Option<u64> {
    Some(size.trim().strip_suffix('K')?.parse::<u64>().ok()?.div_ceil(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_positive_and_finite() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let (flops, mut triad) = (pool.install(multiply_adds), pool.install(|| Triad::new(1000)));
        assert!(flops > 0.0 && (flops / (24 * LINKS) as f64).fract() == 0.0, "whole chains: {flops}");
        for run in [Triad::on_one_thread, Triad::on_all_threads] {
            triad.arrays[0].fill(0.0);
            assert_eq!(pool.install(|| run(&mut triad)), 3000.0);
            assert!(triad.arrays[0].iter().all(|x| *x == 4.0), "1 + 3 * 1, everywhere");
        }
        let Limits { flops_per_s, bytes_per_s, array_mib } = pool.install(|| Limits::with_arrays(1));
        for limit in [flops_per_s, bytes_per_s] {
            assert!([limit.one_thread, limit.all_threads].iter().all(|x| x.is_finite() && *x > 0.0), "{limit:?}");
        }
        assert_eq!(array_mib, 1);
    }

    #[test]
    fn arrays_exceed_the_last_cache_and_fit_into_memory() {
        assert_eq!(array_mib(Some(260), Some(1 << 20)), 256);
        assert_eq!(array_mib(Some(96), None), 96);
        assert_eq!(array_mib(Some(2), None), 32);
        assert_eq!(array_mib(None, Some(120)), 10);
        assert_eq!(array_mib(None, Some(0)), 1);
        assert_eq!([mib("266240K\n"), mib("48K"), mib("much")], [Some(260), Some(1), None]);
    }
}
