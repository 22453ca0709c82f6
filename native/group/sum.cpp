#include "group/sum.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

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

void load(float* to, const void* part, size_t at, size_t count, Element element) noexcept {
  if (element == Element::f32) {
    std::memcpy(to, static_cast<const float*>(part) + at, count * sizeof(float));
    return;
  }
  const auto* from = static_cast<const uint16_t*>(part) + at;
  for (size_t i = 0; i < count; ++i) to[i] = widen(from[i]);
}

void store(void* out, size_t at, const float* from, size_t count, Element element) noexcept {
  if (element == Element::f32) {
    std::memcpy(static_cast<float*>(out) + at, from, count * sizeof(float));
    return;
  }
  auto* to = static_cast<uint16_t*>(out) + at;
  for (size_t i = 0; i < count; ++i) to[i] = round_to_bf16(from[i]);
}

}  // namespace

void add_in_order(void* out, std::span<const void* const> parts, size_t count,
                  Element element) noexcept {
  std::array<float, block> sum, part;
  for (size_t at = 0; at < count; at += block) {
    const size_t now = std::min(block, count - at);
    load(sum.data(), parts[0], at, now, element);
    for (size_t r = 1; r < parts.size(); ++r) {
      load(part.data(), parts[r], at, now, element);
      for (size_t i = 0; i < now; ++i) sum[i] += part[i];
    }
    store(out, at, sum.data(), now, element);
  }
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
