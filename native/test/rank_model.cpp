#include "test/rank_model.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <stdexcept>

#include "program/check.h"
#include "program/fields.h"

namespace cidery::test {
namespace {

using program::Columns;
using program::none;
using program::Operation;
using program::Program;

/// Buffers of a tiny model, in order, and those that a split adds.
enum Place : uint32_t { x, normed, joined, attended, gates, delta, last, all_attended, all_inner,
                        part_of_delta };

/// A further buffer: for what tiny models do in place, which a checked program may not.
Columns add_buffer(Program& program, const char* name, uint32_t width, program::Domain domain) {
  program.buffers.push_back({name, width, domain});
  return {static_cast<uint32_t>(program.buffers.size() - 1), 0, width};
}
Columns add_activated(Program& program, uint32_t width) {
  return add_buffer(program, "activated", width, program::Domain::tokens);
}
Columns add_last_normed(Program& program) {
  return add_buffer(program, "last normed", program.buffers[last].width,
                    program::Domain::selected);
}

/// Takes parameters, whole or in part, over into a rank's model; the same part once.
class Taker {
 public:
  Taker(const TinyModel& from, RankModel& to) : from_(from), to_(to) {}

  uint32_t whole(uint32_t index) {
    if (index == none) return none;
    const auto& shape = from_.program.parameters[index].shape;
    return take(index, {0, shape[0]}, {0, shape.back()});
  }
  uint32_t rows(uint32_t index, UnitRange rows) {
    if (index == none) return none;
    return take(index, rows, {0, from_.program.parameters[index].shape.back()});
  }
  uint32_t columns(uint32_t index, UnitRange columns) {
    return take(index, {0, from_.program.parameters[index].shape[0]}, columns);
  }

 private:
  uint32_t take(uint32_t index, UnitRange rows, UnitRange columns) {
    const std::vector<uint32_t> key = {index, rows.first, rows.count, columns.first,
                                       columns.count};
    const auto found = taken_.find(key);
    if (found != taken_.end()) return found->second;
    const program::Parameter& parameter = from_.program.parameters[index];
    const auto number = static_cast<uint32_t>(to_.program.parameters.size());
    to_.program.parameters.push_back(parameter);
    to_.program.parameters.back().shape[0] = rows.count;
    const bool matrix = parameter.shape.size() > 1;
    if (matrix) to_.program.parameters.back().shape[1] = columns.count;
    load::ParameterSource source = from_.sources[index];
    source.parameter = number;
    for (load::Part& part : source.parts) {
      load::Piece& piece = part.pieces.at(0);
      const uint64_t row_bytes = piece.row_bytes / parameter.shape[0];
      part.shape[0] = rows.count;
      piece = {0, piece.offset + rows.first * row_bytes, rows.count * row_bytes,
               rows.count * row_bytes, 1};
      if (!matrix) continue;
      const auto cut = [&](uint64_t all, uint32_t count) {
        return all * count / parameter.shape[1];
      };
      part.shape[1] = static_cast<uint32_t>(cut(part.shape[1], columns.count));
      piece.offset += cut(row_bytes, columns.first);
      piece.row_bytes = cut(row_bytes, columns.count);
      piece.row_stride = row_bytes;
      piece.row_count = rows.count;
    }
    to_.sources.push_back(std::move(source));
    taken_.emplace(key, number);
    return number;
  }

