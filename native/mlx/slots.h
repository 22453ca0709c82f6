#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "mlx/loaded_array.h"
#include "program/program.h"

/// Keys and values of every slot and cache. Lengths are the caller's business: an array holds
/// whatever was written last at each position, and a reader asks only for positions that hold
/// something.
namespace cidery::mlx {

/// Keys [1, key heads, n, head width] and values [1, key heads, n, value width].
struct KeyValue {
  mx::array keys, values;
};

class Slots {
 public:
  Slots(const std::vector<program::Cache>& caches, uint32_t slots, mx::Dtype dtype);

  /// Lets go of a slot's arrays.
  void retire(uint32_t slot);
  /// `to` shares the arrays of `from`; the first write to either copies.
  void copy(uint32_t from, uint32_t to);
  /// Writes the keys and values of positions [first, first + n) and returns those of [from, first +
  /// n).
  KeyValue update(uint32_t slot, uint32_t cache, uint32_t first, const KeyValue& fresh,
                  uint32_t from);
  /// Appends the arrays of a slot, to be evaluated with a step.
  void append_arrays(uint32_t slot, std::vector<mx::array>& arrays) const;

  /// Memory of all slots' arrays, shared ones counted once. Call between steps.
  uint64_t size_bytes() const;
  uint32_t array_count() const noexcept;

 private:
  using Slot = std::vector<std::optional<KeyValue>>;  // one a cache

  KeyValue grown(const std::optional<KeyValue>& held, const program::Cache& cache,
                 uint32_t positions) const;

  std::vector<program::Cache> caches_;
  mx::Dtype dtype_;
  std::vector<Slot> slots_;
};

}  // namespace cidery::mlx
