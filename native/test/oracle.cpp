#include "test/oracle.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <stdexcept>

namespace cidery::test {
namespace {

using program::Columns;
using program::none;
using Row = std::vector<double>;
using Rows = std::vector<Row>;

double activation(double x, uint32_t kind) {
  const double root = std::sqrt(2 / std::numbers::pi);
  switch (kind) {
    case 0: return x / (1 + std::exp(-x));
    case 1: return x * (1 + std::erf(x / std::numbers::sqrt2)) / 2;
    case 2: return 0.5 * x * (1 + std::tanh(root * (x + 0.044715 * x * x * x)));
    case 3: return std::max(x, 0.0);
    default: return x > 0 ? x * x : 0;
  }
}

struct Run {
  const program::Program& program;
  const ParameterValues& values;
  std::span<const uint32_t> tokens;
  std::vector<Rows> buffers;
  Rows logits;

  const Row* parameter(uint32_t index) const { return index == none ? nullptr : &values[index]; }

  Row read(size_t t, const Columns& at) const {
    const Row& row = buffers[at.buffer][t];
    return {row.begin() + at.column, row.begin() + at.column + at.width};
  }
  void write(size_t t, const Columns& at, const Row& row) {
    std::ranges::copy(row, buffers[at.buffer][t].begin() + at.column);
  }
  template <class Function>
  void each_token(Function&& function) {
    for (size_t t = 0; t < tokens.size(); ++t) function(t);
  }

  static Row normalized(const Row& x, const Row* weight, const Row* bias, double epsilon,
                        double offset, uint32_t kind) {
    double mean = 0, square = 0;
    for (const double v : x) mean += v / static_cast<double>(x.size());
    if (kind == 0) mean = 0;
    for (const double v : x) square += (v - mean) * (v - mean) / static_cast<double>(x.size());
    Row out;
    for (size_t i = 0; i < x.size(); ++i) {
      const double scaled = (x[i] - mean) / std::sqrt(square + epsilon);
      out.push_back(scaled * (weight != nullptr ? (*weight)[i] + offset : 1) +
                    (bias != nullptr ? (*bias)[i] : 0));
    }
    return out;
  }

  static Row product(const Row& x, const Row& weight, const Row* bias) {
    Row out(weight.size() / x.size());
    for (size_t n = 0; n < out.size(); ++n) {
      for (size_t k = 0; k < x.size(); ++k) out[n] += x[k] * weight[n * x.size() + k];
      if (bias != nullptr) out[n] += (*bias)[n];
    }
    return out;
  }

  void operator()(const program::Embed& op) {
    each_token([&](size_t t) {
      Row row(op.out.width);
      for (size_t i = 0; i < row.size(); ++i) {
        row[i] = values[op.table][tokens[t] * row.size() + i] * op.scale;
      }
      write(t, op.out, row);
    });
  }
  void operator()(const program::Norm& op) {
    each_token([&](size_t t) {
      write(t, op.out, normalized(read(t, op.in), parameter(op.weight), parameter(op.bias),
                                  op.epsilon, op.weight_offset, op.kind));
    });
  }
  void operator()(const program::Linear& op) {
    each_token([&](size_t t) {
      write(t, op.out, product(read(t, op.in), values[op.weight], parameter(op.bias)));
    });
  }
  void operator()(const program::Activate& op) {
    each_token([&](size_t t) {
      Row gate = read(t, op.gate);
      const Row up = op.up.width != 0 ? read(t, op.up) : Row(gate.size(), 1.0);
      for (size_t i = 0; i < gate.size(); ++i) gate[i] = activation(gate[i], op.kind) * up[i];
      write(t, op.out, gate);
    });
  }
  void operator()(const program::Add& op) {
    each_token([&](size_t t) {
      Row a = read(t, op.a);
      const Row b = read(t, op.b);
      for (size_t i = 0; i < a.size(); ++i) a[i] += op.scale_b * b[i];
      write(t, op.out, a);
    });
  }
  void operator()(const program::Select& op) {
    each_token([&](size_t t) { write(t, op.out, read(t, op.in)); });
  }
  void operator()(const program::Head& op) {
    each_token([&](size_t t) {
      Row row = product(read(t, op.in), values[op.weight], parameter(op.bias));
      for (double& v : row) {
        v *= op.scale;
        if (op.softcap > 0) v = op.softcap * std::tanh(v / op.softcap);
      }
      logits.push_back(row);
    });
  }

  template <class Collective>
  void operator()(const Collective&) {
    throw std::logic_error("the oracle is one rank");
  }

