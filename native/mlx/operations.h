#pragma once

#include "mlx/loaded_array.h"
#include "mlx/weight.h"
#include "program/program.h"

/// One function an operation of the program (src/model/operations.ts), over streams of tokens
/// [T, width]. The formulas are those of mlx-lm and mlx.nn. Optional parameters come as null
/// pointers.
namespace cidery::mlx {

mx::array embed(const program::Embed& op, const Weight& table, const mx::array& tokens,
                mx::Dtype dtype);

/// RMS or layer norm over the last dimension, `kind` as in program::Norm.
mx::array norm(const mx::array& x, const Weight* weight, const Weight* bias, float epsilon,
               float weight_offset, uint32_t kind);

mx::array linear(const mx::array& x, const Weight& weight, const Weight* bias);

/// f(gate) * up, or f(gate) without up; `kind` as `activationKinds` has it.
mx::array activate(const mx::array& gate, const std::optional<mx::array>& up, uint32_t kind);

mx::array add(const mx::array& a, const mx::array& b, float scale_b);

/// cap * tanh(x / cap)
mx::array softcap(const mx::array& x, float cap);

/// Logits [rows, vocabulary] in f32.
mx::array head(const program::Head& op, const mx::array& x, const Weight& weight,
               const Weight* bias);

}  // namespace cidery::mlx
