#include "cpu/executor.h"

#include <algorithm>
#include <new>

#include "cpu/dispatch.h"
#include "cpu/float_mode.h"
#include "cpu/ops/sampling.h"
#include "program/ranks.h"

namespace cidery::cpu {
namespace {

constexpr uint64_t activation_slab_bytes = uint64_t{16} << 20;

/// Rows of a sequence, counted from its end, whose logits are wanted.
uint32_t wanted_rows(const program::PlannedSequence& sequence) {
  if (sequence.want == program::Want::nothing) return 0;
  return std::min(sequence.count, sequence.logit_rows);
}

/// The parameter that makes logits; none on a rank that makes none.
uint32_t head_matrix(const program::Program& program) {
  for (const program::Operation& operation : program.operations) {
    if (const auto* head = std::get_if<program::Head>(&operation)) return head->weight;
  }
  return program::none;
}

}  // namespace

CpuExecutor::CpuExecutor(program::Program program, const program::ExecutorOptions& options,
                         const Kernels& kernels)
    : program_(std::move(program)),
      options_(options),
      kernels_(kernels),
      pool_(options.threads),
      weights_(program_.parameters, options.precise ? program::none : head_matrix(program_)),
      arena_(activation_slab_bytes),
      history_(options.slots) {}

void CpuExecutor::load(const load::ParameterSource& source, const load::FileSet& files) {
  set_float_mode();
  if (source.parameter >= program_.parameters.size()) {
    throw Error("parameter_mismatch", "a source names a parameter that the program does not have");
  }
  weights_.load(program_.parameters[source.parameter], source, files, pool_);
}

void CpuExecutor::join(std::unique_ptr<group::Group> group) {
  if (group_ || bound_) throw Error("engine_state", "a group is joined once, before bind");
  if (program_.ranks == 1 || group->size() != program_.ranks || group->rank() != program_.rank) {
    throw Error("engine_state", "the group is not that of the program's ranks");
  }
  group_ = std::move(group);
}

void CpuExecutor::bind() {
  weights_.finish(program_.parameters);
  if (program_.ranks > 1) {
    if (!group_) throw Error("engine_state", "a program of several ranks has joined no group");
    auto parts = program::agree(*group_, program_, options_, {most_rows, most_logit_rows});
    const bool whole = parts[0].rows == program_.vocabulary;
    if (!whole) split_head_.emplace(*group_, std::move(parts));
  }
  cache_.emplace(program_.caches,
                 CacheOptions{options_.precise ? CacheType::f32 : CacheType::u8, options_.slots,
                              options_.positions, options_.cache_positions});
  bound_ = bind_program(
      program_, weights_,
      {options_.precise, pool_.threads(), options_.positions, group_.get()}, arena_);
  if (GreedyHead::serves(bound_->head)) greedy_head_.emplace(bound_->head, arena_);
  for (auto* rows : {&pass_.tokens, &pass_.positions, &pass_.slots}) rows->reserve(most_rows);
  pass_.sequences.reserve(most_rows);
  pass_.wanted.reserve(most_rows);
  if (depth() > 1) begun_.resize(depth());
}

uint32_t CpuExecutor::depth() const noexcept {
  return bound_ && bound_->first_regions < bound_->regions.size() ? program_.ranks : 1;
}

/// Whether a step may run; `plan` is null for one that was checked before.
Status CpuExecutor::check_ready(const program::StepPlan* plan) const {
  if (failed_) return {"engine_failed", "the engine has failed before"};
  if (!bound_) return {"engine_failed", "the engine is not bound"};
  if (!group_ || plan == nullptr) return {};
  const bool literal = std::ranges::all_of(plan->sequences, [](const auto& sequence) {
    return sequence.source == program::TokenSource::literals;
  });
  return literal ? Status{} : Status{"plan_invalid", "on several ranks a plan holds its tokens"};
}

/// Does work after which the engine is of no use unless it ends well.
template <class Work>
Status CpuExecutor::guarded(Work&& work) noexcept {
  set_float_mode();
  failed_ = true;
  try {
    if (Status status = work(); !status.ok()) return status;
  } catch (const std::bad_alloc&) {
    return {"out_of_memory", "no memory for a step"};
  }
  failed_ = false;
  peak_bytes_ = memory().peak_bytes;
  return {};
}

Status CpuExecutor::step(const program::StepPlan& plan, program::StepResult& result) noexcept {
  if (Status status = check_ready(&plan); !status.ok()) return status;
  if (begun_.empty()) return guarded([&] { return run_step(plan, result); });
  if (begun_count_ > 0) return {"engine_state", "steps that were begun are finished first"};
  return guarded([&] {
    BegunStep& whole = begun_[oldest_begun_];
    whole.plan = plan;
    Status status = run_first_half(whole);
    return status.ok() ? run_second_half(whole, result) : status;
  });
}

Status CpuExecutor::begin(program::StepPlan plan) noexcept {
  if (Status status = check_ready(&plan); !status.ok()) return status;
  if (begun_count_ == begun_.size()) return {"engine_state", "no more steps may be begun"};
  return guarded([&] {
    BegunStep& step = begun_[(oldest_begun_ + begun_count_) % begun_.size()];
    step.plan = std::move(plan);
    ++begun_count_;
    return run_first_half(step);
  });
}

Status CpuExecutor::finish(program::StepResult& result) noexcept {
  if (Status status = check_ready(nullptr); !status.ok()) return status;
  if (begun_count_ == 0) return {"engine_state", "no step was begun"};
  return guarded([&] {
    BegunStep& step = begun_[oldest_begun_];
    oldest_begun_ = (oldest_begun_ + 1) % static_cast<uint32_t>(begun_.size());
    --begun_count_;
    return run_second_half(step, result);
  });
}

Status CpuExecutor::run_step(const program::StepPlan& plan, program::StepResult& result) {
  prepare_result(plan, result);
  const Draws draws{plan, history_};
  Status status = run_passes(plan, [&] {
    Status ran = run_regions(0, bound_->regions.size());
    return ran.ok() ? run_head(draws, result) : ran;
  });
  if (!status.ok() || group_) return status;
  for (const program::SequenceResult& entry : result.sequences) {
    if (entry.sampled) history_.record(entry.slot, entry.token);
  }
  return {};
}

/// Up to what is sent to the next rank.
Status CpuExecutor::run_first_half(BegunStep& step) {
  step.wanted.clear();
  step.pass_ends.clear();
  Status status = run_passes(step.plan, [&] {
    step.wanted.insert(step.wanted.end(), pass_.wanted.begin(), pass_.wanted.end());
    step.pass_ends.push_back(step.wanted.size());
    return run_regions(0, bound_->first_regions);
  });
  step.histories.resize(step.plan.sequences.size());
  for (size_t i = 0; i < step.histories.size(); ++i) {
    step.histories[i].clear();
    if (!looks_back(step.plan.sequences[i])) continue;
    const auto tokens = history_.tokens(step.plan.sequences[i].slot);
    step.histories[i].assign(tokens.begin(), tokens.end());
  }
  return status;
}

/// From what comes back from the last rank: rows that are wanted, where a pass has such.
Status CpuExecutor::run_second_half(BegunStep& step, program::StepResult& result) {
  prepare_result(step.plan, result);
  const Draws draws{step.plan, history_, &step.histories};
  size_t from = 0;
  Status status;
  for (const size_t end : step.pass_ends) {
    pass_.wanted.assign(step.wanted.begin() + static_cast<ptrdiff_t>(from),
                        step.wanted.begin() + static_cast<ptrdiff_t>(end));
    from = end;
    status = run_regions(bound_->first_regions, bound_->regions.size());
    if (status.ok()) status = run_head(draws, result);
    if (!status.ok()) break;
  }
  pass_.wanted.clear();
  return status;
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

/// Empties the entries of the plan's sequences and makes room for the logits that they want. Other
/// ranks than the first have no results.
void CpuExecutor::prepare_result(const program::StepPlan& plan,
                                 program::StepResult& result) const {
  result.number = plan.number;
  result.sequences.resize(program_.rank == 0 ? plan.sequences.size() : 0);
  for (size_t i = 0; i < result.sequences.size(); ++i) {
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

/// Cuts the step into passes of at most `most_rows` rows and calls `run_pass` for each, whose rows
/// then are in `pass_`.
template <class RunPass>
Status CpuExecutor::run_passes(const program::StepPlan& plan, RunPass&& run_pass) {
  if (!apply_slots(plan)) {
    return {"out_of_memory", "the cache has no room left for the step's positions"};
  }
  const auto& news = history_.apply(plan);
  pass_.clear();
  Status status;
  for (uint32_t i = 0; i < plan.sequences.size(); ++i) {
    const auto count = static_cast<uint32_t>(news[i].size());
    for (uint32_t from = 0; from < count;) {
      const uint32_t fitting = std::min(count - from, most_rows - pass_.rows());
      append_rows(plan.sequences[i], i, from, fitting, news[i]);
      from += fitting;
      if (pass_.rows() < most_rows) continue;
      if (status = run_pass(); !status.ok()) return status;
      pass_.clear();
    }
  }
  if (pass_.rows() > 0) status = run_pass();
  pass_.clear();
  return status;
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

/// Runs regions [begin, end) over the rows of the pass.
Status CpuExecutor::run_regions(size_t begin, size_t end) {
  const Tools tools{kernels_, pool_, *cache_, pass_};
  const auto wanted = static_cast<uint32_t>(pass_.wanted.size());
  for (const Region& region : std::span(bound_->regions).subspan(begin, end - begin)) {
    if (const auto* rows = std::get_if<RowRegion>(&region)) {
      rows->run(tools);
    } else if (const auto* matrices = std::get_if<MatmulRegion>(&region)) {
      const bool tokens = matrices->domain == program::Domain::tokens;
      matrices->run(tools, 0, tokens ? pass_.rows() : wanted, 0);
    } else if (const auto* attention = std::get_if<AttendRegion>(&region)) {
      attention->run(tools);
    } else {
      Status status = std::get<CollectiveRegion>(region).run(tools);
      if (!status.ok()) return status;
    }
  }
  return {};
}

/// Logits of wanted rows; where the largest of each is all that counts, just those perhaps.
std::span<const Largest> CpuExecutor::run_head_products(const Tools& tools, const Draws& draws,
                                                        uint32_t from, uint32_t count) {
  const auto wants_largest = [&](const WantedRow& row) {
    return program::wants_largest(draws.plan.sequences[row.sequence]);
  };
  const auto some = std::span(pass_.wanted).subspan(from, count);
  if (greedy_head_ && count <= GreedyHead::most_rows &&
      std::ranges::all_of(some, wants_largest) && !greedy_head_->resting()) {
    return greedy_head_->run(tools, from, count);
  }
  bound_->head.run(tools, from, count, 0);
  return {};
}

/// Logits of the pass's wanted rows and what they are wanted for, some rows at a time.
Status CpuExecutor::run_head(const Draws& draws, program::StepResult& result) {
  if (bound_->head.parts.empty()) return {};
  const Tools tools{kernels_, pool_, *cache_, pass_};
  const auto wanted = static_cast<uint32_t>(pass_.wanted.size());
  for (uint32_t from = 0; from < wanted; from += most_logit_rows) {
    const uint32_t count = std::min(most_logit_rows, wanted - from);
    const std::span<const Largest> known = run_head_products(tools, draws, from, count);
    const std::span<const WantedRow> some = std::span(pass_.wanted).subspan(from, count);
    if (!split_head_) {
      collect_logits(tools, draws, some, bound_->logits, known, result);
      continue;
    }
    View in = bound_->head.in;
    in.data = in.row(from);
    const HeadRows rows{draws, some, in, bound_->logits, known};
    Status status = program_.rank == 0 ? split_head_->collect(tools, rows, result)
                                       : split_head_->report(tools, rows);
    if (!status.ok()) return status;
  }
  return {};
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
