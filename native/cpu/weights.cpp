#include "cpu/weights.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <exception>
#include <mutex>
#include <utility>
#include <vector>

#include "load/dequantize.h"
#include "load/format.h"

namespace cidery::cpu {
namespace {

using load::Format;
using program::Parameter;
using program::StorageKind;

/// Mapped at a time; a matrix of a large model gets a slab of its own.
constexpr uint64_t slab_bytes = uint64_t{64} << 20;
/// What a task reads and packs: reading more at once gains little, and a core keeps this near.
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

/// A part of a matrix, read by rows.
class RowSource {
 public:
  /// `part` null: there is none, and its rows are empty.
  RowSource(const load::FileSet& files, const load::Part* part, uint64_t row_bytes)
      : files_(files), part_(part), row_bytes_(row_bytes) {
    if (part == nullptr || part->transforms.unpermute_heads == 0) return;
    // Its rows come from all over a head.
    reordered_.resize(size_of(part));
    files.read(*part, reordered_);
  }

  /// Room that `rows` needs.
  uint64_t room_bytes(uint64_t count) const { return round_up(row_bytes_ * count); }

  /// Rows [first, first + count), in `room` or where they are already.
  std::span<const std::byte> rows(uint64_t first, uint64_t count, std::byte* room) const {
    if (part_ == nullptr) return {};
    const uint64_t from = first * row_bytes_, size = count * row_bytes_;
    if (!reordered_.empty()) return std::span(reordered_).subspan(from, size);
    files_.read_some(*part_, from, {room, size});
    return {room, size};
  }

 private:
  const load::FileSet& files_;
  const load::Part* part_;
  const uint64_t row_bytes_;
  std::vector<std::byte> reordered_;
};

/// The first exception of tasks that run side by side.
class FirstFailure {
 public:
  void keep(std::exception_ptr failure) noexcept {
    const std::lock_guard lock(mutex_);
    if (failure_ == nullptr) failure_ = std::move(failure);
  }
  void rethrow() const {
    if (failure_ != nullptr) std::rethrow_exception(failure_);
  }

 private:
  std::mutex mutex_;
  std::exception_ptr failure_;
};

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

/// Room for reading, used again for the next parameter.
std::byte* Weights::room(uint64_t size_bytes) {
  if (room_.size_bytes() < size_bytes) room_ = Slab(size_bytes);
  return room_.data();
}

Weights::Loaded Weights::load_vector(const Parameter& parameter,
                                     const program::ParameterParts& parts,
                                     const load::FileSet& files) {
  if (parts.scales != nullptr) {
    program::parameter_mismatch(parameter, "a vector is packed in words");
  }
  const std::span<float> values(arena_.allocate_array<float>(parameter.shape[0]),
                                parameter.shape[0]);
  const uint64_t size = size_of(parts.weight);
  const std::span<std::byte> bytes(room(size), size);
  files.read(*parts.weight, bytes);
  widen(parts.weight->format, bytes, values);
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
  const RowSource weight(files, parts.weight, row.weight), scales(files, parts.scales, row.scales),
      biases(files, parts.biases, row.biases);
  const uint64_t size = packed_bytes(loaded.matrix);
  const std::span<std::byte> slab(arena_.allocate(size), size);
  loaded.matrix.data = reinterpret_cast<const uint8_t*>(slab.data());
  const uint32_t panels = panel_count(layout.outputs);
  const auto together = static_cast<uint32_t>(
      std::clamp<uint64_t>(task_bytes / std::max<uint64_t>(loaded.matrix.panel_bytes, 1), 1,
                           panels));
  const uint64_t most_rows = uint64_t{together} * lanes;
  const uint64_t scales_at = weight.room_bytes(most_rows);
  const uint64_t biases_at = scales_at + scales.room_bytes(most_rows);
  const uint64_t room_bytes = biases_at + biases.room_bytes(most_rows);
  std::byte* rooms = room(room_bytes * pool.threads());
  FirstFailure failure;
  pool.parallel_for((panels + together - 1) / together, [&](uint32_t task,
                                                            uint32_t thread) noexcept {
    const uint32_t first = task * together, count = std::min(together, panels - first);
    const uint64_t first_row = uint64_t{first} * lanes;
    const uint64_t row_count = std::min<uint64_t>(uint64_t{count} * lanes, rows - first_row);
    std::byte* own = rooms + thread * room_bytes;
    try {
      const RawRows part{weight.rows(first_row, row_count, own),
                         scales.rows(first_row, row_count, own + scales_at),
                         biases.rows(first_row, row_count, own + biases_at)};
      pack_panels(loaded.matrix, layout, part, first, count, slab);
    } catch (...) {
      failure.keep(std::current_exception());
    }
  });
  failure.rethrow();
  return loaded;
}

}  // namespace cidery::cpu
