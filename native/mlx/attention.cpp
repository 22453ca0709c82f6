#include "mlx/attention.h"

#include <algorithm>
#include <cmath>

#include "mlx/operations.h"
#include "mlx/rope.h"

namespace cidery::mlx {
namespace {

constexpr uint32_t norm_of_heads = 1;
constexpr uint32_t rms = 0;

/// The stream's q, k or v, normalized where the operation says so.
mx::array normalize(const program::Attention& op, const mx::array& x, const Weight* weight,
                    uint32_t heads) {
  if (op.norm_kind != norm_of_heads) return x;
  const auto count = static_cast<int>(heads), width = static_cast<int>(op.head_width);
  const mx::array split = mx::reshape(x, {x.shape(0), count, width});
  return mx::reshape(norm(split, weight, nullptr, op.norm_epsilon, op.norm_weight_offset, rms),
                     x.shape());
}

/// A sequence's rows as [1, heads, count, width].
mx::array to_heads(const mx::array& x, const SequenceRows& rows, uint32_t heads) {
  const auto first = static_cast<int>(rows.first_row), count = static_cast<int>(rows.count);
  const int width = x.shape(1) / static_cast<int>(heads);
  const mx::array part =
      count == x.shape(0) ? x : mx::slice(x, {first, 0}, {first + count, x.shape(1)});
  return mx::transpose(mx::reshape(part, {1, count, static_cast<int>(heads), width}), {0, 2, 1, 3});
}

/// Llama 4's temperature: 1 + beta * ln(1 + floor(position / original)), one factor a query.
mx::array scale_queries(const program::Attention& op, const mx::array& q,
                        const SequenceRows& rows) {
  if (op.query_scale_original == 0) return q;
  std::vector<float> factors(rows.count);
  for (uint32_t i = 0; i < rows.count; ++i) {
    const uint32_t turns = (rows.first_position + i) / op.query_scale_original;
    factors[i] = 1 + op.query_scale_beta * std::log(1 + static_cast<float>(turns));
  }
  const mx::array column(factors.begin(), {static_cast<int>(rows.count), 1});
  return mx::multiply(q, mx::astype(column, q.dtype()));
}

/// [count, keys]: which of the keys at positions from, from + 1 … each query sees.
mx::array window_mask(const SequenceRows& rows, uint32_t from, uint32_t window) {
  const auto count = static_cast<int>(rows.count), first = static_cast<int>(rows.first_position);
  const auto lower = static_cast<int>(from);
  const mx::array queries = mx::reshape(mx::arange(first, first + count), {count, 1});
  const mx::array keys = mx::arange(lower, first + count);
  mx::array seen = mx::greater_equal(queries, keys);
  if (window > 0) {
    const mx::array beyond = mx::add(keys, mx::array(static_cast<int>(window)));
    seen = mx::logical_and(seen, mx::less(queries, beyond));
  }
  return seen;
}

/// Composed as mlx-lm's gemma2.py has it, for MLX's fused attention knows no soft cap.
mx::array capped_attention(const program::Attention& op, const mx::array& q, const KeyValue& seen,
                           const std::optional<mx::array>& mask,
                           const std::optional<mx::array>& sinks) {
  const auto key_heads = static_cast<int>(op.key_heads);
  const int repeats = static_cast<int>(op.heads) / key_heads, count = q.shape(2);
  const mx::array scaled = mx::multiply(q, mx::array(op.scale, q.dtype()));
  const mx::array grouped = mx::reshape(scaled, {1, key_heads, repeats, count, q.shape(3)});
  const mx::array keys = mx::expand_dims(seen.keys, 2), values = mx::expand_dims(seen.values, 2);
  mx::array scores = softcap(mx::matmul(grouped, mx::swapaxes(keys, -1, -2)), op.softcap);
  if (mask) {
    const mx::array lowest(mx::finfo(scores.dtype()).min, scores.dtype());
    scores = mx::where(*mask, scores, lowest);
  }
  if (sinks) {
    const mx::array column = mx::reshape(*sinks, {1, key_heads, repeats, 1, 1});
    const mx::array each = mx::broadcast_to(column, {1, key_heads, repeats, count, 1});
    scores = mx::concatenate({each, scores}, -1);
  }
  mx::array weights = mx::softmax(scores, -1, true);
  if (sinks) {
    weights = mx::slice(weights, {0, 0, 0, 0, 1}, weights.shape());
  }
  return mx::reshape(mx::matmul(weights, values),
                     {1, static_cast<int>(op.heads), count, seen.values.shape(3)});
}

mx::array attend(const program::Attention& op, const mx::array& q, const KeyValue& seen,
                 const SequenceRows& rows, uint32_t from,
                 const std::optional<mx::array>& sinks) {
  const bool one = rows.count == 1;
  const bool windowed = op.window > 0 && rows.first_position + rows.count > op.window;
  if (op.softcap > 0) {
    std::optional<mx::array> mask;
    if (!one) mask = window_mask(rows, from, op.window);
    return capped_attention(op, q, seen, mask, sinks);
  }
  // A single query sees just the keys that were cut out for it.
  if (one || !windowed) {
    return mx::fast::scaled_dot_product_attention(q, seen.keys, seen.values, op.scale,
                                                  one ? "" : "causal", std::nullopt, sinks);
  }
  return mx::fast::scaled_dot_product_attention(q, seen.keys, seen.values, op.scale, "array",
                                                window_mask(rows, from, op.window), sinks);
}

/// Of an array that has heads along `axis`.
mx::array take_heads(const mx::array& x, int axis, uint32_t first, uint32_t count) {
  mx::Shape from(x.ndim(), 0), to = x.shape();
  from[axis] = static_cast<int>(first);
  to[axis] = static_cast<int>(first + count);
  return mx::slice(x, from, to);
}

/// MLX knows groups of one size alone: where a rank has a part of the first or the last group,
/// those parts and the groups between them attend each for themselves.
mx::array attend_in_groups(const program::Attention& op, const mx::array& q, const KeyValue& seen,
                           const SequenceRows& rows, uint32_t from,
                           const std::optional<mx::array>& sinks) {
  if (op.key_heads == 1 || op.heads == op.key_heads * op.group_heads) {
    return attend(op, q, seen, rows, from, sinks);
  }
  std::vector<mx::array> parts;
  for (uint32_t head = 0, key_head = 0; head < op.heads;) {
    const uint32_t left = op.heads - head, before = head == 0 ? op.first_in_group : 0;
    program::Attention part = op;
    const bool cut = before > 0 || left < op.group_heads;
    part.key_heads = cut ? 1 : left / op.group_heads;
    part.heads = std::min(left, part.key_heads * op.group_heads - before);
    const KeyValue own{take_heads(seen.keys, 1, key_head, part.key_heads),
                       take_heads(seen.values, 1, key_head, part.key_heads)};
    std::optional<mx::array> own_sinks;
    if (sinks) own_sinks = take_heads(*sinks, 0, head, part.heads);
    parts.push_back(attend(part, take_heads(q, 1, head, part.heads), own, rows, from, own_sinks));
    head += part.heads;
    key_head += part.key_heads;
  }
  return mx::concatenate(parts, 1);
}

}  // namespace

mx::array attention(const program::Attention& op, const AttentionContext& context,
                    const mx::array& q, const mx::array& k, const mx::array& v,
                    const std::vector<SequenceRows>& sequences, Slots& slots) {
  const mx::array queries = normalize(op, q, context.q_norm, op.heads);
  const mx::array keys = normalize(op, k, context.k_norm, op.key_heads);
  std::optional<mx::array> sinks;
  if (context.sinks != nullptr) sinks = context.sinks->vector();
  std::vector<mx::array> results;
  const auto turn = [&context](const mx::array& x, uint32_t first) {
    if (context.rope == nullptr) return x;
    return rotate(*context.rope, context.frequencies, x, first);
  };
  for (const SequenceRows& rows : sequences) {
    const uint32_t first = rows.first_position;
    const mx::array rotated =
        scale_queries(op, turn(to_heads(queries, rows, op.heads), first), rows);
    const KeyValue fresh{turn(to_heads(keys, rows, op.key_heads), first),
                         to_heads(v, rows, op.key_heads)};
    const uint32_t from = op.window > 0 && first >= op.window ? first + 1 - op.window : 0;
    const KeyValue seen = slots.update(rows.slot, op.cache, first, fresh, from);
    const mx::array out = attend_in_groups(op, rotated, seen, rows, from, sinks);
    results.push_back(mx::reshape(mx::transpose(out, {0, 2, 1, 3}),
                                  {static_cast<int>(rows.count),
                                   static_cast<int>(op.heads * op.value_width)}));
  }
  return results.size() == 1 ? results.front() : mx::concatenate(results, 0);
}

}  // namespace cidery::mlx
