#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "cpu/kernels.h"
#include "load/tensor_source.h"
#include "program/program.h"

/// Matrices as they lie in files, brought into panels of 16 outputs. A panel is a row of blocks,
/// one for each `block_inputs` inputs; every block begins at a multiple of 64 bytes:
///
/// - dense: [input][16 outputs] of f32, f16 or bf16; the panel is one block.
/// - affine: codes, scales[16], biases[16] of one group of 32, 64 or 128 inputs.
/// - signed, iq4_nl, mxfp4: codes of two groups of 32 inputs, scales[2][16]. The last block of an
/// odd number of groups is half empty.
/// - split8: as signed codes of 5 bits, the upper ones of Q8_0's, for all panels; behind all panels
/// the lower 3 bits, 192 bytes for 32 inputs.
/// - k-quants: codes of 256 inputs, then bytes a group and output, then d[16] and minimum[16]
/// (f16): q4_k and q5_k: scale[8][16], minimum[8][16]; q3_k and q6_k: signed scale[16][16]; q2_k:
/// [16][16], scale in the low nibble, minimum in the high one.
///
/// Codes of b bits take 64 b bytes for 32 inputs: planes of vectors of 16 x 4 bytes, byte i of lane
/// o of the q-th quad (q below 8) being input 4 q + i of output o. Bits 4 (and the low 4 of 5 and
/// 6): vector v has quad 2 v in its low nibbles, 2 v + 1 in the high ones. Bits 2 (and the low 2 of
/// 3, the high 2 of 6): vector v has quads 4 v to 4 v + 3, lowest first. The last bit of 3 and 5:
/// bit q of one vector. 8: vector q.
namespace cidery::cpu {

/// A matrix as a file holds it: what its parts say, not its bytes.
struct RawLayout {
  program::Storage storage;
  load::Format weight = load::Format::f32;   // dense: f32, f16, bf16; else as the storage implies
  load::Format factors = load::Format::f32;  // affine: of scales and biases alike
  float add = 0;                             // added to every value; dense and block only
  bool split = false;                        // Q8_0 becomes split8; means nothing to the others
  uint32_t outputs = 0, inputs = 0;
};

/// Bytes of rows `first_panel * 16` and on (as many as the panels that are packed have): words,
/// scales and biases of MLX's storages; GGUF's blocks or dense values in `weight` alone.
struct RawRows {
  std::span<const std::byte> weight, scales, biases;
};

/// Bytes that one row of each part has in the file.
struct RawRowBytes {
  uint64_t weight = 0, scales = 0, biases = 0;
};

/// The packed form of a matrix, with `data` still null. Formats are kept as they are but where a
/// constant is added, which makes f32, and where `split` says so. Throws Error `parameter_mismatch`
/// for a storage that has no packed form (bits, group, factor type) or where `inputs` are no whole
/// groups.
PackedWeight plan_packing(const RawLayout& layout);

/// Bytes that the packed form takes; a multiple of 64.
uint64_t packed_bytes(const PackedWeight& weight) noexcept;

RawRowBytes raw_row_bytes(const RawLayout& layout);

/// Packs panels [first_panel, first_panel + count) of `weight` (by plan_packing(layout)) into
/// `slab`, where the whole matrix goes: any number of threads may pack different panels at once.
/// Outputs behind the last become zeros. Throws Error `parameter_mismatch` where `rows` has not
/// exactly the bytes of those panels' outputs.
void pack_panels(const PackedWeight& weight, const RawLayout& layout, const RawRows& rows,
                 uint32_t first_panel, uint32_t count, std::span<std::byte> slab);

}  // namespace cidery::cpu
