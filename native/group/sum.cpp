#include "group/sum.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

namespace cidery::group {
namespace {

/// Elements added at once: what is between two reads of memory stays in the first cache.
constexpr size_t block = 512;
/// Shares begin at whole cache lines of either element.
constexpr size_t share_unit = 32;

float widen(uint16_t value) noexcept { return std::bit_cast<float>(uint32_t{value} << 16); }

uint16_t round_to_bf16(float value) noexcept {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1);
  const bool is_number = (bits & 0x7fffffff) <= 0x7f800000;
  return static_cast<uint16_t>((is_number ? rounded : bits | 0x400000) >> 16);
}

float widen(float value) noexcept { return value; }

void round(float* to, float value) noexcept { *to = value; }
void round(uint16_t* to, float value) noexcept { *to = round_to_bf16(value); }

template <class Value>
void add(Value* out, std::span<const void* const> parts, size_t count) noexcept {
  std::array<float, block> sum;
  for (size_t at = 0; at < count; at += block) {
    const size_t now = std::min(block, count - at);
    const auto part = [&](size_t r) { return static_cast<const Value*>(parts[r]) + at; };
    const Value* first = part(0);
    for (size_t i = 0; i < now; ++i) sum[i] = widen(first[i]);
    for (size_t r = 1; r < parts.size(); ++r) {
      const Value* next = part(r);
      for (size_t i = 0; i < now; ++i) sum[i] += widen(next[i]);
    }
    for (size_t i = 0; i < now; ++i) round(out + at + i, sum[i]);
  }
}

}  // namespace

void add_in_order(void* out, std::span<const void* const> parts, size_t count,
                  Element element) noexcept {
  if (element == Element::f32) add(static_cast<float*>(out), parts, count);
  else add(static_cast<uint16_t*>(out), parts, count);
}

Share share_of(size_t count, uint32_t rank, uint32_t ranks) noexcept {
  const size_t units = (count + share_unit - 1) / share_unit;
  const auto first_of = [&](uint32_t r) {
    return std::min(count, (units / ranks * r + std::min<size_t>(r, units % ranks)) * share_unit);
  };
  const size_t first = first_of(rank);
  return {first, first_of(rank + 1) - first};
}

}  // namespace cidery::group
