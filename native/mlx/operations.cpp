#include "mlx/operations.h"

#include <cmath>
#include <numbers>
#include <stdexcept>

namespace cidery::mlx {
namespace {

/// A constant in the type of the array it meets, so that 16-bit activations stay what they are.
mx::array scalar(float value, const mx::array& like) { return mx::array(value, like.dtype()); }

mx::array gelu(const mx::array& x) {
  const mx::array scaled = mx::divide(x, scalar(std::numbers::sqrt2_v<float>, x));
  const mx::array one = mx::add(scalar(1, x), mx::erf(scaled));
  return mx::divide(mx::multiply(x, one), scalar(2, x));
}

mx::array gelu_tanh(const mx::array& x) {
  const mx::array cube = mx::multiply(scalar(0.044715f, x), mx::power(x, scalar(3, x)));
  const auto root = static_cast<float>(std::sqrt(2 / std::numbers::pi));
  const mx::array inner = mx::multiply(scalar(root, x), mx::add(x, cube));
  return mx::multiply(mx::multiply(scalar(0.5f, x), x), mx::add(scalar(1, x), mx::tanh(inner)));
}

mx::array apply(const mx::array& x, uint32_t kind) {
  switch (kind) {
    case 0: return mx::multiply(x, mx::sigmoid(x));
    case 1: return gelu(x);
    case 2: return gelu_tanh(x);
    case 3: return mx::maximum(x, scalar(0, x));
    case 4: return mx::square(mx::maximum(x, scalar(0, x)));
    default: throw std::logic_error("an activation has an unknown kind");
  }
}

}  // namespace

mx::array embed(const program::Embed& op, const Weight& table, const mx::array& tokens,
                mx::Dtype dtype) {
  const mx::array rows = table.lookup(tokens, dtype);
  return op.scale == 1 ? rows : mx::multiply(rows, scalar(op.scale, rows));
}

mx::array norm(const mx::array& x, const Weight* weight, const Weight* bias, float epsilon,
               float weight_offset, uint32_t kind) {
  std::optional<mx::array> scale;
  if (weight != nullptr) {
    const mx::array& values = weight->vector();
    scale = weight_offset == 0 ? values : mx::add(scalar(weight_offset, values), values);
  }
  if (kind == 0) return mx::fast::rms_norm(x, scale, epsilon);
  std::optional<mx::array> shift;
  if (bias != nullptr) shift = bias->vector();
  return mx::fast::layer_norm(x, scale, shift, epsilon);
}

mx::array linear(const mx::array& x, const Weight& weight, const Weight* bias) {
  const mx::array product = weight.matmul(x);
  return bias == nullptr ? product : mx::add(product, bias->vector());
}

mx::array activate(const mx::array& gate, const std::optional<mx::array>& up, uint32_t kind) {
  const mx::array value = apply(gate, kind);
  return up ? mx::multiply(value, *up) : value;
}

mx::array add(const mx::array& a, const mx::array& b, float scale_b) {
  return mx::add(a, scale_b == 1 ? b : mx::multiply(b, scalar(scale_b, b)));
}

mx::array softcap(const mx::array& x, float cap) {
  return mx::multiply(scalar(cap, x), mx::tanh(mx::divide(x, scalar(cap, x))));
}

mx::array head(const program::Head& op, const mx::array& x, const Weight& weight,
               const Weight* bias) {
  mx::array logits = mx::astype(linear(x, weight, bias), mx::float32);
  if (op.scale != 1) logits = mx::multiply(logits, scalar(op.scale, logits));
  return op.softcap > 0 ? softcap(logits, op.softcap) : logits;
}

}  // namespace cidery::mlx
