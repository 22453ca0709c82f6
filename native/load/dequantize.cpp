#include "load/dequantize.h"

#include <bit>

#include "load/format.h"

namespace cidery::load {
namespace {

using Bytes = const uint8_t*;

constexpr std::array<int8_t, 16> iq4_values = {-127, -104, -83, -65, -49, -35, -22, -10,
                                               1,    13,   25,  38,  53,  69,  89,  113};
constexpr std::array<int8_t, 16> mxfp4_values = {0, 1,  2,  3,  4,  6,  8,  12,
                                                 0, -1, -2, -3, -4, -6, -8, -12};

float half(Bytes at) {
  return half_to_float(static_cast<uint16_t>(at[0] | at[1] << 8));
}

/// Q4_0 and its kin: the low nibbles of 16 bytes are values 0 to 15, the high ones 16 to 31.
void read_nibbles(Bytes packed, uint8_t* words) {
  for (int i = 0; i < 16; ++i) {
    words[i] = packed[i] & 15;
    words[i + 16] = packed[i] >> 4;
  }
}

/// Bit i of four bytes becomes the fifth bit of word i.
void add_fifth_bits(Bytes bits, uint8_t* words) {
  for (int i = 0; i < 32; ++i) words[i] |= ((bits[i / 8] >> (i % 8)) & 1) << 4;
}

/// Scale and minimum (6 bits each) of group 0 to 7 of a Q4_K or Q5_K block, out of its 12 bytes.
void read_scale_minimum(Bytes packed, uint32_t group, uint8_t& scale, uint8_t& minimum) {
  if (group < 4) {
    scale = packed[group] & 63;
    minimum = packed[group + 4] & 63;
    return;
  }
  const uint8_t low = packed[group + 4];
  scale = (low & 15) | ((packed[group - 4] >> 6) << 4);
  minimum = (low >> 4) | ((packed[group] >> 6) << 4);
}

void split_legacy(Format format, Bytes block, AffineGroup& group) {
  const bool with_minimum = format == Format::q4_1 || format == Format::q5_1;
  const bool five_bits = format == Format::q5_0 || format == Format::q5_1;
  group.scale = half(block);
  Bytes at = block + (with_minimum ? 4 : 2);
  read_nibbles(at + (five_bits ? 4 : 0), group.words.data());
  if (five_bits) add_fifth_bits(at, group.words.data());
  group.bias = with_minimum ? half(block + 2) : group.scale * (five_bits ? -16.0f : -8.0f);
}

void split_q8_0(Bytes block, AffineGroup& group) {
  group.scale = half(block);
  group.bias = group.scale * -128.0f;
  for (int i = 0; i < 32; ++i) group.words[i] = block[2 + i] ^ 0x80;
}

/// Group 0 to 7 of a Q4_K (or, with its high bits, Q5_K) block.
void split_k(Format format, Bytes block, uint32_t index, AffineGroup& group) {
  uint8_t scale = 0, minimum = 0;
  read_scale_minimum(block + 4, index, scale, minimum);
  group.scale = half(block) * static_cast<float>(scale);
  group.bias = -(half(block + 2) * static_cast<float>(minimum));
  const bool five_bits = format == Format::q5_k;
  Bytes nibbles = block + (five_bits ? 48 : 16) + 32 * (index / 2);
  for (int i = 0; i < 32; ++i) {
    group.words[i] = (nibbles[i] >> (4 * (index % 2))) & 15;
    if (five_bits) group.words[i] |= ((block[16 + i] >> index) & 1) << 4;
  }
}

void split_group(Format format, Bytes block, uint32_t index, AffineGroup& group) {
  if (format == Format::q8_0) return split_q8_0(block, group);
  if (format == Format::q4_k || format == Format::q5_k) return split_k(format, block, index, group);
  split_legacy(format, block, group);
}

/// What the word stands for before the scale is applied, where the format has no minimum.
int zero_word(Format format) {
  switch (format) {
    case Format::q4_0: return 8;
    case Format::q5_0: return 16;
    case Format::q8_0: return 128;
    default: return 0;
  }
}

void decode_affine(Format format, Bytes block, float* out) {
  const uint32_t groups = layout_of(format).values / AffineGroup::values;
  const int zero = zero_word(format);
  for (uint32_t index = 0; index < groups; ++index, out += AffineGroup::values) {
    AffineGroup group;
    split_group(format, block, index, group);
    for (uint32_t i = 0; i < AffineGroup::values; ++i) {
      out[i] = zero != 0 ? group.scale * static_cast<float>(group.words[i] - zero)
                         : group.scale * static_cast<float>(group.words[i]) + group.bias;
    }
  }
}

/// The two low bits of value i of a Q2_K or Q3_K block.
uint8_t two_bits(Bytes packed, uint32_t i) {
  return (packed[32 * (i / 128) + i % 32] >> (2 * (i % 128 / 32))) & 3;
}

void decode_q2_k(Bytes block, float* out) {
  const float scale = half(block + 80), minimum = half(block + 82);
  for (uint32_t i = 0; i < 256; ++i) {
    const uint8_t packed = block[i / 16];
    out[i] = scale * static_cast<float>(packed & 15) * static_cast<float>(two_bits(block + 16, i)) -
             minimum * static_cast<float>(packed >> 4);
  }
}

void decode_q3_k(Bytes block, float* out) {
  Bytes packed = block + 96;
  const float scale = half(block + 108);
  for (uint32_t i = 0; i < 256; ++i) {
    const uint32_t g = i / 16;
    const int low = (packed[g % 8] >> (4 * (g / 8))) & 15;
    const int high = (packed[8 + g % 4] >> (2 * (g / 4))) & 3;
    const float group_scale = scale * static_cast<float>((low | high << 4) - 32);
    const bool high_bit = ((block[i % 32] >> (i / 32)) & 1) != 0;
    out[i] = group_scale * static_cast<float>(two_bits(block + 32, i) - (high_bit ? 0 : 4));
  }
}

void decode_q6_k(Bytes block, float* out) {
  const float scale = half(block + 208);
  for (uint32_t i = 0; i < 256; ++i) {
    const uint32_t part = i / 128, j = i % 128;
    const int low = (block[64 * part + j % 64] >> (4 * (j / 64))) & 15;
    const int high = (block[128 + 32 * part + j % 32] >> (2 * (j / 32))) & 3;
    const float group_scale = scale * static_cast<float>(static_cast<int8_t>(block[192 + i / 16]));
    out[i] = group_scale * static_cast<float>((low | high << 4) - 32);
  }
}

void decode_iq4_nl(Bytes block, float* out) {
  std::array<uint8_t, 32> words;
  read_nibbles(block + 2, words.data());
  const float scale = half(block);
  for (int i = 0; i < 32; ++i) out[i] = scale * static_cast<float>(iq4_values[words[i]]);
}

void decode_mxfp4(Bytes block, float* out) {
  std::array<uint8_t, 32> words;
  read_nibbles(block + 1, words.data());
  // Half of 2^(e - 127), for the table holds doubled values.
  const uint32_t e = block[0];
  const float scale = std::bit_cast<float>(e < 2 ? 0x00200000u << e : (e - 1) << 23);
  for (int i = 0; i < 32; ++i) out[i] = scale * static_cast<float>(mxfp4_values[words[i]]);
}

void decode_block(Format format, Bytes block, float* out) {
  switch (format) {
    case Format::q2_k: return decode_q2_k(block, out);
    case Format::q3_k: return decode_q3_k(block, out);
    case Format::q6_k: return decode_q6_k(block, out);
    case Format::iq4_nl: return decode_iq4_nl(block, out);
    case Format::mxfp4: return decode_mxfp4(block, out);
    default: return decode_affine(format, block, out);
  }
}

}  // namespace

float half_to_float(uint16_t bits) noexcept {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  const uint32_t exponent = (bits >> 10) & 31, mantissa = bits & 1023;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | mantissa << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
  const float value = static_cast<float>(mantissa) * 0x1p-24f;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(value));
}

