#include "cpu/weights.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "load/dequantize.h"
#include "load/format.h"

namespace cidery::cpu {
namespace {

using load::Format;
using program::Parameter;
using program::StorageKind;

/// Mapped at a time; a matrix of a large model gets a slab of its own.
constexpr uint64_t slab_bytes = uint64_t{64} << 20;
/// What a task packs.
constexpr uint64_t task_bytes = uint64_t{256} << 10;

uint64_t round_up(uint64_t value) { return (value + 63) / 64 * 64; }

uint64_t size_of(const load::Part* part) {
  return part == nullptr ? 0 : load::FileSet::size_bytes(*part);
}

uint16_t half_at(std::span<const std::byte> bytes, size_t index) {
  uint16_t bits = 0;
  std::memcpy(&bits, bytes.data() + index * 2, 2);
  return bits;
}

/// Values of a dense or block part in f32.
void widen(Format format, std::span<const std::byte> bytes, std::span<float> values) {
  if (format == Format::f32) {
    std::memcpy(values.data(), bytes.data(), values.size_bytes());
  } else if (format == Format::f16) {
    for (size_t i = 0; i < values.size(); ++i) values[i] = load::half_to_float(half_at(bytes, i));
  } else if (format == Format::bf16) {
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = std::bit_cast<float>(uint32_t{half_at(bytes, i)} << 16);
    }
  } else {
    load::dequantize(format, bytes, values);
  }
}

RawLayout layout_of(const Parameter& parameter, const program::ParameterParts& parts) {
  RawLayout layout;
  layout.storage = parameter.storage;
  layout.weight = parts.weight->format;
  if (parts.scales != nullptr) layout.factors = parts.scales->format;
  layout.add = parts.weight->transforms.add;
  layout.outputs = parameter.shape[0];
  layout.inputs = parameter.shape[1];
  return layout;
}

std::span<const std::byte> rows_of(std::span<const std::byte> bytes, uint64_t row_bytes,
                                   uint64_t first, uint64_t count) {
  return bytes.subspan(first * row_bytes, count * row_bytes);
}

}  // namespace

Weights::Weights(const std::vector<Parameter>& parameters, uint32_t split)
    : split_(split), arena_(slab_bytes), loaded_(parameters.size()) {}

void Weights::load(const Parameter& parameter, const load::ParameterSource& source,
                   const load::FileSet& files, Pool& pool) {
  const program::ParameterParts parts = program::check_parts(parameter, source);
  if (parameter.shape.size() > 2) {
    program::parameter_mismatch(parameter, "it has more than two dimensions");
  }
  if (std::ranges::count(parameter.shape, 0u) > 0) {
    program::parameter_mismatch(parameter, "it is empty");
  }
  const uint64_t needed = round_up(size_of(parts.weight)) + round_up(size_of(parts.scales)) +
                          round_up(size_of(parts.biases));
  if (room_.size_bytes() < needed) room_ = Slab(needed);
  if (parameter.shape.size() == 1) {
    loaded_[source.parameter] = load_vector(parameter, parts, files);
    return;
  }
  RawLayout layout = layout_of(parameter, parts);
  layout.split = source.parameter == split_;
  loaded_[source.parameter] = load_matrix(layout, parameter, parts, files, pool);
}

void Weights::finish(const std::vector<Parameter>& parameters) {
  const auto missing =
      std::ranges::find_if(loaded_, [](const auto& loaded) { return !loaded.has_value(); });
  if (missing != loaded_.end()) {
    const Parameter& parameter = parameters[static_cast<size_t>(missing - loaded_.begin())];
    throw Error("parameter_missing", parameter.path + " was not loaded");
  }
  room_ = Slab();
}

/// The part's bytes, which take the room from byte `at` on.
std::span<const std::byte> Weights::read(const load::Part* part, const load::FileSet& files,
                                         uint64_t at) {
  if (part == nullptr) return {};
  const std::span<std::byte> bytes(room_.data() + at, size_of(part));
  files.read(*part, bytes);
  return bytes;
}

Weights::Loaded Weights::load_vector(const Parameter& parameter,
                                     const program::ParameterParts& parts,
                                     const load::FileSet& files) {
  if (parts.scales != nullptr) {
    program::parameter_mismatch(parameter, "a vector is packed in words");
  }
  const std::span<float> values(arena_.allocate_array<float>(parameter.shape[0]),
                                parameter.shape[0]);
  widen(parts.weight->format, read(parts.weight, files, 0), values);
  for (float& value : values) value += parts.weight->transforms.add;
  return {{}, values.data()};
}

Weights::Loaded Weights::load_matrix(const RawLayout& layout, const Parameter& parameter,
                                     const program::ParameterParts& parts,
                                     const load::FileSet& files, Pool& pool) {
  Loaded loaded;
  try {
    loaded.matrix = plan_packing(layout);
  } catch (const Error& error) {
    program::parameter_mismatch(parameter, error.what());
  }
  const RawRowBytes row = raw_row_bytes(layout);
  const uint64_t rows = layout.outputs;
  if (row.weight * rows != size_of(parts.weight) || row.scales * rows != size_of(parts.scales) ||
      row.biases * rows != size_of(parts.biases)) {
    program::parameter_mismatch(parameter, "its pieces do not add up to its shape");
  }
  const uint64_t scales_at = round_up(size_of(parts.weight));
  const uint64_t biases_at = scales_at + round_up(size_of(parts.scales));
  const RawRows raw{read(parts.weight, files, 0), read(parts.scales, files, scales_at),
                    read(parts.biases, files, biases_at)};
  const uint64_t size = packed_bytes(loaded.matrix);
  const std::span<std::byte> slab(arena_.allocate(size), size);
  loaded.matrix.data = reinterpret_cast<const uint8_t*>(slab.data());
  const uint32_t panels = panel_count(layout.outputs);
  const auto together = static_cast<uint32_t>(
      std::clamp<uint64_t>(task_bytes / std::max<uint64_t>(loaded.matrix.panel_bytes, 1), 1,
                           panels));
  // The sizes were checked, so nothing is thrown within.
  pool.parallel_for((panels + together - 1) / together, [&](uint32_t task, uint32_t) noexcept {
    const uint32_t first = task * together, count = std::min(together, panels - first);
    const uint64_t first_row = uint64_t{first} * lanes;
    const uint64_t row_count = std::min<uint64_t>(uint64_t{count} * lanes, rows - first_row);
    const RawRows part{rows_of(raw.weight, row.weight, first_row, row_count),
                       rows_of(raw.scales, row.scales, first_row, row_count),
                       rows_of(raw.biases, row.biases, first_row, row_count)};
    pack_panels(loaded.matrix, layout, part, first, count, slab);
  });
  return loaded;
}

}  // namespace cidery::cpu
