#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

/// The step program: what `src/model/program.ts` describes, decoded and checked. Knows no
/// arithmetic.
namespace cidery::program {

inline constexpr uint32_t none = 0xffffffffu;

/// Columns [column, column + width) of a buffer; width 0 where an optional input is absent.
struct Columns {
  uint32_t buffer = 0;
  uint32_t column = 0;
  uint32_t width = 0;
};

enum class Domain : uint32_t { tokens = 0, selected = 1 };
struct Buffer {
  std::string name;
  uint32_t width = 0;
  Domain domain = Domain::tokens;
};

/// GGUF's block layouts, in the order of `blockFormats` in src/model/manifest.ts.
enum class BlockFormat : uint32_t {
  q4_0, q4_1, q5_0, q5_1, q8_0, q2_k, q3_k, q4_k, q5_k, q6_k, iq4_nl, mxfp4
};
enum class StorageKind : uint32_t { dense = 0, affine = 1, mxfp4 = 2, block = 3 };
struct Storage {
  StorageKind kind = StorageKind::dense;
  uint32_t bits = 0;   // affine
  uint32_t group = 0;  // affine
  BlockFormat format = BlockFormat::q4_0;  // block
};
struct Parameter {
  std::string path;
  std::vector<uint32_t> shape;  // logical, outermost first
  Storage storage;
};

struct Rope {
  uint32_t width = 0;
  bool traditional = false;
  float base = 0;
  float scale = 1;
  float pre_scale = 1;
  float dynamic_factor = 1;
  uint32_t dynamic_from = 0;       // 0: not dynamic; else where the base begins to stretch
  std::vector<float> frequencies;  // empty: base counts
};

struct Cache {
  uint32_t key_heads = 0;
  uint32_t head_width = 0;
  uint32_t value_width = 0;
  uint32_t window = 0;  // 0: every position stays visible
};

// One struct an operation; meanings and order in src/model/operations.ts and ops.def.
struct Embed { Columns out; uint32_t table; float scale; uint32_t first; };
struct Norm {
  Columns out, in;
  uint32_t weight, bias;
  float epsilon, weight_offset;
  uint32_t kind;
};
struct Linear { Columns out, in; uint32_t weight, bias; };
struct Attention {
  Columns out, q, k, v;
  uint32_t cache, heads, key_heads, group_heads, first_in_group, head_width, value_width;
  float scale, softcap;
  uint32_t window, q_norm, k_norm, norm_kind;
  float norm_epsilon, norm_weight_offset;
  uint32_t rope;
  float query_scale_beta;
  uint32_t query_scale_original, sinks;
};
struct Activate { Columns out, gate, up; uint32_t kind; };
struct Add { Columns out, a, b; float scale_b; };
struct Select { Columns out, in; };
struct Head { Columns in; uint32_t weight, bias; float scale, softcap; uint32_t first; };
/// Of AllSum: `sumKinds` of operations.ts.
constexpr uint32_t exact_sum = 0, rounded_sum = 1;
struct AllSum { Columns data; uint32_t kind; };
struct AllGather { Columns out, in; uint32_t layout; };
struct Send { Columns in; uint32_t to; };
struct Receive { Columns out; uint32_t from; };
using Operation = std::variant<Embed, Norm, Linear, Attention, Activate, Add, Select, Head, AllSum,
                               AllGather, Send, Receive>;

struct Program {
  uint32_t vocabulary = 0;  // of the model, also where this rank holds a part of it
  uint32_t context_length = 0;
  uint32_t rank = 0, ranks = 1;
  std::vector<Buffer> buffers;
  std::vector<Parameter> parameters;
  std::vector<Rope> ropes;
  std::vector<Cache> caches;
  std::vector<std::vector<uint32_t>> layouts;  // columns of each rank's part of what is gathered
  std::vector<Operation> operations;
};

/// Decodes and checks a program: counts bounded by the bytes, every index in range, widths and
/// domains that fit, parameter shapes that fit their use, one head and it last (`send` on later
/// ranks of a pipeline), every input written before it is read and not overwritten while it is
/// (`out` of add may be its `a`, `in` of allGather its own place in `out`), nothing declared that
/// no operation uses, messages only between ranks that are there. On rank 0 what follows `receive`
/// works on the selected rows and reads nothing from before it. Throws Error `program_invalid` that
/// names operation and field.
Program decode_program(std::span<const std::byte> bytes);

}  // namespace cidery::program