  const TinyModel& from_;
  RankModel& to_;
  std::map<std::vector<uint32_t>, uint32_t> taken_;
};

RankModel begin_rank(const TinyModel& model, uint32_t rank, uint32_t ranks) {
  RankModel result;
  Program& program = result.program;
  program.vocabulary = model.program.vocabulary;
  program.context_length = model.program.context_length;
  program.rank = rank;
  program.ranks = ranks;
  program.buffers = model.program.buffers;
  program.ropes = model.program.ropes;
  return result;
}

/// Inputs that share a scale.
uint32_t group_of(const program::Storage& storage) {
  switch (storage.kind) {
    case program::StorageKind::affine: return storage.group;
    case program::StorageKind::block: return program::block_length(storage.format);
    case program::StorageKind::mxfp4: return 32;
    case program::StorageKind::dense: return 1;
  }
  return 1;
}

/// A rank's heads of an attention operation.
struct Heads {
  UnitRange queries, keys;
};

class ColumnSplit {
 public:
  ColumnSplit(const TinyModel& model, uint32_t rank, uint32_t ranks, bool precise)
      : model_(model), rank_(rank), ranks_(ranks), precise_(precise),
        result_(begin_rank(model, rank, ranks)), take_(model, result_) {
    const Program& whole = model.program;
    hidden_ = whole.buffers[x].width;
    inner_ = whole.buffers[gates].width / 2;
    for (const Operation& operation : whole.operations) {
      if (const auto* op = std::get_if<program::Attention>(&operation)) attention_ = *op;
      if (const auto* op = std::get_if<program::Embed>(&operation)) {
        unit_ = group_of(whole.parameters[op->table].storage);
      }
    }
    own_inner_ = inner_of(rank);
    lay_out();
  }

  RankModel run() {
    for (const Operation& operation : model_.program.operations) {
      std::visit([this](const auto& op) { split(op); }, operation);
    }
    return std::move(result_);
  }

 private:
  UnitRange inner_of(uint32_t rank) const {
    const UnitRange units = units_of(inner_ / unit_, rank, ranks_);
    return {units.first * unit_, units.count * unit_};
  }
  UnitRange own(uint32_t total) const { return units_of(total, rank_, ranks_); }

  /// Query heads are shared out evenly, those together that have inputs with one scale; a key head
  /// that several ranks need, each of them has.
  Heads heads_of(uint32_t rank) const {
    const program::Attention& op = whole_attention();
    const uint32_t together = unit_ / std::gcd(unit_, op.value_width);
    const UnitRange units = units_of(op.heads / together, rank, ranks_);
    const UnitRange queries = {units.first * together, units.count * together};
    const uint32_t first = queries.first / op.group_heads;
    const uint32_t last = (queries.first + queries.count - 1) / op.group_heads;
    return {queries, {first, last - first + 1}};
  }

  void lay_out() {
    Program& program = result_.program;
    lay_out_gathered();
    activated_ = add_activated(program, own_inner_.count);
    last_normed_ = add_last_normed(program);
    const Heads heads = heads_of(rank_);
    attention_.out = {attended, 0, heads.queries.count * attention_.value_width};
    attention_.q = {joined, 0, heads.queries.count * attention_.head_width};
    attention_.k = {joined, attention_.q.width, heads.keys.count * attention_.head_width};
    attention_.v = {joined, attention_.k.column + attention_.k.width,
                    heads.keys.count * attention_.value_width};
    program.buffers[joined].width = attention_.v.column + attention_.v.width;
    program.buffers[gates].width = 2 * own_inner_.count;
    program.buffers[attended].width = attention_.out.width;
    if (!precise_) return;
    // Written where the gathered rows have their place for it.
    attention_.out.buffer = all_attended;
    attention_.out.column = heads.queries.first * attention_.value_width;
    program.buffers[attended].width = 1;
  }

  void lay_out_gathered() {
    if (!precise_) return;
    Program& program = result_.program;
    std::vector<uint32_t> widths, inners, hiddens;
    for (uint32_t r = 0; r < ranks_; ++r) {
      const Heads heads = heads_of(r);
      widths.push_back(heads.queries.count * attention_.value_width);
      inners.push_back(inner_of(r).count);
      hiddens.push_back(units_of(hidden_, r, ranks_).count);
    }
    program.layouts = {widths, inners, hiddens};
    const uint32_t whole = std::accumulate(widths.begin(), widths.end(), 0u);
    program.buffers.push_back({"all attended", whole, program::Domain::tokens});
    program.buffers.push_back({"all inner", inner_, program::Domain::tokens});
    program.buffers.push_back({"part of delta", own(hidden_).count, program::Domain::tokens});
  }

