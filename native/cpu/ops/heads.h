#pragma once

#include <vector>

#include "cpu/ops/angles.h"
#include "cpu/pass.h"
#include "program/program.h"

namespace cidery::cpu {

/// The first half of an attention operation: q and k are normalized, rotated and scaled, and keys
/// and values go to the cache.
struct HeadsStep {
  program::Attention op;
  View q, k, v;
  View queries;          // what attention reads; q stays as it is
  float* keys;           // room for one row of k a thread
  const float* q_norm;   // null where the operation has none
  const float* k_norm;
  const Angles* angles;  // null where the layer has no positions

  void run(const Tools& tools, uint32_t first, uint32_t count, uint32_t thread) const noexcept;
  uint64_t row_nanoseconds() const noexcept;

 private:
  void prepare(const Tools& tools, const float* in, float* out, uint32_t heads, const float* norm,
               uint32_t row) const noexcept;
};

}  // namespace cidery::cpu
