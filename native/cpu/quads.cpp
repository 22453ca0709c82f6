#include "cpu/quads.h"

#include <bit>
#include <cstring>

#include "cpu/kernels.h"

namespace cidery::cpu {
namespace {

using load::Format;

static_assert(std::endian::native == std::endian::little);

constexpr uint32_t each_byte(uint32_t byte) { return byte * 0x01010101u; }

uint32_t word(const uint8_t* at) {
  uint32_t out;
  std::memcpy(&out, at, sizeof out);
  return out;
}

void write_word(uint8_t* at, uint32_t value) { std::memcpy(at, &value, sizeof value); }

/// Bits 0 to 3 become the low bits of four bytes.
uint32_t spread_bits(uint32_t bits) { return ((bits & 15) * 0x00204081u) & each_byte(1); }

/// Q4_0 and its kin: inputs 0 to 15 in the low nibbles, 16 to 31 in the high ones.
void read_nibbles(const uint8_t* at, uint32_t* out) {
  for (uint32_t i = 0; i < 4; ++i) {
    out[i] = word(at + 4 * i) & each_byte(15);
    out[i + 4] = (word(at + 4 * i) >> 4) & each_byte(15);
  }
}

void read_five_bits(const uint8_t* high, uint32_t* out) {
  read_nibbles(high + 4, out);
  const uint32_t fifth = word(high);
  for (uint32_t q = 0; q < quads; ++q) out[q] |= spread_bits(fifth >> (4 * q)) << 4;
}

/// Bits [shift, shift + width) of 32 bytes, to be moved to `place`.
void add_bits(const uint8_t* at, uint32_t shift, uint32_t mask, uint32_t place, uint32_t* out) {
  for (uint32_t q = 0; q < quads; ++q) {
    out[q] |= ((word(at + 4 * q) >> shift) & each_byte(mask)) << place;
  }
}

void read_k(Format format, const uint8_t* block, uint32_t group, uint32_t* out) {
  const uint32_t half = group / 4, quarter = group % 4;
  switch (format) {
    case Format::q2_k: return add_bits(block + 16 + 32 * half, 2 * quarter, 3, 0, out);
    case Format::q3_k:
      add_bits(block + 32 + 32 * half, 2 * quarter, 3, 0, out);
      return add_bits(block, group, 1, 2, out);
    case Format::q4_k: return add_bits(block + 16 + 32 * (group / 2), 4 * (group % 2), 15, 0, out);
    case Format::q5_k:
      add_bits(block + 48 + 32 * (group / 2), 4 * (group % 2), 15, 0, out);
      return add_bits(block + 16, group, 1, 4, out);
    default:
      add_bits(block + 64 * half + 32 * (quarter % 2), 4 * (quarter / 2), 15, 0, out);
      add_bits(block + 128 + 32 * half, 2 * quarter, 3, 4, out);
  }
}

}  // namespace

void read_stream(const uint8_t* at, uint32_t bits, uint32_t* out) noexcept {
  const uint64_t mask = (uint64_t{1} << bits) - 1;
  for (uint32_t i = 0; i < quads; i += 2, at += bits) {
    uint64_t eight = 0;
    std::memcpy(&eight, at, bits);
    for (uint32_t q = i; q < i + 2; ++q) {
      out[q] = 0;
      for (uint32_t byte = 0; byte < 32; byte += 8, eight >>= bits) {
        out[q] |= static_cast<uint32_t>(eight & mask) << byte;
      }
    }
  }
}

void read_block(Format format, const uint8_t* block, uint32_t group, uint32_t* out) noexcept {
  std::memset(out, 0, quads * sizeof *out);
  switch (format) {
    case Format::q4_0:
    case Format::iq4_nl: return read_nibbles(block + 2, out);
    case Format::q4_1: return read_nibbles(block + 4, out);
    case Format::mxfp4: return read_nibbles(block + 1, out);
    case Format::q5_0: return read_five_bits(block + 2, out);
    case Format::q5_1: return read_five_bits(block + 4, out);
    case Format::q8_0:
      for (uint32_t q = 0; q < quads; ++q) out[q] = word(block + 2 + 4 * q) ^ each_byte(128);
      return;
    default: return read_k(format, block, group, out);
  }
}

void write_planes(uint32_t bits, const uint32_t* codes, uint32_t lane, uint8_t* planes) noexcept {
  const auto put = [&](uint32_t vector, uint32_t value) {
    write_word(planes + (vector * lanes + lane) * 4, value);
  };
  if (bits == 8) {
    for (uint32_t q = 0; q < quads; ++q) put(q, codes[q]);
    return;
  }
  uint32_t vector = 0, place = 0;
  if (bits >= 4) {
    for (; vector < 4; ++vector) {
      const uint32_t *low = codes + 2 * vector, mask = each_byte(15);
      put(vector, (low[0] & mask) | (low[1] & mask) << 4);
    }
    place = 4;
  }
  if (bits == 2 || bits == 3 || bits == 6) {
    for (uint32_t q = 0; q < quads; q += 4, ++vector) {
      uint32_t value = 0;
      for (uint32_t i = 0; i < 4; ++i) {
        value |= ((codes[q + i] >> place) & each_byte(3)) << (2 * i);
      }
      put(vector, value);
    }
    place += 2;
  }
  if (bits == 3 || bits == 5) {
    uint32_t value = 0;
    for (uint32_t q = 0; q < quads; ++q) value |= ((codes[q] >> place) & each_byte(1)) << q;
    put(vector, value);
  }
}

ScaleMinimum read_scale_minimum(const uint8_t* packed, uint32_t group) noexcept {
  if (group < 4) {
    return {static_cast<uint8_t>(packed[group] & 63), static_cast<uint8_t>(packed[group + 4] & 63)};
  }
  const uint8_t low = packed[group + 4];
  return {static_cast<uint8_t>((low & 15) | ((packed[group - 4] >> 6) << 4)),
          static_cast<uint8_t>((low >> 4) | ((packed[group] >> 6) << 4))};
}

int8_t read_q3_scale(const uint8_t* packed, uint32_t group) noexcept {
  const int low = (packed[group % 8] >> (4 * (group / 8))) & 15;
  const int high = (packed[8 + group % 4] >> (2 * (group / 4))) & 3;
  return static_cast<int8_t>((low | high << 4) - 32);
}

}  // namespace cidery::cpu