  void add(Operation operation) { result_.program.operations.push_back(std::move(operation)); }

  void split(program::Embed op) {
    const UnitRange tokens = own(model_.program.vocabulary);
    op.table = take_.rows(op.table, tokens);
    op.first = tokens.first;
    add(op);
    add(program::AllSum{op.out, program::exact_sum});
  }
  void split(program::Norm op) {
    if (op.out.buffer == last) op.out = last_normed_;
    op.weight = take_.whole(op.weight);
    op.bias = take_.whole(op.bias);
    add(op);
  }
  void split(program::Linear op) {
    const std::string& path = model_.program.parameters[op.weight].path;
    const auto is = [&](const char* name) { return path.find(name) != std::string::npos; };
    const uint32_t inner = own_inner_.count;
    const Heads heads = heads_of(rank_);
    const auto part = [](UnitRange units, uint32_t width) {
      return UnitRange{units.first * width, units.count * width};
    };
    if (is("q_proj")) by_outputs(op, part(heads.queries, attention_.head_width), attention_.q);
    else if (is("k_proj")) by_outputs(op, part(heads.keys, attention_.head_width), attention_.k);
    else if (is("v_proj")) by_outputs(op, part(heads.keys, attention_.value_width), attention_.v);
    else if (is("gate_proj")) by_outputs(op, own_inner_, {gates, 0, inner});
    else if (is("up_proj")) by_outputs(op, own_inner_, {gates, inner, inner});
    else if (is("o_proj")) reduce(op, attended_of(heads), attention_.out, 0);
    else reduce(op, own_inner_, activated_, 1);
  }
  UnitRange attended_of(const Heads& heads) const {
    const uint32_t width = attention_.value_width;
    return {heads.queries.first * width, heads.queries.count * width};
  }
  void by_outputs(program::Linear op, UnitRange outputs, Columns out) {
    op.weight = take_.rows(op.weight, outputs);
    op.bias = take_.rows(op.bias, outputs);
    op.out = out;
    add(op);
  }
  /// A matrix whose inputs the ranks have in parts.
  void reduce(program::Linear op, UnitRange inputs, Columns in, uint32_t layout) {
    if (precise_) {
      const uint32_t gathered = layout == 0 ? all_attended : all_inner;
      op.in = {gathered, 0, result_.program.buffers[gathered].width};
      add(program::AllGather{op.in, in, layout});
      const Columns part{part_of_delta, 0, own(hidden_).count}, out = op.out;
      by_outputs(op, own(hidden_), part);
      add(program::AllGather{out, part, 2});
      return;
    }
    op.in = in;
    op.weight = take_.columns(op.weight, inputs);
    op.bias = rank_ == 0 ? take_.whole(op.bias) : none;
    add(op);
    add(program::AllSum{op.out, program::rounded_sum});
  }
  void split(program::Attention op) {
    const Heads heads = heads_of(rank_);
    op.out = attention_.out, op.q = attention_.q, op.k = attention_.k, op.v = attention_.v;
    op.heads = heads.queries.count;
    op.key_heads = heads.keys.count;
    op.first_in_group = heads.queries.first % op.group_heads;
    op.q_norm = take_.whole(op.q_norm);
    op.k_norm = take_.whole(op.k_norm);
    op.sinks = take_.rows(op.sinks, heads.queries);
    add(op);
    result_.program.caches.push_back({op.key_heads, op.head_width, op.value_width, op.window});
  }
  void split(program::Activate op) {
    op.out = activated_;
    op.gate = {gates, 0, own_inner_.count};
    op.up = {gates, own_inner_.count, own_inner_.count};
    add(op);
  }
  void split(program::Head op) {
    const UnitRange tokens = own(model_.program.vocabulary);
    op.weight = take_.rows(op.weight, tokens);
    op.bias = take_.rows(op.bias, tokens);
    op.first = tokens.first;
    op.in = last_normed_;
    add(op);
  }
  template <class Op>
  void split(const Op& op) {
    add(op);
  }