  /// Rotates the head at `row[start …]`.
  void rotate(Row& row, size_t start, const program::Rope& rope, double position) const {
    const size_t half = rope.width / 2;
    double base = rope.base;
    if (rope.dynamic_from > 0 && position >= rope.dynamic_from) {
      const double stretch = rope.dynamic_factor * (position + 1) / rope.dynamic_from -
                             (rope.dynamic_factor - 1.0);
      base *= std::pow(stretch, rope.width / (rope.width - 2.0));
    }
    for (size_t i = 0; i < half; ++i) {
      const double frequency = rope.frequencies.empty()
                                   ? std::pow(base, -2.0 * static_cast<double>(i) / rope.width)
                                   : 1 / static_cast<double>(rope.frequencies[i]);
      const double angle = position * rope.scale * frequency;
      double& a = row[start + (rope.traditional ? 2 * i : i)];
      double& b = row[start + (rope.traditional ? 2 * i + 1 : i + half)];
      const double x = a * rope.pre_scale, y = b * rope.pre_scale;
      a = x * std::cos(angle) - y * std::sin(angle);
      b = x * std::sin(angle) + y * std::cos(angle);
    }
  }

  Row prepared(const program::Attention& op, Row row, size_t t, uint32_t heads,
               uint32_t norm) const {
    const size_t width = op.head_width;
    for (size_t h = 0; h < heads; ++h) {
      const auto begin = row.begin() + static_cast<ptrdiff_t>(h * width);
      if (op.norm_kind == 1) {
        const Row head(begin, begin + static_cast<ptrdiff_t>(width));
        std::ranges::copy(normalized(head, parameter(norm), nullptr, op.norm_epsilon,
                                     op.norm_weight_offset, 0),
                          begin);
      }
      if (op.rope != none) {
        rotate(row, h * width, program.ropes[op.rope], static_cast<double>(t));
      }
    }
    return row;
  }

  Row attend(const program::Attention& op, const Row& q, const Rows& keys, const Rows& all_values,
             size_t head, size_t t) const {
    const size_t group = (op.first_in_group + head) / op.group_heads;
    const size_t from = op.window > 0 && t + 1 > op.window ? t + 1 - op.window : 0;
    Row scores;
    for (size_t s = from; s <= t; ++s) {
      double score = 0;
      for (size_t i = 0; i < op.head_width; ++i) {
        score += q[head * op.head_width + i] * keys[s][group * op.head_width + i];
      }
      score *= op.scale;
      scores.push_back(op.softcap > 0 ? op.softcap * std::tanh(score / op.softcap) : score);
    }
    double highest = op.sinks == none ? scores[0] : values[op.sinks][head];
    for (const double score : scores) highest = std::max(highest, score);
    double total = op.sinks == none ? 0 : std::exp(values[op.sinks][head] - highest);
    for (double& score : scores) total += score = std::exp(score - highest);
    Row out(op.value_width);
    for (size_t s = from; s <= t; ++s) {
      for (size_t i = 0; i < out.size(); ++i) {
        out[i] += scores[s - from] / total * all_values[s][group * out.size() + i];
      }
    }
    return out;
  }

  void operator()(const program::Attention& op) {
    Rows queries, keys, all_values;
    each_token([&](size_t t) {
      queries.push_back(prepared(op, read(t, op.q), t, op.heads, op.q_norm));
      keys.push_back(prepared(op, read(t, op.k), t, op.key_heads, op.k_norm));
      all_values.push_back(read(t, op.v));
      if (op.query_scale_original == 0) return;
      const double turns = std::floor(static_cast<double>(t) / op.query_scale_original);
      for (double& v : queries.back()) v *= 1 + op.query_scale_beta * std::log(1 + turns);
    });
    each_token([&](size_t t) {
      Row out;
      for (size_t head = 0; head < op.heads; ++head) {
        const Row part = attend(op, queries[t], keys, all_values, head, t);
        out.insert(out.end(), part.begin(), part.end());
      }
      write(t, op.out, out);
    });
  }
};

}  // namespace

std::vector<std::vector<double>> run_plainly(const program::Program& program,
                                             const ParameterValues& parameters,
                                             std::span<const uint32_t> tokens) {
  Run run{program, parameters, tokens, {}, {}};
  for (const program::Buffer& buffer : program.buffers) {
    run.buffers.emplace_back(tokens.size(), Row(buffer.width));
  }
  for (const program::Operation& operation : program.operations) std::visit(run, operation);
  return run.logits;
}

}  // namespace cidery::test
