//! The AMX instructions. Rust has no stable intrinsics for them yet.
#![allow(unsafe_code)]

use super::{Accumulators, HALF, Line, Pair, SplitTiles, Sums, TILE, UNIT_ROWS};
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

/// The tile registers while a product uses them.
struct Tiles;

impl Tiles {
    /// Configures the registers of a unit.
    fn of(_: Amx) -> Self {
        // SAFETY: an `Amx` only exists if the instructions are available. No tile register is in use outside of a
        // product, which has this first and drops it at the end, and the compiler never uses any in between.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const SHAPES, options(nostack)) };
        Self
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: as for the configuration: what the registers held has been stored, or is lost with its product.
        unsafe { asm!("tilerelease", options(nostack)) };
    }
}

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
        let _tiles = Tiles::of(self);
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
    }

    /// The sums of `start` and the products of pairs of row tiles with the lines of a group.
    pub(super) fn multiply_pairs(self, tiles: &[Pair], lines: &[Line], start: &Sums, sums: &mut [Sums]) {
        let deep = lines.len() / (2 * TILE);
        assert!(deep > 0 && lines.len().is_multiple_of(2 * TILE));
        assert!(sums.len().is_multiple_of(UNIT_ROWS) && tiles.len() == sums.len() * deep * TILE);
        let _tiles = Tiles::of(self);
        // One half after the other: its lines stay in the cache while the rows stream past.
        for (half, lines) in lines.chunks_exact(deep * TILE).enumerate() {
            let column = half * HALF;
            for (tiles, sums) in tiles.chunks_exact(UNIT_ROWS * deep * TILE).zip(sums.chunks_exact_mut(UNIT_ROWS)) {
                // SAFETY: reads `deep` pairs of row tiles, which `tiles` has, and `16 * deep` lines, which `lines` has;
                // reads 32 columns of `start` from `column` on, which is 0 or 32 of 64, and writes those columns of 32
                // sums. `start` is read with no distance between rows: every row starts with it.
                unsafe {
                    asm!(
                        "tileloadd tmm0, [{start} + {none}]",
                        "tileloadd tmm1, [{start} + {none} + 64]",
                        "tileloadd tmm2, [{start} + {none}]",
                        "tileloadd tmm3, [{start} + {none} + 64]",
                        "2:",
                        "tileloadd tmm4, [{a} + {row}]",
                        "tileloadd tmm6, [{b} + {line}]",
                        "tdpbf16ps tmm0, tmm4, tmm6",
                        "tileloadd tmm7, [{b} + {line} + 64]",
                        "tdpbf16ps tmm1, tmm4, tmm7",
                        "tileloadd tmm5, [{a} + {row} + 1024]",
                        "tdpbf16ps tmm2, tmm5, tmm6",
                        "tdpbf16ps tmm3, tmm5, tmm7",
                        "add {a}, 2048",
                        "add {b}, 2048",
                        "dec {deep}",
                        "jnz 2b",
                        "tilestored [{sums} + {sum}], tmm0",
                        "tilestored [{sums} + {sum} + 64], tmm1",
                        "tilestored [{sums} + {sum} + 4096], tmm2",
                        "tilestored [{sums} + {sum} + 4160], tmm3",
                        a = inout(reg) tiles.as_ptr() => _,
                        b = inout(reg) lines.as_ptr() => _,
                        deep = inout(reg) deep => _,
                        row = in(reg) size_of::<[Pair; TILE]>(),
                        line = in(reg) size_of::<Line>(),
                        sum = in(reg) size_of::<Sums>(),
                        none = in(reg) 0_usize,
                        start = in(reg) start.0.as_ptr().wrapping_add(column),
                        sums = in(reg) sums.as_mut_ptr().cast::<f32>().wrapping_add(column),
                        out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                        out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                        options(nostack),
                    );
                }
            }
        }
    }
}

const _: () = assert!(size_of::<Line>() == 128 && size_of::<Sums>() == 256, "the code counts on it");
