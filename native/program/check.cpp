#include "program/check.h"

#include <cmath>
#include <set>

#include "base/error.h"
#include "program/check_operations.h"

namespace cidery::program {
namespace {

// Sizes beyond these are no model of today: what is below them cannot overflow an executor's sums.
constexpr uint32_t most_buffer_width = 1u << 24;
constexpr uint32_t most_vocabulary = 1u << 24;
constexpr uint32_t most_positions = 1u << 28;
constexpr uint32_t most_ranks = 256;
constexpr uint32_t most_dimension = 0x7fffffff;
constexpr uint64_t most_elements = uint64_t{1} << 40;

[[noreturn]] void fail(const std::string& message) { throw Error("program_invalid", message); }

void check_sizes(const Program& program) {
  if (program.vocabulary == 0 || program.vocabulary > most_vocabulary) {
    fail("the vocabulary's size is out of range");
  }
  if (program.context_length == 0 || program.context_length > most_positions) {
    fail("the context length is out of range");
  }
  if (program.ranks == 0 || program.ranks > most_ranks || program.rank >= program.ranks) {
    fail("rank " + std::to_string(program.rank) + " of " + std::to_string(program.ranks) +
         " is out of range");
  }
}

void check_buffers(const Program& program) {
  std::set<std::string> names;
  for (const Buffer& buffer : program.buffers) {
    const std::string where = "buffer '" + buffer.name + "': ";
    if (!names.insert(buffer.name).second) fail(where + "the name is there twice");
    if (buffer.width == 0 || buffer.width > most_buffer_width) fail(where + "width out of range");
  }
}

bool affine_is_known(const Storage& storage) {
  const bool bits = storage.bits >= 2 && storage.bits <= 8 && storage.bits != 7;
  const bool group = storage.group == 32 || storage.group == 64 || storage.group == 128;
  return bits && group;
}

/// Values that share a scale along the last dimension; 1 where there is none.
uint32_t group_length(const Storage& storage) {
  switch (storage.kind) {
    case StorageKind::affine:
      return storage.group;
    case StorageKind::mxfp4:
      return 32;
    case StorageKind::block:
      return block_length(storage.format);
    case StorageKind::dense:
      return 1;
  }
  return 1;
}

void check_storage(const Parameter& parameter, const std::string& where) {
  const Storage& storage = parameter.storage;
  const bool affine = storage.kind == StorageKind::affine;
  if (affine && !affine_is_known(storage)) {
    fail(where + "affine storage of " + std::to_string(storage.bits) + " bits in groups of " +
         std::to_string(storage.group) + " is unknown");
  }
  if (!affine && (storage.bits != 0 || storage.group != 0)) {
    fail(where + "bits and group belong to affine storage alone");
  }
  if (storage.kind != StorageKind::block && storage.format != BlockFormat::q4_0) {
    fail(where + "a block format belongs to block storage alone");
  }
  if (storage.kind == StorageKind::dense) return;
  if (parameter.shape.size() < 2) fail(where + "only matrices are stored in groups");
  if (parameter.shape.back() % group_length(storage) != 0) {
    fail(where + "the last dimension, " + std::to_string(parameter.shape.back()) +
         ", is no multiple of its group of " + std::to_string(group_length(storage)));
  }
}

void check_parameters(const Program& program) {
  std::set<std::string> paths;
  for (const Parameter& parameter : program.parameters) {
    const std::string where = "parameter '" + parameter.path + "': ";
    if (parameter.path.empty()) fail("a parameter has no path");
    if (!paths.insert(parameter.path).second) fail(where + "the path is there twice");
    if (parameter.shape.empty()) fail(where + "it has no dimensions");
    uint64_t elements = 1;
    for (const uint32_t size : parameter.shape) {
      if (size == 0 || size > most_dimension) fail(where + "a dimension is out of range");
      if (elements > most_elements / size) fail(where + "it is larger than any machine");
      elements *= size;
    }
    check_storage(parameter, where);
  }
}

bool positive(float value) { return std::isfinite(value) && value > 0; }

void check_dynamic(const Rope& rope, const std::string& where) {
  if (!std::isfinite(rope.dynamic_factor) || rope.dynamic_factor < 1) {
    fail(where + "dynamicFactor has to be 1 or more");
  }
  if (rope.dynamic_from == 0) return;
  if (!rope.frequencies.empty()) fail(where + "a dynamic rope has no frequencies of its own");
  if (rope.width < 4) fail(where + "a dynamic rope has 4 columns or more");
}

void check_ropes(const Program& program) {
  for (size_t i = 0; i < program.ropes.size(); ++i) {
    const Rope& rope = program.ropes[i];
    const std::string where = "rope " + std::to_string(i) + ": ";
    if (rope.width == 0 || rope.width % 2 != 0 || rope.width > most_buffer_width) {
      fail(where + "width is no even number in range");
    }
    if (!std::isfinite(rope.scale) || !std::isfinite(rope.pre_scale)) {
      fail(where + "scale and preScale have to be finite");
    }
    check_dynamic(rope, where);
    if (rope.frequencies.empty()) {
      if (!positive(rope.base)) fail(where + "base has to be above 0");
      continue;
    }
    if (rope.frequencies.size() != rope.width / 2) {
      fail(where + "frequencies has to hold width / 2 numbers");
    }
    for (const float frequency : rope.frequencies) {
      // Infinite: a pair that stands still (partial rotary embeddings that pad their table).
      if (std::isnan(frequency) || frequency <= 0) {
        fail(where + "every frequency has to be above 0");
      }
    }
  }
}

void check_caches(const Program& program) {
  for (size_t i = 0; i < program.caches.size(); ++i) {
    const Cache& cache = program.caches[i];
    for (const uint32_t size : {cache.key_heads, cache.head_width, cache.value_width}) {
      if (size == 0 || size > most_buffer_width) {
        fail("cache " + std::to_string(i) + ": a size is out of range");
      }
    }
  }
}

void check_layouts(const Program& program) {
  for (size_t i = 0; i < program.layouts.size(); ++i) {
    const std::string where = "layout " + std::to_string(i) + ": ";
    if (program.layouts[i].size() != program.ranks) fail(where + "it has not a width a rank");
    uint64_t width = 0;
    for (const uint32_t part : program.layouts[i]) {
      if (part == 0) fail(where + "a rank has no columns");
      width += part;
    }
    if (width > most_buffer_width) fail(where + "width out of range");
  }
}

}  // namespace

void check_program(const Program& program) {
  check_sizes(program);
  check_buffers(program);
  check_parameters(program);
  check_ropes(program);
  check_caches(program);
  check_layouts(program);
  check_operations(program);
}

}  // namespace cidery::program
