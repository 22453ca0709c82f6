#pragma once

#include <optional>
#include <vector>

#include "base/slab.h"
#include "cpu/kernels.h"
#include "cpu/pack.h"
#include "cpu/pool.h"
#include "load/tensor_source.h"
#include "program/parameter_parts.h"
#include "program/program.h"

namespace cidery::cpu {

/// The parameters of a program in memory: matrices in panels (pack.h), vectors in f32.
class Weights {
 public:
  /// `split`: a matrix whose upper bits will be read alone (RawLayout), or program::none.
  Weights(const std::vector<program::Parameter>& parameters, uint32_t split);

  /// Reads a parameter and packs it on the pool, each thread a few rows at a time. Throws Error
  /// `parameter_mismatch`, `out_of_memory` and what reading throws.
  void load(const program::Parameter& parameter, const load::ParameterSource& source,
            const load::FileSet& files, Pool& pool);
  /// Gives back the room for reading. Throws Error `parameter_missing` with the first path that
  /// was not loaded.
  void finish(const std::vector<program::Parameter>& parameters);

  /// A parameter of two dimensions.
  const PackedWeight& matrix(uint32_t index) const { return loaded_[index]->matrix; }
  /// A parameter of one dimension; null for program::none.
  const float* vector(uint32_t index) const {
    return index == program::none ? nullptr : loaded_[index]->values;
  }
  uint64_t used_bytes() const noexcept { return arena_.used_bytes(); }

 private:
  struct Loaded {
    PackedWeight matrix;
    const float* values = nullptr;
  };

  std::byte* room(uint64_t size_bytes);
  Loaded load_vector(const program::Parameter& parameter, const program::ParameterParts& parts,
                     const load::FileSet& files);
  Loaded load_matrix(const RawLayout& layout, const program::Parameter& parameter,
                     const program::ParameterParts& parts, const load::FileSet& files, Pool& pool);

  const uint32_t split_;
  Arena arena_;
  Slab room_;  // for reading
  std::vector<std::optional<Loaded>> loaded_;
};

}  // namespace cidery::cpu
