#include "cpu/pack.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "cpu/quads.h"
#include "load/dequantize.h"
#include "load/format.h"

namespace cidery::cpu {
namespace {

using load::Format;
using program::StorageKind;

constexpr uint32_t k_inputs = 256;
/// Bits of a code of split8 that can be left out, and their bytes for 32 inputs.
constexpr uint32_t lower_bits = 3;
constexpr uint64_t lower_group_bytes = 64 * lower_bits;
/// Bytes behind the codes of a k-quant's block: factors a group, d, minimum.
constexpr uint64_t k_factor_bytes = 256 + 64;

[[noreturn]] void mismatch(const std::string& what) { throw Error("parameter_mismatch", what); }

/// The bytes of one output's row; null behind the last output.
struct Row {
  const uint8_t *weight = nullptr, *scales = nullptr, *biases = nullptr;
};

Format block_format(const RawLayout& layout) {
  return static_cast<Format>(static_cast<uint32_t>(Format::q4_0) +
                             static_cast<uint32_t>(layout.storage.format));
}

/// Bits that a code takes in the packed form; 0 where values are dense.
uint32_t code_bits(PackedFormat format) {
  switch (format) {
    case PackedFormat::affine2:
    case PackedFormat::q2_k: return 2;
    case PackedFormat::affine3:
    case PackedFormat::q3_k: return 3;
    case PackedFormat::affine4:
    case PackedFormat::signed4:
    case PackedFormat::iq4_nl:
    case PackedFormat::mxfp4:
    case PackedFormat::q4_k: return 4;
    case PackedFormat::affine5:
    case PackedFormat::signed5:
    case PackedFormat::q5_k: return 5;
    case PackedFormat::affine6:
    case PackedFormat::q6_k: return 6;
    case PackedFormat::affine8:
    case PackedFormat::signed8:
    case PackedFormat::split8: return 8;
    default: return 0;
  }
}

bool is_affine(PackedFormat format) {
  return format >= PackedFormat::affine2 && format <= PackedFormat::affine8;
}
bool is_k(PackedFormat format) { return format >= PackedFormat::q2_k; }

PackedFormat dense_format(Format format) {
  switch (format) {
    case Format::f32: return PackedFormat::f32;
    case Format::f16: return PackedFormat::f16;
    case Format::bf16: return PackedFormat::bf16;
    default: mismatch("a dense matrix is F32, F16 or BF16");
  }
}

PackedFormat affine_format(uint32_t bits) {
  switch (bits) {
    case 2: return PackedFormat::affine2;
    case 3: return PackedFormat::affine3;
    case 4: return PackedFormat::affine4;
    case 5: return PackedFormat::affine5;
    case 6: return PackedFormat::affine6;
    case 8: return PackedFormat::affine8;
    default: mismatch("an affine matrix has 2, 3, 4, 5, 6 or 8 bits");
  }
}

FactorType factor_type(Format format) {
  switch (format) {
    case Format::f32: return FactorType::f32;
    case Format::f16: return FactorType::f16;
    case Format::bf16: return FactorType::bf16;
    default: mismatch("scales and biases are F32, F16 or BF16");
  }
}

PackedFormat packed_block_format(program::BlockFormat format) {
  using program::BlockFormat;
  switch (format) {
    case BlockFormat::q4_0: return PackedFormat::signed4;
    case BlockFormat::q4_1: return PackedFormat::affine4;
    case BlockFormat::q5_0: return PackedFormat::signed5;
    case BlockFormat::q5_1: return PackedFormat::affine5;
    case BlockFormat::q8_0: return PackedFormat::signed8;
    case BlockFormat::q2_k: return PackedFormat::q2_k;
    case BlockFormat::q3_k: return PackedFormat::q3_k;
    case BlockFormat::q4_k: return PackedFormat::q4_k;
    case BlockFormat::q5_k: return PackedFormat::q5_k;
    case BlockFormat::q6_k: return PackedFormat::q6_k;
    case BlockFormat::iq4_nl: return PackedFormat::iq4_nl;
    case BlockFormat::mxfp4: return PackedFormat::mxfp4;
  }
  mismatch("its block format is unknown");
}

void plan_format(const RawLayout& layout, PackedWeight& weight) {
  const program::Storage& storage = layout.storage;
  switch (storage.kind) {
    case StorageKind::dense:
      weight.format = layout.add != 0 ? PackedFormat::f32 : dense_format(layout.weight);
      return;
    case StorageKind::affine:
      weight.format = affine_format(storage.bits);
      weight.factors = factor_type(layout.factors);
      weight.group = storage.group;
      if (storage.group != 32 && storage.group != 64 && storage.group != 128) {
        mismatch("an affine matrix has groups of 32, 64 or 128");
      }
      return;
    case StorageKind::mxfp4:
      weight.format = PackedFormat::mxfp4;
      weight.factors = FactorType::bf16;
      weight.group = 32;
      return;
    case StorageKind::block:
      if (layout.add != 0) return;  // f32
      weight.format = packed_block_format(storage.format);
      if (layout.split && weight.format == PackedFormat::signed8) {
        weight.format = PackedFormat::split8;
        weight.lower_bytes = layout.inputs / 32 * lower_group_bytes;
      }
      weight.group = is_k(weight.format) ? k_inputs : 32;
      weight.factors =
          weight.format == PackedFormat::mxfp4 ? FactorType::bf16 : FactorType::f16;
      return;
  }
  mismatch("its storage is unknown");
}

uint64_t factor_bytes(FactorType type) { return type == FactorType::f32 ? 64 : 32; }

uint64_t panel_bytes(const PackedWeight& weight) {
  const uint64_t inputs = weight.inputs, group_codes = uint64_t{64} * code_bits(weight.format);
  if (weight.format == PackedFormat::f32) return inputs * 64;
  // 16 values of 16 bits are half a cache line: the panel is padded to whole ones.
  if (is_dense(weight.format)) return (inputs * 32 + 63) / 64 * 64;
  if (is_k(weight.format)) return inputs / k_inputs * (8 * group_codes + k_factor_bytes);
  if (is_affine(weight.format)) {
    const uint64_t factors = 2 * factor_bytes(weight.factors);
    return inputs / weight.group * (weight.group / 32 * group_codes + factors);
  }
  const uint64_t lower = weight.format == PackedFormat::split8 ? lower_group_bytes : 0;
  return (inputs / 32 + 1) / 2 * (2 * (group_codes - lower) + 64);
}

void put_16(uint8_t* at, uint32_t lane, const uint8_t* value) {
  std::memcpy(at + 2 * lane, value, 2);
}

void pack_affine(const PackedWeight& weight, const Row& row, uint32_t lane, uint8_t* panel) {
  const uint32_t bits = code_bits(weight.format), together = weight.group / 32;
  const uint64_t factor = factor_bytes(weight.factors), size = factor / lanes;
  for (uint32_t group = 0; group < weight.inputs / weight.group; ++group) {
    for (uint32_t i = 0; i < together; ++i, panel += 64 * bits) {
      uint32_t codes[quads];
      read_stream(row.weight + uint64_t{group * together + i} * 4 * bits, bits, codes);
      write_planes(bits, codes, lane, panel);
    }
    std::memcpy(panel + lane * size, row.scales + group * size, size);
    std::memcpy(panel + factor + lane * size, row.biases + group * size, size);
    panel += 2 * factor;
  }
}

/// Q4_1 and Q5_1: groups of 32 with a scale and a minimum of 16 bits.
void pack_minimum_blocks(const PackedWeight& weight, Format format, const Row& row, uint32_t lane,
                         uint8_t* panel) {
  const uint32_t bits = code_bits(weight.format), block_bytes = load::layout_of(format).bytes;
  const uint8_t* block = row.weight;
  for (uint32_t group = 0; group < weight.inputs / 32; ++group, block += block_bytes) {
    uint32_t codes[quads];
    read_block(format, block, 0, codes);
    write_planes(bits, codes, lane, panel);
    panel += 64 * bits;
    put_16(panel, lane, block);
    put_16(panel + 32, lane, block + 2);
    panel += 64;
  }
}

/// Half of 2^(exponent - 127) as bf16: the kernels' codes are doubled values.
uint16_t half_power(uint8_t exponent) {
  return exponent < 2 ? static_cast<uint16_t>(0x20 << exponent)
                      : static_cast<uint16_t>((exponent - 1) << 7);
}

/// Blocks of 32 with a scale alone, or MLX's mxfp4.
void pack_scaled(const PackedWeight& weight, const RawLayout& layout, const Row& row, uint32_t lane,
                 uint8_t* panel) {
  const bool words = layout.storage.kind == StorageKind::mxfp4;
  const Format format = words ? Format::mxfp4 : block_format(layout);
  const uint32_t bits = code_bits(weight.format);
  const uint64_t code_bytes = uint64_t{64} * bits, block_bytes = load::layout_of(format).bytes;
  for (uint32_t group = 0; group < weight.inputs / 32; ++group) {
    uint8_t* block = panel + group / 2 * (2 * code_bytes + 64);
    const uint8_t* from = row.weight + (words ? 16 : block_bytes) * group;
    uint32_t codes[quads];
    if (words) read_stream(from, 4, codes);
    else read_block(format, from, 0, codes);
    write_planes(bits, codes, lane, block + group % 2 * code_bytes);
    uint8_t* scales = block + 2 * code_bytes + group % 2 * 32;
    if (format != Format::mxfp4) {
      put_16(scales, lane, from);
      continue;
    }
    const uint16_t scale = half_power(words ? row.scales[group] : from[0]);
    std::memcpy(scales + 2 * lane, &scale, 2);
  }
}

/// Q8_0 in two parts.
void pack_split(const PackedWeight& weight, const Row& row, uint32_t lane, uint8_t* panel,
                uint8_t* lower) {
  constexpr uint64_t upper_bytes = 64 * (8 - lower_bits);
  const uint64_t block_bytes = load::layout_of(Format::q8_0).bytes;
  for (uint32_t group = 0; group < weight.inputs / 32; ++group, lower += lower_group_bytes) {
    uint8_t* block = panel + group / 2 * (2 * upper_bytes + 64);
    const uint8_t* from = row.weight + block_bytes * group;
    uint32_t codes[quads], upper[quads];
    read_block(Format::q8_0, from, 0, codes);
    for (uint32_t q = 0; q < quads; ++q) {
      upper[q] = (codes[q] >> lower_bits) & 0x1f1f1f1fu;
      codes[q] &= 0x07070707u;
    }
    write_planes(8 - lower_bits, upper, lane, block + group % 2 * upper_bytes);
    write_planes(lower_bits, codes, lane, lower);
    put_16(block + 2 * upper_bytes + group % 2 * 32, lane, from);
  }
}

/// Factors of one output's block of 256, and d and minimum behind them.
void pack_k_factors(Format format, const uint8_t* block, uint32_t lane, uint8_t* at) {
  switch (format) {
    case Format::q2_k:
      for (uint32_t group = 0; group < 16; ++group) at[16 * group + lane] = block[group];
      put_16(at + 256, lane, block + 80);
      return put_16(at + 288, lane, block + 82);
    case Format::q3_k:
      for (uint32_t group = 0; group < 16; ++group) {
        at[16 * group + lane] = static_cast<uint8_t>(read_q3_scale(block + 96, group));
      }
      return put_16(at + 256, lane, block + 108);
    case Format::q6_k:
      for (uint32_t group = 0; group < 16; ++group) at[16 * group + lane] = block[192 + group];
      return put_16(at + 256, lane, block + 208);
    default:
      for (uint32_t group = 0; group < 8; ++group) {
        const ScaleMinimum both = read_scale_minimum(block + 4, group);
        at[16 * group + lane] = both.scale;
        at[128 + 16 * group + lane] = both.minimum;
      }
      put_16(at + 256, lane, block);
      put_16(at + 288, lane, block + 2);
  }
}

void pack_k(const PackedWeight& weight, Format format, const Row& row, uint32_t lane,
            uint8_t* panel) {
  const uint32_t bits = code_bits(weight.format), block_bytes = load::layout_of(format).bytes;
  const uint8_t* block = row.weight;
  for (uint32_t i = 0; i < weight.inputs / k_inputs; ++i, block += block_bytes) {
    for (uint32_t group = 0; group < 8; ++group, panel += 64 * bits) {
      uint32_t codes[quads];
      read_block(format, block, group, codes);
      write_planes(bits, codes, lane, panel);
    }
    pack_k_factors(format, block, lane, panel);
    panel += k_factor_bytes;
  }
}

float dense_value(Format format, const uint8_t* row, uint32_t input) {
  if (format == Format::f32) {
    float value;
    std::memcpy(&value, row + 4 * uint64_t{input}, 4);
    return value;
  }
  uint16_t half;
  std::memcpy(&half, row + 2 * uint64_t{input}, 2);
  if (format == Format::f16) return load::half_to_float(half);
  const uint32_t bits = uint32_t{half} << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

/// Values of a row to which a constant is added: f32.
void pack_added(const RawLayout& layout, const Row& row, uint32_t lane, uint8_t* panel) {
  std::vector<float> values(layout.inputs);
  if (layout.storage.kind == StorageKind::block) {
    const uint64_t size = raw_row_bytes(layout).weight;
    load::dequantize(block_format(layout),
                     {reinterpret_cast<const std::byte*>(row.weight), size}, values);
  } else {
    for (uint32_t i = 0; i < layout.inputs; ++i) {
      values[i] = dense_value(layout.weight, row.weight, i);
    }
  }
  for (uint32_t i = 0; i < layout.inputs; ++i) {
    const float value = values[i] + layout.add;
    std::memcpy(panel + (uint64_t{i} * lanes + lane) * 4, &value, 4);
  }
}

void pack_dense(const PackedWeight& weight, const Row& row, uint32_t lane, uint8_t* panel) {
  const uint64_t size = weight.format == PackedFormat::f32 ? 4 : 2;
  for (uint64_t i = 0; i < weight.inputs; ++i) {
    std::memcpy(panel + (i * lanes + lane) * size, row.weight + i * size, size);
  }
}

/// `lower`: where the panel's lower bits go; split8 only.
void pack_row(const PackedWeight& weight, const RawLayout& layout, const Row& row, uint32_t lane,
              uint8_t* panel, uint8_t* lower) {
  if (layout.add != 0) return pack_added(layout, row, lane, panel);
  if (is_dense(weight.format)) return pack_dense(weight, row, lane, panel);
  if (layout.storage.kind == StorageKind::affine) return pack_affine(weight, row, lane, panel);
  if (weight.format == PackedFormat::split8) return pack_split(weight, row, lane, panel, lower);
  if (is_k(weight.format)) return pack_k(weight, block_format(layout), row, lane, panel);
  if (is_affine(weight.format)) {
    return pack_minimum_blocks(weight, block_format(layout), row, lane, panel);
  }
  pack_scaled(weight, layout, row, lane, panel);
}

void check_rows(const RawLayout& layout, const RawRows& rows, uint64_t outputs) {
  const RawRowBytes bytes = raw_row_bytes(layout);
  if (rows.weight.size() != outputs * bytes.weight ||
      rows.scales.size() != outputs * bytes.scales ||
      rows.biases.size() != outputs * bytes.biases) {
    mismatch("the bytes to pack are not those of " + std::to_string(outputs) + " rows");
  }
}

}  // namespace

PackedWeight plan_packing(const RawLayout& layout) {
  PackedWeight weight;
  weight.outputs = layout.outputs;
  weight.inputs = layout.inputs;
  plan_format(layout, weight);
  if (layout.add != 0 &&
      (layout.storage.kind == StorageKind::affine || layout.storage.kind == StorageKind::mxfp4)) {
    mismatch("a constant cannot be added to this storage");
  }
  const uint32_t together =
      layout.storage.kind == StorageKind::block ? load::layout_of(block_format(layout)).values
                                                : std::max(weight.group, 1u);
  if (layout.inputs % together != 0) {
    mismatch("its " + std::to_string(layout.inputs) + " inputs are not whole groups of " +
             std::to_string(together));
  }
  weight.panel_bytes = panel_bytes(weight);
  return weight;
}

uint64_t packed_bytes(const PackedWeight& weight) noexcept {
  return panel_count(weight.outputs) * (weight.panel_bytes + weight.lower_bytes);
}

RawRowBytes raw_row_bytes(const RawLayout& layout) {
  const program::Storage& storage = layout.storage;
  const uint64_t inputs = layout.inputs;
  switch (storage.kind) {
    case StorageKind::dense: return {inputs * load::layout_of(layout.weight).bytes, 0, 0};
    case StorageKind::affine: {
      const uint64_t factors = inputs / storage.group * load::layout_of(layout.factors).bytes;
      return {inputs * storage.bits / 8, factors, factors};
    }
    case StorageKind::mxfp4: return {inputs / 2, inputs / 32, 0};
    case StorageKind::block: {
      const load::FormatLayout& block = load::layout_of(block_format(layout));
      return {inputs / block.values * block.bytes, 0, 0};
    }
  }
  mismatch("its storage is unknown");
}

void pack_panels(const PackedWeight& weight, const RawLayout& layout, const RawRows& rows,
                 uint32_t first_panel, uint32_t count, std::span<std::byte> slab) {
  if (slab.size() < packed_bytes(weight) || first_panel > panel_count(weight.outputs) ||
      count > panel_count(weight.outputs) - first_panel) {
    mismatch("the panels to pack are outside the matrix or its memory");
  }
  const uint64_t first = uint64_t{first_panel} * lanes;
  const uint64_t outputs = std::min<uint64_t>(uint64_t{count} * lanes, weight.outputs - first);
  check_rows(layout, rows, count == 0 ? 0 : outputs);
  const RawRowBytes bytes = raw_row_bytes(layout);
  const auto at = [](std::span<const std::byte> part, uint64_t offset) {
    return reinterpret_cast<const uint8_t*>(part.data()) + offset;
  };
  auto* panel = reinterpret_cast<uint8_t*>(slab.data()) + first_panel * weight.panel_bytes;
  auto* lower = reinterpret_cast<uint8_t*>(slab.data()) +
                panel_count(weight.outputs) * weight.panel_bytes + first_panel * weight.lower_bytes;
  for (uint32_t i = 0; i < count; ++i, panel += weight.panel_bytes, lower += weight.lower_bytes) {
    std::memset(panel, 0, weight.panel_bytes);
    std::memset(lower, 0, weight.lower_bytes);
    for (uint64_t lane = 0; lane < lanes && uint64_t{i} * lanes + lane < outputs; ++lane) {
      const uint64_t row = uint64_t{i} * lanes + lane;
      const Row raw = {at(rows.weight, row * bytes.weight), at(rows.scales, row * bytes.scales),
                       at(rows.biases, row * bytes.biases)};
      pack_row(weight, layout, raw, static_cast<uint32_t>(lane), panel, lower);
    }
  }
}

}  // namespace cidery::cpu
