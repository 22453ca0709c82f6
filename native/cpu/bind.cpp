#include "cpu/bind.h"

#include <algorithm>

namespace cidery::cpu {
namespace {

using program::Columns;
using program::Domain;
using program::Program;

/// Floats of partial attention results: 4 MiB, or what one token needs.
constexpr size_t usual_attention_floats = size_t{1} << 20;

constexpr uint32_t round_up(uint32_t value, uint32_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

bool same(const Columns& a, const Columns& b) {
  return a.buffer == b.buffer && a.column == b.column && a.width == b.width;
}

bool overlap(const Columns& a, const Columns& b) {
  return a.width > 0 && b.width > 0 && a.buffer == b.buffer && a.column < b.column + b.width &&
         b.column < a.column + a.width;
}

/// Panels of an output matrix.
struct PanelRange {
  uint32_t part = 0, first = 0, count = 0;
};

class Binder {
 public:
  Binder(const Program& program, const Weights& weights, const BindOptions& options, Arena& arena)
      : program_(program), weights_(weights), options_(options), arena_(arena) {}

  BoundProgram run() {
    lay_out_buffers();
    lay_out_rooms();
    for (size_t at = 0; at < program_.operations.size();) {
      if (const size_t taken = bind_linears(at); taken > 0) {
        at += taken;
        continue;
      }
      std::visit([this](const auto& op) { bind(op); }, program_.operations[at]);
      ++at;
    }
    if (bound_.first_regions == 0) bound_.first_regions = bound_.regions.size();
    return std::move(bound_);
  }

 private:
  template <class Op, class Visit>
  void each(Visit visit) const {
    for (const program::Operation& operation : program_.operations) {
      if (const auto* op = std::get_if<Op>(&operation)) visit(*op);
    }
  }

  View make_view(uint32_t rows, uint32_t width) {
    const uint32_t stride = round_up(width, lanes);
    return {arena_.allocate_array<float>(uint64_t{rows} * stride), stride, width};
  }

  void lay_out_buffers() {
    for (const program::Buffer& buffer : program_.buffers) {
      buffers_.push_back(make_view(most_rows, buffer.width));
    }
    for (const program::Rope& rope : program_.ropes) {
      auto* table = arena_.allocate_array<float>(uint64_t{most_rows} * round_up(rope.width, lanes));
      bound_.angles.push_back(std::make_unique<Angles>(rope, table));
      rows(Domain::tokens).steps.push_back(AnglesStep{bound_.angles.back().get()});
    }
  }

  void lay_out_rooms() {
    uint32_t inputs = 0, queries = 0, keys = 0;
    size_t attention = usual_attention_floats;
    each<program::Linear>([&](const auto& op) { inputs = std::max(inputs, op.in.width); });
    each<program::Head>([&](const auto& op) { inputs = std::max(inputs, op.in.width); });
    each<program::Attention>([&](const auto& op) {
      queries = std::max(queries, op.q.width);
      keys = std::max(keys, op.k.width);
      attention = std::max(attention, least_attention_floats(op, options_.positions));
    });
    const uint64_t codes = uint64_t{most_rows} * inputs;
    prepared_.codes = arena_.allocate_array<int8_t>(codes);
    prepared_.groups = arena_.allocate_array<GroupRecord>(codes / activation_group);
    queries_ = make_view(most_rows, queries);
    keys_ = arena_.allocate_array<float>(uint64_t{options_.threads} * keys);
    bound_.attention = std::make_unique<AttentionRoom>(
        arena_.allocate_array<float>(attention), attention);
    lay_out_collectives();
  }

  void lay_out_collectives() {
    if (options_.group == nullptr) return;
    uint32_t width = 0, rounded = 0;
    each<program::AllSum>([&](const auto& op) {
      width = std::max(width, op.data.width);
      const bool rounds = op.kind == program::rounded_sum && !options_.precise;
      if (rounds) rounded = std::max(rounded, op.data.width);
    });
    each<program::AllGather>([&](const auto& op) { width = std::max(width, op.out.width); });
    each<program::Send>([&](const auto& op) { width = std::max(width, op.in.width); });
    each<program::Receive>([&](const auto& op) { width = std::max(width, op.out.width); });
    bound_.collectives = std::make_unique<CollectiveRoom>(
        *options_.group, arena_.allocate_array<float>(uint64_t{most_rows} * width),
        arena_.allocate_array<uint16_t>(uint64_t{most_rows} * rounded));
  }

  View view(const Columns& columns) const {
    const View& buffer = buffers_[columns.buffer];
    return {buffer.data + columns.column, buffer.stride, columns.width};
  }
  Domain domain(const Columns& columns) const { return program_.buffers[columns.buffer].domain; }

  /// The region of rows that what comes next joins.
  RowRegion& rows(Domain domain) {
    auto* last = bound_.regions.empty() ? nullptr : std::get_if<RowRegion>(&bound_.regions.back());
    if (last != nullptr && last->domain == domain) return *last;
    return std::get<RowRegion>(bound_.regions.emplace_back(RowRegion{domain, {}}));
  }

  void bind(const program::Embed& op) {
    rows(Domain::tokens)
        .steps.push_back(EmbedStep{view(op.out), &weights_.matrix(op.table), op.scale, op.first});
  }

  void bind(const program::Norm& op) {
    rows(domain(op.out))
        .steps.push_back(NormStep{view(op.out), view(op.in), weights_.vector(op.weight),
                                  weights_.vector(op.bias), op.epsilon, op.weight_offset,
                                  static_cast<NormKind>(op.kind)});
  }

  void bind(const program::Attention& op) {
    View queries = queries_;
    queries.width = op.q.width;
    const Angles* angles = op.rope == program::none ? nullptr : bound_.angles[op.rope].get();
    rows(Domain::tokens)
        .steps.push_back(HeadsStep{op, view(op.q), view(op.k), view(op.v), queries, keys_,
                                   weights_.vector(op.q_norm), weights_.vector(op.k_norm),
                                   angles});
    bound_.regions.emplace_back(AttendRegion{op, queries, view(op.out), weights_.vector(op.sinks),
                                             bound_.attention.get()});
  }

  void bind(const program::Activate& op) {
    rows(domain(op.out))
        .steps.push_back(ActivateStep{view(op.out), view(op.gate),
                                      op.up.width == 0 ? View{} : view(op.up),
                                      static_cast<ActivationKind>(op.kind)});
  }

  void bind(const program::Add& op) {
    rows(domain(op.out)).steps.push_back(AddStep{view(op.out), view(op.a), view(op.b), op.scale_b});
  }

  void bind(const program::Select& op) {
    rows(Domain::selected).steps.push_back(SelectStep{view(op.out), view(op.in)});
  }

  void bind(const program::Head& op) {
    const uint32_t rows = weights_.matrix(op.weight).outputs;
    bound_.logits = make_view(most_logit_rows, program_.rank == 0 ? program_.vocabulary : rows);
    View own = bound_.logits;
    own.width = rows;
    MatmulRegion region = begin_matmul(op.in);
    add_part(region, op.weight, op.bias, own);
    region.softcap = {op.scale, op.softcap};
    finish_matmul(region);
    bound_.head = std::move(region);
  }

  void bind(const program::Linear&) {}  // bind_linears has taken it

  /// Rounded or not, an element's sum is the same whatever goes with it: a row alone has the bits
  /// that it has in a batch.
  void bind(const program::AllSum& op) {
    if (options_.precise || op.kind == program::exact_sum) {
      collective(CollectiveKind::sum, op.data).out = view(op.data);
      return;
    }
    uint16_t* halves = bound_.collectives->halves();
    rows(domain(op.data)).steps.push_back(RoundStep{view(op.data), halves});
    collective(CollectiveKind::rounded_sum, op.data).out = view(op.data);
    rows(domain(op.data)).steps.push_back(WidenStep{view(op.data), halves});
  }

  void bind(const program::AllGather& op) {
    CollectiveRegion& region = collective(CollectiveKind::gather, op.out);
    region.out = view(op.out);
    region.in = view(op.in);
    region.layout = program_.layouts[op.layout];
  }

  void bind(const program::Send& op) {
    CollectiveRegion& region = collective(CollectiveKind::send, op.in);
    region.in = view(op.in);
    region.peer = op.to;
  }

  void bind(const program::Receive& op) {
    if (program_.rank == 0) bound_.first_regions = bound_.regions.size();
    CollectiveRegion& region = collective(CollectiveKind::receive, op.out);
    region.out = view(op.out);
    region.peer = op.from;
  }

  CollectiveRegion& collective(CollectiveKind kind, const Columns& columns) {
    CollectiveRegion region;
    region.kind = kind;
    region.domain = domain(columns);
    region.room = bound_.collectives.get();
    return std::get<CollectiveRegion>(bound_.regions.emplace_back(std::move(region)));
  }

  MatmulRegion begin_matmul(const Columns& in) const {
    MatmulRegion region;
    region.domain = domain(in);
    region.in = view(in);
    region.prepared = prepared_;
    return region;
  }

  void add_part(MatmulRegion& region, uint32_t weight, uint32_t bias, const View& out) const {
    const PackedWeight& matrix = weights_.matrix(weight);
    region.parts.push_back({&matrix, weights_.vector(bias), out,
                            !options_.precise && !is_dense(matrix.format)});
  }

  /// Plain segments for what has none yet, and the preparation of the input.
  void finish_matmul(MatmulRegion& region) {
    if (region.segments.empty()) {
      for (uint32_t i = 0; i < region.parts.size(); ++i) {
        region.segments.push_back({i, 0, panel_count(region.parts[i].weight->outputs)});
      }
    }
    const auto quantized = [](const MatmulPart& part) { return !is_dense(part.weight->format); };
    if (std::ranges::any_of(region.parts, quantized)) {
      rows(region.domain)
          .steps.push_back(PrepareStep{region.in, region.prepared, !options_.precise});
    }
  }

  /// Binds the linear operations from `at` on that share an input, with an activation of their
  /// outputs that follows. Returns how many operations that took.
  size_t bind_linears(size_t at) {
    const auto* first = std::get_if<program::Linear>(&program_.operations[at]);
    if (first == nullptr) return 0;
    MatmulRegion region = begin_matmul(first->in);
    std::vector<Columns> outs;
    size_t end = at;
    for (; end < program_.operations.size(); ++end) {
      const auto* op = std::get_if<program::Linear>(&program_.operations[end]);
      if (op == nullptr || !same(op->in, first->in)) break;
      if (std::ranges::any_of(outs, [&](const auto& out) { return overlap(out, op->out); })) break;
      add_part(region, op->weight, op->bias, view(op->out));
      outs.push_back(op->out);
    }
    if (const auto* op = std::get_if<program::Activate>(&program_.operations[end])) {
      if (join_activation(region, outs, first->in, *op)) ++end;
    }
    finish_matmul(region);
    bound_.regions.emplace_back(std::move(region));
    return end - at;
  }

  /// The panels whose outputs are just `columns`; none where they are no whole panels.
  static PanelRange find_panels(const std::vector<Columns>& outs, const Columns& columns) {
    for (uint32_t i = 0; i < outs.size(); ++i) {
      const Columns& out = outs[i];
      if (out.buffer != columns.buffer || columns.column < out.column) continue;
      const uint32_t skipped = columns.column - out.column;
      if (skipped + columns.width > out.width || skipped % lanes != 0) continue;
      const bool whole = columns.width % lanes == 0 || skipped + columns.width == out.width;
      if (whole) return {i, skipped / lanes, panel_count(columns.width)};
    }
    return {};
  }

  bool join_activation(MatmulRegion& region, const std::vector<Columns>& outs, const Columns& in,
                       const program::Activate& op) const {
    if (op.up.width == 0 || overlap(op.out, in) || overlap(op.gate, op.up)) return false;
    const PanelRange gate = find_panels(outs, op.gate), up = find_panels(outs, op.up);
    if (gate.count == 0 || up.count != gate.count) return false;
    // Where it writes, only the task that computes the gate and up of a column may write and read.
    const bool in_place = same(op.out, op.gate) || same(op.out, op.up);
    const auto hit = [&](const Columns& out) { return overlap(out, op.out); };
    if (!in_place && std::ranges::any_of(outs, hit)) return false;
    region.activation = {view(op.out), view(op.gate), view(op.up),
                         static_cast<ActivationKind>(op.kind)};
    region.segments.push_back({gate.part, gate.first, gate.count, true, up.part, up.first});
    for (uint32_t i = 0; i < region.parts.size(); ++i) {
      add_rest(region, i, gate, up);
    }
    return true;
  }

  /// Plain segments of a part for the panels outside of two ranges.
  static void add_rest(MatmulRegion& region, uint32_t part, const PanelRange& a,
                       const PanelRange& b) {
    const auto taken = [&](const PanelRange& range, uint32_t panel) {
      return range.part == part && panel >= range.first && panel < range.first + range.count;
    };
    const uint32_t panels = panel_count(region.parts[part].weight->outputs);
    uint32_t begin = 0;
    for (uint32_t panel = 0; panel <= panels; ++panel) {
      if (panel < panels && !taken(a, panel) && !taken(b, panel)) continue;
      if (panel > begin) region.segments.push_back({part, begin, panel - begin});
      begin = panel + 1;
    }
  }

  const Program& program_;
  const Weights& weights_;
  const BindOptions options_;
  Arena& arena_;
  BoundProgram bound_;
  std::vector<View> buffers_;
  Prepared prepared_;
  View queries_;
  float* keys_ = nullptr;
};

}  // namespace

BoundProgram bind_program(const Program& program, const Weights& weights,
                          const BindOptions& options, Arena& arena) {
  return Binder(program, weights, options, arena).run();
}

}  // namespace cidery::cpu
