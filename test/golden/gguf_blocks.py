"""Random blocks of every GGUF format that cidery reads, and what the gguf package makes of them.

Writes blocks.safetensors: for each format FORMAT.bytes [4, bytes a row] u8 and FORMAT.values
[4, 512] f32. Scales are ordinary numbers in rows 0 to 2; row 3 holds the extremes.
"""

import sys
from pathlib import Path

import gguf
import mlx.core as mx
import numpy as np

ROWS, WIDTH = 4, 512

# Where each block keeps its half-precision scales, in bytes from its start.
HALF_OFFSETS = {
    "Q4_0": (0,), "Q4_1": (0, 2), "Q5_0": (0,), "Q5_1": (0, 2), "Q8_0": (0,), "IQ4_NL": (0,),
    "Q2_K": (80, 82), "Q3_K": (108,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,),
    "MXFP4": (),
}
# Zero, minus zero, the smallest subnormal, the largest finite, and ordinary ones of both signs.
EXTREMES = np.array([0.0, -0.0, 6e-8, 65504.0, -65504.0, 1.0, -0.33325, 6.1e-5], np.float16)
# Exponents of MXFP4: two that give subnormal scales, the smallest normal, one, and large.
EXPONENTS = np.array([0, 1, 2, 127, 128, 200, 240, 250], np.uint8)


def blocks_of(name: str) -> np.ndarray:
    """Random bytes [rows, bytes a row] whose scales are set to numbers that a file could hold."""
    kind = gguf.GGMLQuantizationType[name]
    length, size = gguf.GGML_QUANT_SIZES[kind]
    generator = np.random.Generator(np.random.Philox([kind.value, WIDTH]))
    count = WIDTH // length
    blocks = generator.integers(0, 256, (ROWS, count, size), np.uint8)
    for offset in HALF_OFFSETS[name]:
        scale = generator.normal(0, 0.05, (ROWS, count)).astype(np.float16)
        scale[3] = np.resize(np.roll(EXTREMES, offset), count)
        blocks[:, :, offset : offset + 2] = scale.view(np.uint8).reshape(ROWS, count, 2)
    if name == "MXFP4":
        blocks[:, :, 0] = generator.integers(112, 136, (ROWS, count), np.uint8)
        blocks[3, :, 0] = np.resize(EXPONENTS, count)
    return blocks.reshape(ROWS, count * size)


def all_blocks() -> dict[str, np.ndarray]:
    out = {}
    for name in HALF_OFFSETS:
        packed = blocks_of(name)
        values = gguf.quants.dequantize(packed, gguf.GGMLQuantizationType[name])
        if values.shape != (ROWS, WIDTH) or not np.isfinite(values).all():
            raise SystemExit(f"{name}: unusable values")
        out[f"{name}.bytes"], out[f"{name}.values"] = packed, values.astype(np.float32)
    return out


def main() -> None:
    target = Path(__file__).parent / "blocks.safetensors"
    made = all_blocks()
    if "--check" in sys.argv:
        kept = mx.load(str(target))
        same = kept.keys() == made.keys() and all(
            np.array(kept[key]).tobytes() == made[key].tobytes() for key in made)
        print("blocks as committed" if same else "blocks differ")
        sys.exit(0 if same else 1)
    mx.save_safetensors(str(target), {key: mx.array(value) for key, value in made.items()})
    print(f"{target.name}: {target.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
