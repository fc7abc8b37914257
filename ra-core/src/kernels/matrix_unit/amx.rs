//! The AMX instructions. Rust has no stable intrinsics for them yet.
#![allow(unsafe_code)]

use super::{Accumulators, GROUP, Line, Pair, SplitTiles, Sums, TILE, UNIT_COLUMNS, UNIT_ROWS};
use std::arch::{asm, x86_64::__cpuid_count};
use std::sync::LazyLock;

/// A matrix unit that exists and that the system lets this process use.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernels) struct Amx(());

/// Rows and bytes of each tile register.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    none: [u8; 15],
    bytes: [u16; 16],
    rows: [u8; 16],
}

static SHAPES: Shapes = {
    let (mut bytes, mut rows) = ([0; 16], [0; 16]);
    let mut register = 0;
    while register < 8 {
        (bytes[register], rows[register]) = (64, TILE as u8);
        register += 1;
    }
    Shapes { palette: 1, none: [0; 15], bytes, rows }
};

impl Amx {
    /// The unit of this processor; queried once.
    pub(super) fn find() -> Option<Self> {
        static ALLOWED: LazyLock<bool> = LazyLock::new(|| {
            const TILES_OF_BF16: u32 = 1 << 24 | 1 << 22;
            // ARCH_REQ_XCOMP_PERM for XFEATURE_XTILEDATA: the system saves these 8 KiB of registers only for processes
            // that request it. It grants the request only if the registers are enabled, so no further check of the
            // processor is needed.
            const REQUEST: libc::c_long = 0x1023;
            const TILE_REGISTERS: libc::c_long = 18;
            __cpuid_count(0, 0).eax >= 7
                && __cpuid_count(7, 0).edx & TILES_OF_BF16 == TILES_OF_BF16
                // SAFETY: the call does not access our memory.
                && unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST, TILE_REGISTERS) } == 0
        });
        ALLOWED.then_some(Self(()))
    }

    /// Multiplies a pair of row tiles with pairs of column tiles, all of the same depth.
    pub(super) fn multiply(self, rows: &[SplitTiles], columns: &[SplitTiles], sums: &mut [Accumulators]) {
        let deep = rows.len();
        assert!(deep > 0 && columns.len() == deep * sums.len());
        // SAFETY: an `Amx` only exists if the instructions are available. No tile register is in use outside of this
        // function, which configures them first and releases them at the end, and the compiler never uses any in
        // between.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const SHAPES, options(nostack)) };
        for (columns, sums) in columns.chunks_exact(deep).zip(sums) {
            // SAFETY: reads `deep` cuts of `rows` and of `columns`, which have that many and at least one, and writes
            // the four tiles of `sums`. The order of the parts loads the fewest tiles.
            unsafe {
                asm!(
                    "tilezero tmm0",
                    "tilezero tmm1",
                    "tilezero tmm2",
                    "tilezero tmm3",
                    "2:",
                    "tileloadd tmm4, [{a} + {line}]",
                    "tileloadd tmm6, [{b} + {line} + 2048]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tileloadd tmm7, [{b} + {line} + 5120]",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "tileloadd tmm5, [{a} + {line} + 3072]",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    "tdpbf16ps tmm3, tmm5, tmm7",
                    "tileloadd tmm6, [{b} + {line} + 1024]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tileloadd tmm7, [{b} + {line} + 4096]",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    "tdpbf16ps tmm3, tmm5, tmm7",
                    "tileloadd tmm4, [{a} + {line} + 1024]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "tileloadd tmm5, [{a} + {line} + 4096]",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    "tdpbf16ps tmm3, tmm5, tmm7",
                    "tileloadd tmm6, [{b} + {line}]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tileloadd tmm7, [{b} + {line} + 3072]",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    "tdpbf16ps tmm3, tmm5, tmm7",
                    "tileloadd tmm4, [{a} + {line}]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "tileloadd tmm5, [{a} + {line} + 3072]",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    "tdpbf16ps tmm3, tmm5, tmm7",
                    "tileloadd tmm4, [{a} + {line} + 2048]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "tileloadd tmm5, [{a} + {line} + 5120]",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    "tdpbf16ps tmm3, tmm5, tmm7",
                    "add {a}, 6144",
                    "add {b}, 6144",
                    "dec {deep}",
                    "jnz 2b",
                    "tilestored [{sums} + {line}], tmm0",
                    "tilestored [{sums} + {line} + 1024], tmm1",
                    "tilestored [{sums} + {line} + 2048], tmm2",
                    "tilestored [{sums} + {line} + 3072], tmm3",
                    a = inout(reg) rows.as_ptr() => _,
                    b = inout(reg) columns.as_ptr() => _,
                    deep = inout(reg) deep => _,
                    line = in(reg) size_of::<[u32; TILE]>(),
                    sums = in(reg) sums,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
        // SAFETY: as for the configuration above: the content of the registers has been stored.
        unsafe { asm!("tilerelease", options(nostack)) };
    }

    /// Adds the products of rows of pairs, each at a `distance` from the last, with whole tiles of lines.
    pub(super) fn multiply_pairs(self, pairs: &[Pair], distance: usize, lines: &[Line], sums: &mut [Sums]) {
        let deep = lines.len() / TILE;
        assert!(deep > 0 && lines.len().is_multiple_of(TILE) && lines.len() <= distance);
        assert!(sums.len().is_multiple_of(UNIT_ROWS));
        // SAFETY: as in `multiply`.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const SHAPES, options(nostack)) };
        // One pair of panels after another: its lines stay in the cache while the rows stream past.
        for column in (0..GROUP).step_by(UNIT_COLUMNS) {
            for (index, sums) in sums.chunks_exact_mut(UNIT_ROWS).enumerate() {
                let rows = &pairs[index * UNIT_ROWS * distance..][..(UNIT_ROWS - 1) * distance + lines.len()];
                // SAFETY: reads the first `16 * deep` pairs of each of 32 rows, the last of which ends with `rows`; 32
                // columns from `column` on of `16 * deep` lines; and reads and writes those columns of 32 sums. A line
                // and the sums of a row have 64 columns, which `column` and the 31 after it do not exceed.
                unsafe {
                    asm!(
                        "tileloadd tmm0, [{sums} + {line}]",
                        "tileloadd tmm1, [{sums} + {line} + 64]",
                        "tileloadd tmm2, [{sums} + {line} + 4096]",
                        "tileloadd tmm3, [{sums} + {line} + 4160]",
                        "2:",
                        "tileloadd tmm4, [{a} + {row}]",
                        "tileloadd tmm6, [{b} + {line}]",
                        "tdpbf16ps tmm0, tmm4, tmm6",
                        "tileloadd tmm7, [{b} + {line} + 64]",
                        "tdpbf16ps tmm1, tmm4, tmm7",
                        "tileloadd tmm5, [{c} + {row}]",
                        "tdpbf16ps tmm2, tmm5, tmm6",
                        "tdpbf16ps tmm3, tmm5, tmm7",
                        "add {a}, 64",
                        "add {c}, 64",
                        "add {b}, 4096",
                        "dec {deep}",
                        "jnz 2b",
                        "tilestored [{sums} + {line}], tmm0",
                        "tilestored [{sums} + {line} + 64], tmm1",
                        "tilestored [{sums} + {line} + 4096], tmm2",
                        "tilestored [{sums} + {line} + 4160], tmm3",
                        a = inout(reg) rows.as_ptr() => _,
                        c = inout(reg) rows.as_ptr().wrapping_add(TILE * distance) => _,
                        b = inout(reg) lines.as_ptr().cast::<Pair>().wrapping_add(column) => _,
                        deep = inout(reg) deep => _,
                        row = in(reg) distance * size_of::<Pair>(),
                        line = in(reg) size_of::<Line>(),
                        sums = in(reg) sums.as_mut_ptr().cast::<f32>().wrapping_add(column),
                        out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                        out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                        options(nostack),
                    );
                }
            }
        }
        // SAFETY: as in `multiply`.
        unsafe { asm!("tilerelease", options(nostack)) };
    }
}

const _: () = assert!(size_of::<Line>() == 256 && size_of::<Sums>() == 256, "the code counts on it");
