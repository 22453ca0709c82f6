#include "program/check_operations.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "program/fields.h"

namespace cidery::program {
namespace {

/// Far beyond any model: sums of heads stay within 32 bits.
constexpr uint32_t most_group_heads = 1u << 16;
constexpr uint32_t last_activation = 4, last_norm = 1, last_head_norm = 1;

/// Columns of one buffer that have been written: disjoint ranges in order.
class WrittenColumns {
 public:
  void add(uint32_t begin, uint32_t end) {
    std::vector<Range> next;
    for (const Range& range : ranges_) {
      if (range.end < begin || range.begin > end) {
        next.push_back(range);
      } else {
        begin = std::min(begin, range.begin);
        end = std::max(end, range.end);
      }
    }
    next.push_back({begin, end});
    ranges_ = std::move(next);
  }
  bool hold(uint32_t begin, uint32_t end) const {
    return std::any_of(ranges_.begin(), ranges_.end(), [&](const Range& range) {
      return range.begin <= begin && end <= range.end;
    });
  }

 private:
  struct Range {
    uint32_t begin, end;
  };
  std::vector<Range> ranges_;
};

bool overlap(const Columns& a, const Columns& b) {
  return a.width > 0 && b.width > 0 && a.buffer == b.buffer && a.column < b.column + b.width &&
         b.column < a.column + a.width;
}

bool same(const Columns& a, const Columns& b) {
  return a.buffer == b.buffer && a.column == b.column && a.width == b.width;
}

/// What is known while walking the list; says in every error which operation and field it is about.
class Walk {
 public:
  explicit Walk(const Program& program)
      : program_(program),
        written_(program.buffers.size()),
        parameter_used_(program.parameters.size()),
        rope_used_(program.ropes.size()),
        cache_used_(program.caches.size()),
        layout_used_(program.layouts.size()) {}

  void run() {
    const size_t count = program_.operations.size();
    if (count == 0 || !ends_well(program_.operations.back())) {
      throw Error("program_invalid", "the last operation has to be head");
    }
    for (at_ = 0; at_ < count; ++at_) {
      std::visit(
          [this](const auto& op) {
            name_ = operation_name(op);
            outputs_.clear();
            visit_fields(op, *this);
            check(op);
          },
          program_.operations[at_]);
      for (const Columns& out : outputs_) {
        written_[out.buffer].add(out.column, out.column + out.width);
      }
    }
    expect_used();
  }

  // The visit of the fields: what holds for every operation.
  void output(const char* field, const Columns& columns) {
    in_range(field, columns);
    outputs_.push_back(columns);
  }
  void input(const char* field, const Columns& columns) {
    in_range(field, columns);
    if (!written_[columns.buffer].hold(columns.column, columns.column + columns.width)) {
      fail(field, "reads columns that nothing has written");
    }
  }
  void optional_input(const char* field, const Columns& columns) {
    if (columns.width > 0) {
      input(field, columns);
    } else if (columns.buffer != 0 || columns.column != 0) {
      fail(field, "has no width but a place");
    }
  }
  void parameter(const char* field, uint32_t index) {
    if (index >= program_.parameters.size()) fail(field, "names no parameter");
    parameter_used_[index] = true;
  }
  void optional_parameter(const char* field, uint32_t index) {
    if (index != none) parameter(field, index);
  }
  void optional_rope(const char* field, uint32_t index) {
    if (index == none) return;
    if (index >= program_.ropes.size()) fail(field, "names no rope");
    rope_used_[index] = true;
  }
  void u32(const char*, uint32_t) {}
  void f32(const char* field, float value) {
    if (!std::isfinite(value)) fail(field, "is not finite");
  }

 private:
  /// Later ranks of a pipeline send on what they have made.
  bool ends_well(const Operation& last) const {
    return std::holds_alternative<Head>(last) ||
           (program_.rank > 0 && std::holds_alternative<Send>(last));
  }

  [[noreturn]] void fail(const char* field, const std::string& what) const {
    throw Error("program_invalid",
                "operation " + std::to_string(at_) + " (" + name_ + "): " + field + " " + what);
  }

