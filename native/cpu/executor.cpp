#include "cpu/executor.h"

#include <algorithm>
#include <new>

#include "cpu/dispatch.h"
#include "cpu/float_mode.h"
#include "cpu/ops/sampling.h"

namespace cidery::cpu {
namespace {

constexpr uint64_t activation_slab_bytes = uint64_t{16} << 20;

/// Rows of a sequence, counted from its end, whose logits are wanted.
uint32_t wanted_rows(const program::PlannedSequence& sequence) {
  if (sequence.want == program::Want::nothing) return 0;
  return std::min(sequence.count, sequence.logit_rows);
}

}  // namespace

CpuExecutor::CpuExecutor(program::Program program, const program::ExecutorOptions& options,
                         const Kernels& kernels)
    : program_(std::move(program)),
      options_(options),
      kernels_(kernels),
      pool_(options.threads),
      weights_(program_.parameters),
      arena_(activation_slab_bytes),
      history_(options.slots) {}

void CpuExecutor::load(const load::ParameterSource& source, const load::FileSet& files) {
  set_float_mode();
  if (source.parameter >= program_.parameters.size()) {
    throw Error("parameter_mismatch", "a source names a parameter that the program does not have");
  }
  weights_.load(program_.parameters[source.parameter], source, files, pool_);
}

void CpuExecutor::bind() {
  weights_.finish(program_.parameters);
  cache_.emplace(program_.caches,
                 CacheOptions{options_.precise ? CacheType::f32 : CacheType::u8, options_.slots,
                              options_.positions, options_.cache_positions});
  bound_ = bind_program(program_, weights_,
                        {options_.precise, pool_.threads(), options_.positions}, arena_);
  for (auto* rows : {&pass_.tokens, &pass_.positions, &pass_.slots}) rows->reserve(most_rows);
  pass_.sequences.reserve(most_rows);
  pass_.wanted.reserve(most_rows);
}

Status CpuExecutor::step(const program::StepPlan& plan, program::StepResult& result) noexcept {
  if (failed_ || !bound_) {
    return {"engine_failed", failed_ ? "the engine has failed before" : "the engine is not bound"};
  }
  set_float_mode();
  failed_ = true;
  try {
    if (!apply_slots(plan)) {
      return {"out_of_memory", "the cache has no room left for the step's positions"};
    }
    prepare_result(plan, result);
    run_passes(plan, result);
  } catch (const std::bad_alloc&) {
    return {"out_of_memory", "no memory for a step"};
  }
  failed_ = false;
  peak_bytes_ = memory().peak_bytes;
  return {};
}

bool CpuExecutor::apply_slots(const program::StepPlan& plan) noexcept {
  for (const uint32_t slot : plan.retired) cache_->retire(slot);
  for (const program::SlotCopy& copy : plan.copies) {
    cache_->copy(copy.from, copy.to, copy.positions);
  }
  return std::ranges::all_of(plan.sequences, [this](const auto& sequence) {
    return cache_->extend(sequence.slot, sequence.first_position, sequence.count);
  });
}

/// Empties the entries of the plan's sequences and makes room for the logits that they want.
void CpuExecutor::prepare_result(const program::StepPlan& plan,
                                 program::StepResult& result) const {
  result.number = plan.number;
  result.sequences.resize(plan.sequences.size());
  for (size_t i = 0; i < plan.sequences.size(); ++i) {
    const program::PlannedSequence& sequence = plan.sequences[i];
    program::SequenceResult& entry = result.sequences[i];
    entry.slot = sequence.slot;
    entry.sampled = false;
    entry.finite = true;
    entry.token = 0;
    entry.logprob = 0;
    entry.alternatives.clear();
    const bool raw = sequence.want == program::Want::logits;
    entry.logits.resize(raw ? size_t{wanted_rows(sequence)} * program_.vocabulary : 0);
  }
}

/// Cuts the step into passes of at most `most_rows` rows.
void CpuExecutor::run_passes(const program::StepPlan& plan, program::StepResult& result) {
  const auto& news = history_.apply(plan);
  pass_.sequences.clear();
  for (uint32_t i = 0; i < plan.sequences.size(); ++i) {
    const auto count = static_cast<uint32_t>(news[i].size());
    for (uint32_t from = 0; from < count;) {
      const uint32_t fitting = std::min(count - from, most_rows - pass_.rows());
      append_rows(plan.sequences[i], i, from, fitting, news[i]);
      from += fitting;
      if (pass_.rows() == most_rows) run_pass(plan, result);
    }
  }
  if (pass_.rows() > 0) run_pass(plan, result);
  for (const program::SequenceResult& entry : result.sequences) {
    if (entry.sampled) history_.record(entry.slot, entry.token);
  }
}

void CpuExecutor::append_rows(const program::PlannedSequence& sequence, uint32_t index,
                              uint32_t from, uint32_t count, std::span<const uint32_t> tokens) {
  const uint32_t first_row = pass_.rows(), first_position = sequence.first_position + from;
  pass_.sequences.push_back({sequence.slot, first_row, count, first_position});
  const auto first_wanted = static_cast<uint32_t>(tokens.size()) - wanted_rows(sequence);
  for (uint32_t i = 0; i < count; ++i) {
    pass_.tokens.push_back(tokens[from + i]);
    pass_.positions.push_back(first_position + i);
    pass_.slots.push_back(sequence.slot);
    if (from + i >= first_wanted) {
      pass_.wanted.push_back({first_row + i, index, from + i - first_wanted});
    }
  }
}

/// Runs the program over the rows that have gathered, and forgets them.
void CpuExecutor::run_pass(const program::StepPlan& plan, program::StepResult& result) {
  const Tools tools{kernels_, pool_, *cache_, pass_};
  const auto wanted = static_cast<uint32_t>(pass_.wanted.size());
  for (const Region& region : bound_->regions) {
    if (const auto* rows = std::get_if<RowRegion>(&region)) {
      rows->run(tools);
    } else if (const auto* matrices = std::get_if<MatmulRegion>(&region)) {
      const bool tokens = matrices->domain == program::Domain::tokens;
      matrices->run(tools, 0, tokens ? pass_.rows() : wanted, 0);
    } else {
      std::get<AttendRegion>(region).run(tools);
    }
  }
  for (uint32_t from = 0; from < wanted; from += most_logit_rows) {
    const uint32_t count = std::min(most_logit_rows, wanted - from);
    bound_->head.run(tools, from, count, 0);
    collect_logits(tools, plan, history_, std::span(pass_.wanted).subspan(from, count),
                   bound_->logits, result);
  }
  for (auto* rows : {&pass_.tokens, &pass_.positions, &pass_.slots}) rows->clear();
  pass_.sequences.clear();
  pass_.wanted.clear();
}

program::MemoryUse CpuExecutor::memory() const noexcept {
  program::MemoryUse use;
  use.weight_bytes = weights_.used_bytes();
  use.cache_bytes = cache_ ? cache_->used_bytes() : 0;
  use.active_bytes = use.weight_bytes + use.cache_bytes + arena_.used_bytes();
  use.peak_bytes = std::max(peak_bytes_, use.active_bytes);
  return use;
}

}  // namespace cidery::cpu

namespace cidery::program {

std::unique_ptr<Executor> open_cpu_executor(Program program, const ExecutorOptions& options) {
  return std::make_unique<cpu::CpuExecutor>(std::move(program), options,
                                            cpu::kernels_from_environment());
}

}  // namespace cidery::program
