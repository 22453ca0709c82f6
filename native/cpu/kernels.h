#pragma once

#include <stddef.h>
#include <stdint.h>

/// The arithmetic of the cpu executor as a table of functions, one table an instruction set. All
/// tables give equal bits for equal arguments, and a row's result never depends on the other rows
/// of a call. No function allocates, throws, keeps state or reads outside what its arguments name.
/// This header is seen by code compiled for one instruction set: it holds plain data only.
namespace cidery::cpu {

/// Outputs of a matrix that are computed side by side, and positions of a cache block.
inline constexpr uint32_t lanes = 16;
/// Inputs that share a scale when activations are quantized.
inline constexpr uint32_t activation_group = 32;
/// Positions of a span: attention works on spans of absolute positions [512 s, 512 s + 512).
inline constexpr uint32_t span_positions = 512;

/// How a packed matrix holds its weights (pack.h has the bytes). Affine: scale * code + bias in
/// groups of 32, 64 or 128 inputs. Signed: scale * (code - 2^(bits - 1)) in groups of 32. The rest
/// as GGUF has them. split8: signed8 whose upper 5 bits can be read without the lower 3.
enum class PackedFormat : uint32_t {
  f32, f16, bf16,
  affine2, affine3, affine4, affine5, affine6, affine8,
  signed4, signed5, signed8, split8,
  iq4_nl, mxfp4,
  q2_k, q3_k, q4_k, q5_k, q6_k
};
inline constexpr uint32_t packed_format_count = 20;

/// Type of a packed format's scales and biases.
enum class FactorType : uint32_t { f16, bf16, f32 };

/// A matrix [outputs, inputs] in panels of 16 outputs; made by pack.h.
struct PackedWeight {
  PackedFormat format = PackedFormat::f32;
  FactorType factors = FactorType::f32;
  uint32_t group = 0;  // inputs that share a scale; dense: 0
  uint32_t outputs = 0, inputs = 0;
  uint64_t panel_bytes = 0;
  uint64_t lower_bytes = 0;  // split8: of a panel's lower bits, which lie behind all panels
  const uint8_t* data = nullptr;  // 64-byte aligned, panel_count(outputs) * (both)
};

constexpr uint32_t panel_count(uint32_t outputs) { return (outputs + lanes - 1) / lanes; }
constexpr bool is_dense(PackedFormat format) { return format <= PackedFormat::bf16; }

/// What matmul needs to know of 32 inputs of a row besides their values. Quantized, a value is
/// scale * (code + middle): groups with an outlier use all codes, too.
struct GroupRecord {
  float scale;         // else 0
  float sum;           // of the 32 values (quantized: of what the codes stand for)
  float half_sums[2];  // of each 16
  int32_t code_sums[2];  // quantized: sums of 16 code + middle each
  int32_t middle;
};

/// Rows of activations for `matmul_fast` or `matmul_precise`. `inputs` is a multiple of 32.
struct PrepareArguments {
  const float* in;  // row r: in + r * in_stride
  size_t in_stride;
  uint32_t rows, inputs;
  int8_t* codes;        // [rows, inputs]; `sum_groups` leaves it alone
  GroupRecord* groups;  // [rows, inputs / 32]
};

/// out[r, o] = sum over i of in[r, i] * weight[o, i], + bias[o], for the outputs of some panels.
struct MatmulArguments {
  const PackedWeight* weight;
  uint32_t first_panel, panel_count;
  uint32_t rows;
  const float* in;  // matmul_precise only: [rows], in_stride apart
  size_t in_stride;
  const int8_t* codes;        // matmul_fast only: [rows, inputs]
  const GroupRecord* groups;  // [rows, inputs / 32]; not read for dense weights
  const float* bias;          // [outputs], or null
  float* out;                 // row r, output o: out[r * out_stride + o]
  size_t out_stride;
};

/// How far the lower bits of a split8 group can bring a product above what the upper ones make of
/// it, for a scale of 1: where the scale is positive, and where it is negative.
struct Margin {
  float positive, negative;
};

/// Margins of the groups of quantized rows. They have room for what both products lose to rounding.
struct MarginArguments {
  const int8_t* codes;        // [rows, inputs]
  const GroupRecord* groups;  // [rows, inputs / 32]
  uint32_t rows, inputs;
  Margin* margins;  // [rows, inputs / 32]
};

/// For each row and panel a bound: no output of the panel is above it, as matmul_fast computes it
/// without a bias. Infinite where a weight or a value is not finite.
struct BoundArguments {
  const PackedWeight* weight;  // split8
  uint32_t first_panel, panel_count;
  uint32_t rows;
  const int8_t* codes;        // [rows, inputs]
  const GroupRecord* groups;  // [rows, inputs / 32]
  const Margin* margins;      // [rows, inputs / 32]
  float* bounds;              // row r, panel p: bounds[r * bound_stride + p]
  size_t bound_stride;
};

/// out[i] = weight[row, i] * scale, i below `inputs`: an embedding.
struct LookupArguments {
  const PackedWeight* weight;
  uint32_t row;
  float scale;
  float* out;
};

enum class NormKind : uint32_t { rms = 0, layer = 1 };
/// (x - mean if layer) / sqrt(mean square + epsilon) * (weight + weight_offset) + bias a row.
struct NormArguments {
  const float* in;
  size_t in_stride;
  float* out;  // may be `in`
  size_t out_stride;
  uint32_t rows, width;
  const float* weight;  // [width], or null: 1
  const float* bias;    // [width], or null
  float epsilon, weight_offset;
  NormKind kind;
};

/// Turns the first `width` values of each head of one row. Pair i is (i, i + width / 2), or
/// (2 i, 2 i + 1) where traditional: (a, b) becomes (a c - b s, b c + a s).
struct RopeArguments {
  float* values;  // head h: values + h * head_stride
  size_t head_stride;
  uint32_t heads, width;
  bool traditional;
  const float* cosines;  // [width / 2] for the row's position
  const float* sines;
};

/// Keys and values as they are, or as bytes: low + scale * code, where low and scale are bf16.
enum class CacheType : uint32_t { u8, f32 };
/// Channels of a key that share a scale in a cache of bytes; the channels of a value share one.
inline constexpr uint32_t key_group = 32;

/// A cache block holds 16 positions of one layer's cache. At `key_offset` bytes of it lie one key
/// head's keys, at `value_offset` its values. Both offsets are multiples of 64.
/// f32: keys [key_width][16 positions], values [16 positions][value_stride(value_width)].
/// u8: keys in groups of 32 channels, each [channels / 4, rounded up][16 positions][4 channels]
/// codes, 16 scales, 16 lows; values [16 channels at a time][4 positions at a time][16 channels]
/// [4 positions] codes, then 16 scales and 16 lows of the positions.
struct CacheHead {
  CacheType type;
  size_t key_offset, value_offset;
  uint32_t key_width, value_width;
};

/// Channels of a position's values in whole vectors; what is behind value_width means nothing.
constexpr uint32_t value_stride(uint32_t value_width) {
  return (value_width + lanes - 1) / lanes * lanes;
}

/// Bytes of the scales and lows of 16 positions.
inline constexpr size_t cache_factor_bytes = 64;
/// Bytes of one head's keys and values in a block; multiples of 64.
constexpr size_t key_block_bytes(CacheType type, uint32_t key_width) {
  if (type == CacheType::f32) return size_t{key_width} * lanes * sizeof(float);
  const size_t groups = (key_width + key_group - 1) / key_group, quads = (key_width + 3) / 4;
  return quads * lanes * 4 + groups * cache_factor_bytes;
}
constexpr size_t value_block_bytes(CacheType type, uint32_t value_width) {
  const size_t elements = size_t{value_stride(value_width)} * lanes;
  return type == CacheType::f32 ? elements * sizeof(float) : elements + cache_factor_bytes;
}

/// Writes one position of one key head.
struct CacheWriteArguments {
  CacheHead head;
  uint8_t* block;
  uint32_t place;      // 0 to 15: position % 16
  const float* key;    // [key_width]
  const float* value;  // [value_width]
};

/// Queries of one sequence that read one key head, over one span of positions. Query (t, h), token
/// t at absolute position first_position + t and head h of the `heads` that share the key head,
/// sees key position p when 0 <= first_position + t - p, and < window where window > 0.
struct AttentionArguments {
  CacheHead head;
  const uint8_t* const* blocks;  // of the sequence: block b holds positions 16 b to 16 b + 15
  uint32_t span;                 // positions [512 span, 512 span + 512)
  const float* queries;          // (t, h): queries + t * token_stride + h * head_stride
  size_t token_stride, head_stride;
  uint32_t tokens, heads;
  uint32_t first_position;
  uint32_t window;  // 0: no limit
  float scale, softcap;  // softcap 0: none
  /// (t, h) at (t * heads + h) * partial_floats(value_width): largest score, sum of weights (0
  /// where the span shows nothing to this query), 14 unused, then [value_stride(value_width)] sums
  /// of weighted values.
  float* partials;
  /// What the caller computes after this, of which keys are asked for meanwhile: so many blocks of
  /// one span, and where the keys lie in them. 0: nothing is known.
  const uint8_t* const* next_blocks = nullptr;
  uint32_t next_count = 0;
  size_t next_key_offset = 0;
  bool keys_asked = false;  // the call before has named this one's keys so
};
constexpr size_t partial_floats(uint32_t value_width) {
  return lanes + size_t{value_stride(value_width)};
}

/// The spans of one query put together in ascending order, whoever computed them.
struct AttentionMergeArguments {
  const float* partials;  // of the query's first span
  size_t span_stride;     // floats from one span's partial to the next one's
  uint32_t spans, value_width;
  const float* sink;  // a score that takes weight and has no value, or null
  float* out;         // [value_width]
};

enum class ActivationKind : uint32_t { silu, gelu, gelu_tanh, relu, relu_squared };
/// out = f(gate) * up for each of `count` values; `up` null: f(gate). `out` may be an input.
struct ActivateArguments {
  const float* gate;
  const float* up;
  float* out;
  size_t count;
  ActivationKind kind;
};

/// out = a + scale_b * b, one rounding; `out` may be an input.
struct AddArguments {
  const float* a;
  const float* b;
  float* out;
  size_t count;
  float scale_b;
};

/// values = cap * tanh(values * scale / cap) in place; cap 0: values * scale.
struct SoftcapArguments {
  float* values;
  size_t count;
  float scale, cap;
};

/// halves[i] = values[i] as bf16, nearest even; what is no number stays none.
struct RoundArguments {
  const float* values;
  uint16_t* halves;
  size_t count;
};
/// values[i] = halves[i], which are bf16.
struct WidenArguments {
  const uint16_t* halves;
  float* values;
  size_t count;
};

/// The largest of `count` values, the lowest index that has it, and whether all are finite (else
/// the other two mean nothing). `count` is at least 1.
struct Largest {
  float value;
  uint32_t index;
  bool finite;
};

struct Kernels {
  const char* name;  // of the instruction set
  uint32_t row_tile;  // rows that share a load of weights: cut work in multiples of it
  /// int8 codes of groups of 32 over the group's own range: scale = range / 254, middle is what the
  /// middle of the range is in scales; a group that is not finite has scale NaN.
  void (*quantize_rows)(const PrepareArguments&);
  /// Only the sums of the groups: what matmul_precise needs.
  void (*sum_groups)(const PrepareArguments&);
  /// int8 activations: quantized formats only.
  void (*matmul_fast)(const MatmulArguments&);
  /// f32 activations: every format.
  void (*matmul_precise)(const MatmulArguments&);
  /// What matmul_fast cannot exceed, from the upper bits alone.
  void (*find_margins)(const MarginArguments&);
  void (*bound)(const BoundArguments&);
  void (*lookup)(const LookupArguments&);
  void (*norm)(const NormArguments&);
  void (*rope)(const RopeArguments&);
  void (*write_cache)(const CacheWriteArguments&);
  void (*attend)(const AttentionArguments&);
  void (*merge_attention)(const AttentionMergeArguments&);
  void (*activate)(const ActivateArguments&);
  void (*add)(const AddArguments&);
  void (*softcap)(const SoftcapArguments&);
  void (*round)(const RoundArguments&);
  void (*widen)(const WidenArguments&);
  Largest (*largest)(const float* values, size_t count);
};

}  // namespace cidery::cpu
