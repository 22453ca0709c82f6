#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "group/group.h"
#include "mlx/loaded_array.h"

namespace cidery::mlx {

/// What ranks do with each other's activations, [rows, columns]: computed as far as it is needed,
/// on the host and in f32 between ranks. All throw Error with the group's code.
class Collectives {
 public:
  explicit Collectives(group::Group& group) : group_(group) {}

  /// The sum of all ranks' parts, in the type of the own.
  mx::array sum(const mx::array& part);
  /// All ranks' columns side by side; `layout` has how many each rank brings.
  mx::array gather(const mx::array& own, std::span<const uint32_t> layout);
  void send(const mx::array& values, uint32_t to);
  mx::array receive(uint32_t rows, uint32_t columns, mx::Dtype dtype, uint32_t from);

 private:
  group::Group& group_;
};

/// An array's values on the host, in f32 and without gaps; they hold as long as what is returned.
mx::array host_values(const mx::array& values);

}  // namespace cidery::mlx