  void in_range(const char* field, const Columns& columns) const {
    if (columns.buffer >= program_.buffers.size()) fail(field, "names no buffer");
    const Buffer& buffer = program_.buffers[columns.buffer];
    if (columns.width == 0) fail(field, "has no width");
    if (columns.column > buffer.width || columns.width > buffer.width - columns.column) {
      fail(field, "reaches beyond buffer '" + buffer.name + "'");
    }
  }
  void width(const char* field, const Columns& columns, uint64_t expected) const {
    if (columns.width != expected) {
      fail(field, "is " + std::to_string(columns.width) + " columns wide and has to be " +
                      std::to_string(expected));
    }
  }
  void domain(const char* field, const Columns& columns, Domain expected) const {
    if (program_.buffers[columns.buffer].domain != expected) {
      fail(field, expected == Domain::tokens ? "has to hold a row a token"
                                             : "has to hold the selected rows");
    }
  }
  Domain domain_of(const Columns& columns) const {
    return program_.buffers[columns.buffer].domain;
  }
  void apart(const char* field, const Columns& out, const Columns& in) const {
    if (overlap(out, in)) fail(field, "is overwritten while it is read");
  }
  void shape(const char* field, uint32_t index, std::initializer_list<uint64_t> sizes) const {
    const Parameter& parameter = program_.parameters[index];
    if (!std::equal(sizes.begin(), sizes.end(), parameter.shape.begin(), parameter.shape.end())) {
      std::string text;
      for (const uint64_t size : sizes) text += (text.empty() ? "" : ", ") + std::to_string(size);
      fail(field, "('" + parameter.path + "') has to have the shape [" + text + "]");
    }
  }
  /// A dense vector of `size`, where there is one.
  void vector(const char* field, uint32_t index, uint64_t size) const {
    if (index == none) return;
    shape(field, index, {size});
  }

  void check(const Embed& op) const {
    domain("out", op.out, Domain::tokens);
    shape("table", op.table, {rows_of_vocabulary(op.table), op.out.width});
    part_of_vocabulary(op.table, op.first);
    if (received_) fail("out", "follows what rank 0 receives");
  }

  /// Rows of a table or a head: of the whole vocabulary where there is one rank.
  uint32_t rows_of_vocabulary(uint32_t parameter) const {
    return program_.ranks == 1 ? program_.vocabulary : program_.parameters[parameter].shape[0];
  }
  void part_of_vocabulary(uint32_t parameter, uint32_t first) const {
    const uint32_t rows = rows_of_vocabulary(parameter);
    if (first > program_.vocabulary || rows > program_.vocabulary - first) {
      fail("first", "and the rows from there on reach beyond the vocabulary");
    }
  }

  void check(const Norm& op) const {
    width("out", op.out, op.in.width);
    domain("out", op.out, domain_of(op.in));
    apart("in", op.out, op.in);
    vector("weight", op.weight, op.in.width);
    vector("bias", op.bias, op.in.width);
    if (op.kind > last_norm) fail("kind", "is unknown");
    if (op.kind == 0 && op.bias != none) fail("bias", "belongs to layer norms alone");
    if (op.epsilon < 0) fail("epsilon", "is below 0");
  }

  void check(const Linear& op) const {
    domain("out", op.out, domain_of(op.in));
    apart("in", op.out, op.in);
    shape("weight", op.weight, {op.out.width, op.in.width});
    vector("bias", op.bias, op.out.width);
  }

  void check(const Attention& op) {
    check_heads(op);
    for (const auto& [field, columns] : {std::pair{"out", op.out}, std::pair{"q", op.q},
                                         std::pair{"k", op.k}, std::pair{"v", op.v}}) {
      domain(field, columns, Domain::tokens);
    }
    apart("q", op.out, op.q);
    apart("k", op.out, op.k);
    apart("v", op.out, op.v);
    check_cache(op);
    check_head_norms(op);
    if (op.rope != none && program_.ropes[op.rope].width > op.head_width) {
      fail("rope", "is wider than a head");
    }
    if (op.softcap < 0) fail("softcap", "is below 0");
    vector("sinks", op.sinks, op.heads);
  }

  void check_heads(const Attention& op) const {
    if (op.heads == 0) fail("heads", "is 0");
    if (op.key_heads == 0) fail("key_heads", "is 0");
    if (op.group_heads == 0 || op.group_heads > most_group_heads) {
      fail("group_heads", "is out of range");
    }
    if (op.first_in_group >= op.group_heads) fail("first_in_group", "is beyond the group");
    const uint64_t last = uint64_t{op.first_in_group} + op.heads - 1;
    if (last / op.group_heads + 1 != op.key_heads) {
      fail("key_heads", "is not as many as the heads use");
    }
    if (op.head_width == 0) fail("head_width", "is 0");
    if (op.value_width == 0) fail("value_width", "is 0");
    width("q", op.q, uint64_t{op.heads} * op.head_width);
    width("k", op.k, uint64_t{op.key_heads} * op.head_width);
    width("v", op.v, uint64_t{op.key_heads} * op.value_width);
    width("out", op.out, uint64_t{op.heads} * op.value_width);
  }

  void check_cache(const Attention& op) {
    if (op.cache >= program_.caches.size()) fail("cache", "names no cache");
    if (cache_used_[op.cache]) fail("cache", "belongs to an earlier operation");
    cache_used_[op.cache] = true;
    const Cache& cache = program_.caches[op.cache];
    if (cache.key_heads != op.key_heads || cache.head_width != op.head_width ||
        cache.value_width != op.value_width) {
      fail("cache", "has other heads or widths than the operation");
    }
    if (cache.window != op.window) fail("window", "is not that of the cache");
  }

