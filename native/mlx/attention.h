#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "mlx/loaded_array.h"
#include "mlx/slots.h"
#include "mlx/weight.h"
#include "program/program.h"

namespace cidery::mlx {

/// A sequence's rows of the step's stream of tokens.
struct SequenceRows {
  uint32_t slot = 0;
  uint32_t first_row = 0;
  uint32_t count = 0;
  uint32_t first_position = 0;
};

/// What an attention operation refers to, resolved.
struct AttentionContext {
  const Weight* q_norm = nullptr;
  const Weight* k_norm = nullptr;
  const Weight* sinks = nullptr;
  const program::Rope* rope = nullptr;
  std::optional<mx::array> frequencies;  // of the rope, where it has them
};

/// Causal attention of all sequences: q [T, heads * head width], k and v likewise; the result is
/// [T, heads * value width]. Each sequence attends to its own slot, which gets the new keys and
/// values.
mx::array attention(const program::Attention& op, const AttentionContext& context,
                    const mx::array& q, const mx::array& k, const mx::array& v,
                    const std::vector<SequenceRows>& sequences, Slots& slots);

}  // namespace cidery::mlx
