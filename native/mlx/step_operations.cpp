#include "mlx/executor.h"
#include "mlx/operations.h"

/// How MlxExecutor runs each operation: what it reads and writes of a step's activations.
namespace cidery::mlx {
namespace {

mx::array index_array(const std::vector<uint32_t>& values) {
  return mx::array(values.begin(), {static_cast<int>(values.size())}, mx::uint32);
}

}  // namespace

/// Where the table is a part of the vocabulary, tokens of other ranks get rows of zeros.
void MlxExecutor::run_operation(const program::Embed& op, const Stream& stream, Graph& graph) {
  const uint32_t held = program_.parameters[op.table].shape[0];
  std::vector<uint32_t> rows;
  std::vector<float> own;
  for (const uint32_t token : stream.tokens) {
    const uint32_t row = token - op.first;
    own.push_back(row < held ? 1.0f : 0.0f);
    rows.push_back(row < held ? row : 0);
  }
  mx::array values = embed(op, weight(op.table), index_array(rows), compute_->dtype);
  if (held < program_.vocabulary) {
    const mx::array mask(own.begin(), {static_cast<int>(own.size()), 1}, values.dtype());
    values = mx::where(mask, values, mx::zeros_like(values));
  }
  graph.activations.write(op.out, std::move(values));
}

void MlxExecutor::run_operation(const program::Norm& op, const Stream&, Graph& graph) {
  graph.activations.write(op.out, norm(graph.activations.read(op.in), optional_weight(op.weight),
                                       optional_weight(op.bias), op.epsilon, op.weight_offset,
                                       op.kind));
}

void MlxExecutor::run_operation(const program::Linear& op, const Stream&, Graph& graph) {
  graph.activations.write(op.out, linear(graph.activations.read(op.in), weight(op.weight),
                                         optional_weight(op.bias)));
}

void MlxExecutor::run_operation(const program::Attention& op, const Stream& stream, Graph& graph) {
  AttentionContext context;
  context.q_norm = optional_weight(op.q_norm);
  context.k_norm = optional_weight(op.k_norm);
  context.sinks = optional_weight(op.sinks);
  if (op.rope != program::none) {
    context.rope = &program_.ropes[op.rope];
    context.frequencies = frequencies_[op.rope];
  }
  const Activations& from = graph.activations;
  graph.activations.write(op.out, attention(op, context, from.read(op.q), from.read(op.k),
                                            from.read(op.v), stream.sequences, *slots_));
}

void MlxExecutor::run_operation(const program::Activate& op, const Stream&, Graph& graph) {
  std::optional<mx::array> up;
  if (op.up.width != 0) up = graph.activations.read(op.up);
  graph.activations.write(op.out, activate(graph.activations.read(op.gate), up, op.kind));
}

void MlxExecutor::run_operation(const program::Add& op, const Stream&, Graph& graph) {
  graph.activations.write(
      op.out, add(graph.activations.read(op.a), graph.activations.read(op.b), op.scale_b));
}

void MlxExecutor::run_operation(const program::Select& op, const Stream& stream, Graph& graph) {
  const mx::array rows = graph.activations.read(op.in);
  const bool all = stream.selected.size() == stream.tokens.size();
  graph.activations.write(op.out, all ? rows : mx::take(rows, index_array(stream.selected), 0));
}

void MlxExecutor::run_operation(const program::Head& op, const Stream&, Graph& graph) {
  const mx::array in = graph.activations.read(op.in);
  if (split_head_) graph.head_in = in;
  graph.logits = head(op, in, weight(op.weight), optional_weight(op.bias));
}

void MlxExecutor::run_operation(const program::AllSum& op, const Stream&, Graph& graph) {
  graph.activations.write(op.data, collectives_->sum(graph.activations.read(op.data)));
}

void MlxExecutor::run_operation(const program::AllGather& op, const Stream&, Graph& graph) {
  graph.activations.write(op.out, collectives_->gather(graph.activations.read(op.in),
                                                       program_.layouts[op.layout]));
}

void MlxExecutor::run_operation(const program::Send& op, const Stream&, Graph& graph) {
  collectives_->send(graph.activations.read(op.in), op.to);
}

void MlxExecutor::run_operation(const program::Receive& op, const Stream& stream, Graph& graph) {
  const bool all = program_.buffers[op.out.buffer].domain == program::Domain::tokens;
  const size_t rows = all ? stream.tokens.size() : stream.selected.size();
  graph.activations.write(op.out, collectives_->receive(static_cast<uint32_t>(rows), op.out.width,
                                                        compute_->dtype, op.from));
}

}  // namespace cidery::mlx