void dequantize(Format format, std::span<const std::byte> blocks, std::span<float> values) {
  const FormatLayout& layout = layout_of(format);
  if (layout.values == 1 || blocks.size() % layout.bytes != 0 ||
      blocks.size() / layout.bytes * layout.values != values.size()) {
    throw Error("parameter_mismatch", "dequantize: the bytes are not whole blocks of the format");
  }
  Bytes at = reinterpret_cast<Bytes>(blocks.data());
  for (size_t i = 0; i < values.size(); i += layout.values, at += layout.bytes) {
    decode_block(format, at, values.data() + i);
  }
}

uint32_t affine_bits(Format format) noexcept {
  switch (format) {
    case Format::q4_0:
    case Format::q4_1:
    case Format::q4_k: return 4;
    case Format::q5_0:
    case Format::q5_1:
    case Format::q5_k: return 5;
    case Format::q8_0: return 8;
    default: return 0;
  }
}

void split_affine(Format format, std::span<const std::byte> blocks, std::span<AffineGroup> groups) {
  const FormatLayout& layout = layout_of(format);
  if (affine_bits(format) == 0 || blocks.size() % layout.bytes != 0 ||
      blocks.size() / layout.bytes * layout.values != groups.size() * AffineGroup::values) {
    throw Error("parameter_mismatch", "split_affine: the bytes are not whole affine blocks");
  }
  const uint32_t per_block = layout.values / AffineGroup::values;
  Bytes at = reinterpret_cast<Bytes>(blocks.data());
  for (size_t i = 0; i < groups.size(); ++i) {
    split_group(format, at + i / per_block * layout.bytes, i % per_block, groups[i]);
  }
}

void split_mxfp4(std::span<const std::byte> blocks, std::span<FloatGroup> groups) {
  const FormatLayout& layout = layout_of(Format::mxfp4);
  if (blocks.size() != groups.size() * layout.bytes) {
    throw Error("parameter_mismatch", "split_mxfp4: the bytes are not whole MXFP4 blocks");
  }
  Bytes at = reinterpret_cast<Bytes>(blocks.data());
  for (FloatGroup& group : groups) {
    group.exponent = at[0];
    read_nibbles(at + 1, group.codes.data());
    at += layout.bytes;
  }
}

}  // namespace cidery::load
