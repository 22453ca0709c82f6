#include "mlx/executor.h"

#include <algorithm>
#include <new>
#include <string_view>

#include "mlx/operations.h"
#include "sampling/sampler.h"

namespace cidery::mlx {
namespace {

static_assert(MLX_VERSION_NUMERIC == 32004, "the executor is written against MLX 0.32.4");

/// Freed buffers that MLX keeps for reuse; a step of a mid-sized model needs less.
constexpr size_t cpu_cache_bytes = size_t{256} << 20;
constexpr size_t gpu_cache_bytes = size_t{1} << 30;

mx::array index_array(const std::vector<uint32_t>& values) {
  return mx::array(values.begin(), {static_cast<int>(values.size())}, mx::uint32);
}

bool says_out_of_memory(std::string_view message) {
  return message.find("malloc") != std::string_view::npos ||
         message.find("out of memory") != std::string_view::npos ||
         message.find("Insufficient Memory") != std::string_view::npos;
}

/// Where an operation writes; the head writes the step's logits.
uint32_t output_buffer(const program::Operation& operation) {
  return std::visit(
      [](const auto& op) {
        if constexpr (requires { op.out; }) return op.out.buffer;
        else return program::none;
      },
      operation);
}

}  // namespace

MlxExecutor::MlxExecutor(program::Program program, const program::ExecutorOptions& options)
    : program_(std::move(program)),
      device_(options.gpu ? mx::Device::gpu : mx::Device::cpu),
      precise_(options.precise),
      weights_(program_.parameters.size()),
      slot_count_(options.slots),
      history_(options.slots) {
  if (program_.ranks > 1) {
    throw Error("unsupported", "this executor runs programs of one rank only");
  }
  if (!mx::is_available(device_)) {
    throw Error("device_unavailable", "MLX finds no GPU that it can use on this machine");
  }
  mx::set_cache_limit(options.gpu ? gpu_cache_bytes : cpu_cache_bytes);
}

MlxExecutor::~MlxExecutor() { give_up(); }

/// MLX's default device is one of the process; each call sets it, so that executors of both kinds
/// can live together.
void MlxExecutor::prepare() const { mx::set_default_device(device_); }

/// f32 on the CPU and in precise mode; else the 16-bit type that the first parameter is stored in,
/// bf16 where it is in neither.
void MlxExecutor::settle_dtype(const load::ParameterSource& source) {
  const bool cpu = device_ == mx::Device::cpu;
  mx::Dtype dtype = mx::float32;
  if (!cpu && !precise_) {
    const bool half = std::ranges::any_of(source.parts, [](const load::Part& part) {
      return part.format == load::Format::f16;
    });
    dtype = half ? mx::float16 : mx::bfloat16;
  }
  compute_ = Compute{cpu, dtype};
}

void MlxExecutor::load(const load::ParameterSource& source, const load::FileSet& files) {
  prepare();
  if (source.parameter >= weights_.size()) {
    throw Error("parameter_mismatch", "a source names a parameter that the program does not have");
  }
  if (!compute_) settle_dtype(source);
  const program::Parameter& parameter = program_.parameters[source.parameter];
  try {
    weights_[source.parameter] = load_weight(parameter, source, files, *compute_);
  } catch (const std::bad_alloc&) {
    throw Error("out_of_memory", parameter.path + ": no memory for it");
  } catch (const std::runtime_error& error) {
    throw Error(says_out_of_memory(error.what()) ? "out_of_memory" : "engine_failed",
                parameter.path + ": " + error.what());
  }
}

void MlxExecutor::bind() {
  prepare();
  for (size_t i = 0; i < weights_.size(); ++i) {
    if (!weights_[i]) {
      throw Error("parameter_missing", program_.parameters[i].path + " was not loaded");
    }
  }
  frequencies_.clear();
  for (const program::Rope& rope : program_.ropes) {
    std::optional<mx::array>& frequencies = frequencies_.emplace_back();
    if (rope.frequencies.empty()) continue;
    frequencies = mx::array(rope.frequencies.begin(), {static_cast<int>(rope.frequencies.size())});
  }
  slots_.emplace(program_.caches, slot_count_, compute_ ? compute_->dtype : mx::float32);
  mx::clear_cache();
}

Status MlxExecutor::step(const program::StepPlan& plan,
                                  program::StepResult& result) noexcept {
  if (failed_ || !slots_) {
    return {"engine_failed", failed_ ? "the engine has failed before" : "the engine is not bound"};
  }
  try {
    run(plan, result);
    return {};
  } catch (const std::bad_alloc&) {
    give_up();
    return {"out_of_memory", "no memory for a step"};
  } catch (const std::exception& error) {
    give_up();
    return {says_out_of_memory(error.what()) ? "out_of_memory" : "engine_failed", error.what()};
  } catch (...) {
    give_up();
    return {"engine_failed", "a step threw something that is no exception"};
  }
}

void MlxExecutor::run(const program::StepPlan& plan, program::StepResult& result) {
  prepare();
  apply_slots(plan);
  const Stream stream = make_stream(plan);
  result.number = plan.number;
  result.sequences.clear();
  if (stream.tokens.empty()) return;
  Graph graph{Activations(program_.buffers.size()), std::nullopt};
  for (const program::Operation& operation : program_.operations) {
    const uint32_t out = output_buffer(operation);
    const bool selected =
        out == program::none || program_.buffers[out].domain == program::Domain::selected;
    if (selected && stream.selected.empty()) continue;
    std::visit(
        [&](const auto& op) {
          // What several ranks do is refused when an executor is opened.
          if constexpr (requires { run_operation(op, stream, graph); }) {
            run_operation(op, stream, graph);
          }
        },
        operation);
  }
  evaluate(stream, graph.logits);
  collect(plan, graph.logits, result);
}

void MlxExecutor::apply_slots(const program::StepPlan& plan) {
  for (const uint32_t slot : plan.retired) slots_->retire(slot);
  for (const program::SlotCopy& copy : plan.copies) slots_->copy(copy.from, copy.to);
}

MlxExecutor::Stream MlxExecutor::make_stream(const program::StepPlan& plan) {
  Stream stream;
  const auto news = history_.apply(plan);
  for (size_t i = 0; i < plan.sequences.size(); ++i) {
    const program::PlannedSequence& sequence = plan.sequences[i];
    const auto first_row = static_cast<uint32_t>(stream.tokens.size());
    const auto count = static_cast<uint32_t>(news[i].size());
    stream.sequences.push_back({sequence.slot, first_row, count, sequence.first_position});
    stream.tokens.insert(stream.tokens.end(), news[i].begin(), news[i].end());
    const uint32_t wanted =
        sequence.want == program::Want::nothing ? 0 : std::min(count, sequence.logit_rows);
    for (uint32_t row = count - wanted; row < count; ++row) {
      stream.selected.push_back(first_row + row);
    }
  }
  return stream;
}

/// The one evaluation of a step: logits, and the caches also of sequences that want none.
void MlxExecutor::evaluate(const Stream& stream, const std::optional<mx::array>& logits) const {
  std::vector<mx::array> outputs;
  if (logits) outputs.push_back(*logits);
  for (const SequenceRows& rows : stream.sequences) slots_->append_arrays(rows.slot, outputs);
  mx::eval(std::move(outputs));
}

void MlxExecutor::collect(const program::StepPlan& plan, const std::optional<mx::array>& logits,
                          program::StepResult& result) {
  std::optional<mx::array> host;
  if (logits) {
    host = mx::contiguous(*logits);
    host->eval();
  }
  const size_t vocabulary = program_.vocabulary;
  float* row = host ? host->data<float>() : nullptr;
  for (const program::PlannedSequence& sequence : plan.sequences) {
    program::SequenceResult entry;
    const size_t rows = std::min(sequence.count, sequence.logit_rows);
    if (sequence.want == program::Want::sample) {
      const auto tokens = history_.tokens(sequence.slot);
      entry = sampling::sample({row, vocabulary}, sequence.sampler, tokens,
                               history_.held(sequence.slot));
      if (entry.sampled) history_.record(sequence.slot, entry.token);
    } else if (sequence.want == program::Want::logits) {
      entry.logits.assign(row, row + rows * vocabulary);
    }
    if (sequence.want != program::Want::nothing) row += rows * vocabulary;
    entry.slot = sequence.slot;
    result.sequences.push_back(std::move(entry));
  }
}

/// Drops what a broken step may have left half made, and in any case all that MLX memory holds.
void MlxExecutor::give_up() noexcept {
  failed_ = true;
  slots_.reset();
  weights_.clear();
  frequencies_.clear();
  try {
    mx::clear_cache();
  } catch (...) {
    // Memory is then given back when the process ends.
  }
}

program::MemoryUse MlxExecutor::memory() const noexcept {
  program::MemoryUse use;
  for (const auto& weight : weights_) {
    if (!weight) continue;
    use.weight_bytes += weight->size_bytes();
    use.live_arrays += weight->array_count();
  }
  for (const auto& frequencies : frequencies_) use.live_arrays += frequencies ? 1 : 0;
  if (slots_) {
    use.live_arrays += slots_->array_count();
    use.cache_bytes = slots_->size_bytes();
  }
  use.active_bytes = mx::get_active_memory();
  use.peak_bytes = mx::get_peak_memory();
  return use;
}

void MlxExecutor::run_operation(const program::Embed& op, const Stream& stream, Graph& graph) {
  graph.activations.write(
      op.out, embed(op, weight(op.table), index_array(stream.tokens), compute_->dtype));
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
  graph.logits = head(op, graph.activations.read(op.in), weight(op.weight),
                      optional_weight(op.bias));
}

}  // namespace cidery::mlx

namespace cidery::program {

std::unique_ptr<Executor> open_mlx_executor(Program program, const ExecutorOptions& options) {
  return std::make_unique<mlx::MlxExecutor>(std::move(program), options);
}

}  // namespace cidery::program
