"""Writes blocks of every number format of GGUF with their values, by the gguf package, and the grids of the IQ formats.

python3 make_formats.py .              # formats.safetensors, and the grids beside the code that reads them
python3 make_formats.py FOLDER 500     # more blocks, for a thorough comparison
"""
import sys
from pathlib import Path
import gguf, numpy as np
from gguf import quants
from safetensors.numpy import save_file

out, count = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 2
rng = np.random.default_rng(1)

# Where each block has its scales, as halves; random bytes there could be infinite.
HALVES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2],
          "Q5_K": [0, 2], "Q6_K": [208], "IQ1_S": [0], "IQ1_M": [], "IQ2_XXS": [0], "IQ2_XS": [0], "IQ2_S": [0], "IQ3_XXS": [0],
          "IQ3_S": [0], "IQ4_NL": [0], "IQ4_XS": [0], "TQ1_0": [52], "TQ2_0": [64], "MXFP4": [], "NVFP4": [], "F16": [0], "BF16": []}


def halves(count):
    return rng.normal(0, 0.1, count).astype(np.float16)


tensors = {}
for name, scales in HALVES.items():
    kind = gguf.GGMLQuantizationType[name]
    _, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (count, size), dtype=np.uint8)
    for at in scales:
        blocks[:, at : at + 2] = halves(count).view(np.uint8).reshape(count, 2)
    if name == "BF16":
        blocks = rng.normal(0, 1, count).astype(np.float32).view(np.uint8).reshape(count, 4)[:, 2:].copy()
    if name == "IQ1_M":
        # The common scale is in the top four bits of the last four numbers.
        packed, common = blocks[:, 48:].copy().view(np.uint16), halves(count).view(np.uint16)
        for at in range(4):
            packed[:, at] = packed[:, at] & 0x0FFF | (common >> (4 * at) & 15) << 12
        blocks[:, 48:] = packed.view(np.uint8)
    if name == "MXFP4":
        # Exponents: subnormal, small, and about 1.
        blocks[:, 0] = np.resize([1, 120, 0, 2, 127], count)
    if name == "NVFP4":
        # Scales of 0, subnormal, not a number, and above 1.
        blocks[0, :4] = [0, 3, 0x7F, 0x41]
    tensors[f"{name}.bytes"] = blocks.reshape(-1)
    tensors[f"{name}.values"] = quants.dequantize(blocks, kind).astype(np.float32).reshape(-1)
doubles = rng.normal(0, 1, count)
tensors |= {"F64.bytes": doubles.view(np.uint8), "F64.values": doubles.astype(np.float32)}
save_file(tensors, out / "formats.safetensors")

if count == 2:
    GRIDS = [quants.IQ2_XXS, quants.IQ2_XS, quants.IQ2_S, quants.IQ3_XXS, quants.IQ3_S, quants.IQ1_S]
    packed = b"".join(bytes.fromhex(grid.grid_hex.decode()) for grid in GRIDS)
    (out / "../../src/weights/format/grids.bin").write_bytes(packed)
