#pragma once

#include <cstddef>
#include <span>

#include "group/group.h"

namespace cidery::group {

constexpr size_t bytes_of(Element element) noexcept { return element == Element::f32 ? 4 : 2; }

/// `out`[i] = parts[0][i] + parts[1][i] + …, in that order, in f32, rounded once to `element`
/// (nearest even; what is no number stays none). Each part has `count` elements and may be `out`.
/// The result of an element depends on its parts alone, not on its place.
void add_in_order(void* out, std::span<const void* const> parts, size_t count,
                  Element element) noexcept;

/// The elements of rank `rank` when `count` are shared out over `ranks`: [first, first + count).
struct Share {
  size_t first, count;
};
Share share_of(size_t count, uint32_t rank, uint32_t ranks) noexcept;

}  // namespace cidery::group
