#include "mlx/executor.h"

#include <algorithm>
#include <new>
#include <string_view>

#include "program/ranks.h"

namespace cidery::mlx {
namespace {

static_assert(MLX_VERSION_NUMERIC == 32004, "the executor is written against MLX 0.32.4");

/// Freed buffers that MLX keeps for reuse; a step of a mid-sized model needs less.
constexpr size_t cpu_cache_bytes = size_t{256} << 20;
constexpr size_t gpu_cache_bytes = size_t{1} << 30;

bool says_out_of_memory(std::string_view message) {
  return message.find("malloc") != std::string_view::npos ||
         message.find("out of memory") != std::string_view::npos ||
         message.find("Insufficient Memory") != std::string_view::npos;
}

/// Rows over which an operation works; the head's are those whose logits are wanted.
program::Domain domain_of(const program::Program& program, const program::Operation& operation) {
  const auto buffer = std::visit(
      [](const auto& op) {
        if constexpr (requires { op.out; }) return op.out.buffer;
        else if constexpr (requires { op.data; }) return op.data.buffer;
        else return op.in.buffer;
      },
      operation);
  return program.buffers[buffer].domain;
}

/// Where rank 0 of a pipeline waits for what the last rank sends; else the end.
size_t find_second_half(const program::Program& program) {
  const auto& operations = program.operations;
  if (program.rank > 0) return operations.size();
  const auto receive = std::ranges::find_if(operations, [](const program::Operation& operation) {
    return std::holds_alternative<program::Receive>(operation);
  });
  return static_cast<size_t>(receive - operations.begin());
}

}  // namespace

MlxExecutor::MlxExecutor(program::Program program, const program::ExecutorOptions& options)
    : program_(std::move(program)),
      second_half_(find_second_half(program_)),
      device_(options.gpu ? mx::Device::gpu : mx::Device::cpu),
      precise_(options.precise),
      weights_(program_.parameters.size()),
      slot_count_(options.slots),
      positions_(options.positions),
      history_(options.slots) {
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

void MlxExecutor::join(std::unique_ptr<group::Group> group) {
  if (group_ || slots_) throw Error("engine_state", "a group is joined once, before bind");
  if (program_.ranks == 1 || group->size() != program_.ranks || group->rank() != program_.rank) {
    throw Error("engine_state", "the group is not that of the program's ranks");
  }
  group_ = std::move(group);
}

void MlxExecutor::agree_with_ranks() {
  if (!group_) throw Error("engine_state", "a program of several ranks has joined no group");
  program::ExecutorOptions options;
  options.slots = slot_count_;
  options.positions = positions_;
  options.precise = precise_;
  auto parts = program::agree(*group_, program_, options, {});
  if (parts[0].rows < program_.vocabulary) split_head_.emplace(*group_, std::move(parts));
  collectives_.emplace(*group_);
}

void MlxExecutor::bind() {
  prepare();
  for (size_t i = 0; i < weights_.size(); ++i) {
    if (!weights_[i]) {
      throw Error("parameter_missing", program_.parameters[i].path + " was not loaded");
    }
  }
  if (program_.ranks > 1) agree_with_ranks();
  frequencies_.clear();
  for (const program::Rope& rope : program_.ropes) {
    std::optional<mx::array>& frequencies = frequencies_.emplace_back();
    if (rope.frequencies.empty()) continue;
    frequencies = mx::array(rope.frequencies.begin(), {static_cast<int>(rope.frequencies.size())});
  }
  slots_.emplace(program_.caches, slot_count_, compute_ ? compute_->dtype : mx::float32);
  mx::clear_cache();
}

uint32_t MlxExecutor::depth() const noexcept {
  return second_half_ < program_.operations.size() ? program_.ranks : 1;
}

/// Does work after which the engine is of no use unless it ends well.
template <class Work>
Status MlxExecutor::guarded(Work&& work) noexcept {
  if (failed_ || !slots_) {
    return {"engine_failed", failed_ ? "the engine has failed before" : "the engine is not bound"};
  }
  Status status;
  try {
    prepare();
    work();
    return {};
  } catch (const Error& error) {
    status = {error.code(), error.what()};
  } catch (const std::bad_alloc&) {
    status = {"out_of_memory", "no memory for a step"};
  } catch (const std::exception& error) {
    status = {says_out_of_memory(error.what()) ? "out_of_memory" : "engine_failed", error.what()};
  } catch (...) {
    status = {"engine_failed", "a step threw something that is no exception"};
  }
  give_up();
  return status;
}

Status MlxExecutor::step(const program::StepPlan& plan, program::StepResult& result) noexcept {
  return guarded([&] {
    if (!begun_.empty()) {
      throw Error("engine_state", "steps that were begun have to be finished first");
    }
    Begun step = run_first_half(plan);
    run_second_half(step, result);
  });
}

Status MlxExecutor::begin(program::StepPlan plan) noexcept {
  return guarded([&] {
    if (begun_.size() == depth()) throw Error("engine_state", "no more steps may be begun");
    begun_.push_back(run_first_half(std::move(plan)));
  });
}

Status MlxExecutor::finish(program::StepResult& result) noexcept {
  return guarded([&] {
    if (begun_.empty()) throw Error("engine_state", "no step was begun");
    run_second_half(begun_.front(), result);
    begun_.pop_front();
  });
}

/// On rank 0 of a pipeline up to what goes to the next rank, else all that a step computes.
MlxExecutor::Begun MlxExecutor::run_first_half(program::StepPlan plan) {
  apply_slots(plan);
  Begun step{std::move(plan), {}, {Activations(program_.buffers.size()), {}, {}}};
  step.stream = make_stream(step.plan);
  run_operations(step, 0, second_half_);
  if (depth() > 1) {
    evaluate(step.stream, std::nullopt);
    step.graph = {Activations(program_.buffers.size()), {}, {}};
  }
  return step;
}

void MlxExecutor::run_second_half(Begun& step, program::StepResult& result) {
  run_operations(step, second_half_, program_.operations.size());
  result.number = step.plan.number;
  result.sequences.clear();
  if (step.stream.tokens.empty()) return;
  evaluate(step.stream, step.graph.logits);
  collect(step, result);
}

void MlxExecutor::run_operations(Begun& step, size_t begin, size_t end) {
  const Stream& stream = step.stream;
  if (stream.tokens.empty()) return;
  for (size_t i = begin; i < end; ++i) {
    const program::Operation& operation = program_.operations[i];
    const bool selected = domain_of(program_, operation) == program::Domain::selected;
    if (selected && stream.selected.empty()) continue;
    std::visit([&](const auto& op) { run_operation(op, stream, step.graph); }, operation);
  }
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
    const uint32_t wanted = wanted_rows(sequence);
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

/// Drops what a broken step may have left half made, and in any case all that MLX memory holds.
void MlxExecutor::give_up() noexcept {
  failed_ = true;
  slots_.reset();
  begun_.clear();
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

}  // namespace cidery::mlx

namespace cidery::program {

std::unique_ptr<Executor> open_mlx_executor(Program program, const ExecutorOptions& options) {
  return std::make_unique<mlx::MlxExecutor>(std::move(program), options);
}

}  // namespace cidery::program
