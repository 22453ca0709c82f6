#include "cpu/ops/heads.h"

#include <cmath>
#include <cstring>

namespace cidery::cpu {
namespace {

constexpr uint32_t norm_of_heads = 1;

}  // namespace

/// Normalizes and rotates the heads of one row.
void HeadsStep::prepare(const Tools& tools, const float* in, float* out, uint32_t heads,
                        const float* norm, uint32_t row) const noexcept {
  const uint32_t width = op.head_width;
  if (op.norm_kind == norm_of_heads) {
    tools.kernels.norm({in, width, out, width, heads, width, norm, nullptr, op.norm_epsilon,
                        op.norm_weight_offset, NormKind::rms});
  } else {
    std::memcpy(out, in, size_t{heads} * width * sizeof(float));
  }
  if (angles == nullptr) return;
  const program::Rope& rope = angles->rope();
  tools.kernels.rope({out, width, heads, rope.width, rope.traditional, angles->cosines(row),
                      angles->sines(row)});
}

void HeadsStep::run(const Tools& tools, uint32_t first, uint32_t count,
                    uint32_t thread) const noexcept {
  float* key = keys + size_t{thread} * k.width;
  for (uint32_t row = first; row < first + count; ++row) {
    const uint32_t position = tools.pass.positions[row];
    float* query = queries.row(row);
    prepare(tools, q.row(row), query, op.heads, q_norm, row);
    if (op.query_scale_original > 0) {
      // Llama 4's temperature.
      const uint32_t turns = position / op.query_scale_original;
      const float factor = 1 + op.query_scale_beta * std::log(1 + static_cast<float>(turns));
      for (uint32_t i = 0; i < q.width; ++i) query[i] *= factor;
    }
    prepare(tools, k.row(row), key, op.key_heads, k_norm, row);
    uint8_t* block = tools.cache.blocks(tools.pass.slots[row])[position / lanes];
    for (uint32_t head = 0; head < op.key_heads; ++head) {
      tools.kernels.write_cache({tools.cache.head(op.cache, head), block, position % lanes,
                                 key + size_t{head} * op.head_width,
                                 v.row(row) + size_t{head} * op.value_width});
    }
  }
}

uint64_t HeadsStep::row_nanoseconds() const noexcept {
  return (uint64_t{q.width} + 3 * k.width + v.width) / 2;
}

}  // namespace cidery::cpu
