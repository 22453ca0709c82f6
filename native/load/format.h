#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "load/tensor_source.h"

namespace cidery::load {

/// A format's name in a manifest; `values` consecutive elements take `bytes`: one and its size, or
/// a block of GGUF.
struct FormatLayout {
  Format format;
  std::string_view name;
  uint32_t values, bytes;
};

inline constexpr std::array format_layouts = {
#define FORMAT(format, name, values, bytes) FormatLayout{Format::format, name, values, bytes},
#include "load/formats.def"
};

constexpr const FormatLayout& layout_of(Format format) noexcept {
  return format_layouts[static_cast<uint32_t>(format)];
}

constexpr std::optional<Format> format_named(std::string_view name) noexcept {
  for (const FormatLayout& layout : format_layouts) {
    if (layout.name == name) return layout.format;
  }
  return std::nullopt;
}

static_assert([] {
  for (uint32_t i = 0; i < format_layouts.size(); ++i) {
    if (format_layouts[i].format != static_cast<Format>(i)) return false;
  }
  return format_layouts.size() == static_cast<uint32_t>(Format::mxfp4) + 1;
}(), "formats.def has the order of load::Format");

}  // namespace cidery::load