  const program::Attention& whole_attention() const {
    for (const Operation& operation : model_.program.operations) {
      if (const auto* op = std::get_if<program::Attention>(&operation)) return *op;
    }
    throw std::logic_error("no attention");
  }

  const TinyModel& model_;
  const uint32_t rank_, ranks_;
  const bool precise_;
  RankModel result_;
  Taker take_;
  uint32_t hidden_ = 0, inner_ = 0, unit_ = 1;
  UnitRange own_inner_{};
  Columns activated_{}, last_normed_{};
  program::Attention attention_{};  // with this rank's columns
};

/// Takes every parameter of an operation over, whole.
struct TakeAll {
  Taker& take;
  void output(const char*, Columns&) {}
  void input(const char*, Columns&) {}
  void optional_input(const char*, Columns&) {}
  void parameter(const char*, uint32_t& index) { index = take.whole(index); }
  void optional_parameter(const char*, uint32_t& index) { index = take.whole(index); }
  void optional_rope(const char*, uint32_t&) {}
  void u32(const char*, uint32_t&) {}
  void f32(const char*, float&) {}
};

}  // namespace

UnitRange units_of(uint32_t total, uint32_t rank, uint32_t ranks) {
  const uint32_t each = total / ranks, more = total % ranks;
  return {rank * each + std::min(rank, more), each + (rank < more ? 1u : 0u)};
}

RankModel split_by_columns(const TinyModel& model, uint32_t rank, uint32_t ranks, bool precise) {
  return ColumnSplit(model, rank, ranks, precise).run();
}

RankModel split_by_layers(const TinyModel& model, uint32_t rank, uint32_t ranks) {
  RankModel result = begin_rank(model, rank, ranks);
  Taker take(model, result);
  const auto layers = static_cast<uint32_t>(model.program.caches.size());
  const UnitRange own = units_of(layers, rank, ranks);
  const auto& operations = model.program.operations;
  const size_t of_layer = (operations.size() - 4) / layers;  // but embed, select, norm and head
  const Columns hidden{x, 0, model.program.buffers[x].width}, selected{last, 0, hidden.width};
  const Columns activated = add_activated(result.program, result.program.buffers[gates].width / 2);
  const auto add = [&](Operation operation) {
    TakeAll all{take};
    std::visit([&](auto& op) { program::visit_fields(op, all); }, operation);
    if (auto* op = std::get_if<program::Attention>(&operation)) {
      result.program.caches.push_back(model.program.caches[op->cache]);
      op->cache = static_cast<uint32_t>(result.program.caches.size() - 1);
    }
    if (auto* op = std::get_if<program::Activate>(&operation)) op->out = activated;
    if (auto* op = std::get_if<program::Linear>(&operation)) {
      if (op->in.buffer == gates) op->in = activated;
    }
    result.program.operations.push_back(std::move(operation));
  };
  if (rank == 0) add(operations[0]);
  else add(program::Receive{hidden, rank - 1});
  for (size_t i = 0; i < own.count * of_layer; ++i) add(operations[1 + own.first * of_layer + i]);
  if (rank + 1 < ranks) {
    add(program::Send{hidden, rank + 1});
  } else {
    add(program::Select{selected, hidden});
    add(program::Send{selected, 0});
  }
  if (rank > 0) return result;
  add(program::Receive{selected, ranks - 1});
  const Columns last_normed = add_last_normed(result.program);
  auto norm = std::get<program::Norm>(operations[operations.size() - 2]);
  auto head = std::get<program::Head>(operations.back());
  norm.out = head.in = last_normed;
  add(norm);
  add(head);
  return result;
}

}  // namespace cidery::test