  void check_head_norms(const Attention& op) const {
    if (op.norm_kind > last_head_norm) fail("norm_kind", "is unknown");
    if (op.norm_epsilon < 0) fail("norm_epsilon", "is below 0");
    const bool wanted = op.norm_kind != 0;
    if ((op.q_norm != none) != wanted) fail("q_norm", "does not go with norm_kind");
    if ((op.k_norm != none) != wanted) fail("k_norm", "does not go with norm_kind");
    vector("q_norm", op.q_norm, op.head_width);
    vector("k_norm", op.k_norm, op.head_width);
  }

  void check(const Activate& op) const {
    width("out", op.out, op.gate.width);
    domain("out", op.out, domain_of(op.gate));
    apart("gate", op.out, op.gate);
    if (op.kind > last_activation) fail("kind", "is unknown");
    if (op.up.width == 0) return;
    width("up", op.up, op.gate.width);
    domain("up", op.up, domain_of(op.gate));
    apart("up", op.out, op.up);
  }

  void check(const Add& op) const {
    width("a", op.a, op.out.width);
    width("b", op.b, op.out.width);
    domain("a", op.a, domain_of(op.out));
    domain("b", op.b, domain_of(op.out));
    if (!same(op.out, op.a)) apart("a", op.out, op.a);
    apart("b", op.out, op.b);
  }

  void check(const Select& op) const {
    width("out", op.out, op.in.width);
    domain("in", op.in, Domain::tokens);
    domain("out", op.out, Domain::selected);
  }

  void check(const Head& op) const {
    if (at_ + 1 != program_.operations.size()) fail("in", "is read by a head that is not the last");
    domain("in", op.in, Domain::selected);
    const uint32_t rows = rows_of_vocabulary(op.weight);
    shape("weight", op.weight, {rows, op.in.width});
    vector("bias", op.bias, rows);
    part_of_vocabulary(op.weight, op.first);
    if (received_ && rows != program_.vocabulary) fail("weight", "is a part of a pipeline's head");
    if (op.softcap < 0) fail("softcap", "is below 0");
  }

  void among_ranks(const char* field) const {
    if (program_.ranks == 1) fail(field, "goes to other ranks, of which there are none");
  }
  void other_rank(const char* field, uint32_t rank) const {
    if (rank >= program_.ranks || rank == program_.rank) fail(field, "is no other rank");
  }

  void check(const AllSum& op) const {
    among_ranks("data");
    if (!written_[op.data.buffer].hold(op.data.column, op.data.column + op.data.width)) {
      fail("data", "reads columns that nothing has written");
    }
    if (op.kind > rounded_sum) fail("kind", "is no kind of sum");
  }

  void check(const AllGather& op) {
    among_ranks("out");
    if (op.layout >= program_.layouts.size()) fail("layout", "names no layout");
    layout_used_[op.layout] = true;
    const std::vector<uint32_t>& layout = program_.layouts[op.layout];
    width("out", op.out, std::accumulate(layout.begin(), layout.end(), uint64_t{0}));
    width("in", op.in, layout[program_.rank]);
    domain("out", op.out, domain_of(op.in));
    const auto before = std::accumulate(layout.begin(), layout.begin() + program_.rank, 0u);
    const Columns own{op.out.buffer, op.out.column + before, layout[program_.rank]};
    if (!same(op.in, own)) apart("in", op.out, op.in);
  }

  void check(const Send& op) const {
    among_ranks("in");
    other_rank("to", op.to);
  }

  /// Rank 0 begins a step before it ends the one before: what comes back from the last rank starts
  /// a part of the program that shares no activations with what was before.
  void check(const Receive& op) {
    among_ranks("out");
    other_rank("from", op.from);
    if (program_.rank > 0) return;
    if (received_) fail("out", "is received a second time");
    domain("out", op.out, Domain::selected);
    received_ = true;
    written_.assign(written_.size(), {});
  }

  void expect_used() const {
    const auto unused = [](const std::vector<bool>& used) {
      return static_cast<size_t>(std::find(used.begin(), used.end(), false) - used.begin());
    };
    if (const size_t i = unused(parameter_used_); i < parameter_used_.size()) {
      throw Error("program_invalid",
                  "parameter '" + program_.parameters[i].path + "' is used by no operation");
    }
    if (const size_t i = unused(rope_used_); i < rope_used_.size()) {
      throw Error("program_invalid", "rope " + std::to_string(i) + " is used by no operation");
    }
    if (const size_t i = unused(cache_used_); i < cache_used_.size()) {
      throw Error("program_invalid", "cache " + std::to_string(i) + " is used by no operation");
    }
    if (const size_t i = unused(layout_used_); i < layout_used_.size()) {
      throw Error("program_invalid", "layout " + std::to_string(i) + " is used by no operation");
    }
  }

  const Program& program_;
  std::vector<WrittenColumns> written_;
  std::vector<bool> parameter_used_, rope_used_, cache_used_, layout_used_;
  std::vector<Columns> outputs_;
  bool received_ = false;  // on rank 0
  size_t at_ = 0;
  const char* name_ = "";
};

}  // namespace

void check_operations(const Program& program) { Walk(program).run(); }

}  // namespace cidery::program
