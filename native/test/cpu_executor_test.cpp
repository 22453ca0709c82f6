#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <new>
#include <string>

#include <unistd.h>

#include "cpu/dispatch.h"
#include "cpu/executor.h"
#include "test/check.h"
#include "test/executor_checks.h"
#include "test/oracle.h"

namespace {

std::atomic<uint64_t> allocations{0};

}  // namespace

void* operator new(size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(size > 0 ? size : 1)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }

/// The cpu executor: what every executor has to do, equal bits on any number of threads and any
/// instruction set, steps that allocate nothing, and the limits of its cache.
namespace cidery::test {
namespace {

using program::ExecutorOptions;
using program::PlannedSequence;
using program::StepPlan;
using program::Want;

/// Activations and caches of 8 bits: seen up to 0.1, but for Q6_K (0.3), whose random blocks
/// give scores that a small change turns over.
constexpr Tolerances fast_tolerances{.dense = 0.25, .blocks = 0.5, .long_run = 0.1};
/// Where no matrix is quantized only the caches differ from `precise`: seen up to 0.055.
constexpr double fast_dense = 0.1;

OpenExecutor open_with(bool precise, uint32_t threads = 2, std::string_view set = "") {
  const cpu::Kernels& kernels = cpu::choose_kernels(set);
  return [=, &kernels](program::Program program, ExecutorOptions options) {
    options.precise = precise;
    options.threads = threads;
    return std::make_unique<cpu::CpuExecutor>(std::move(program), options, kernels);
  };
}

Traits quantized(program::StorageKind kind, load::Format format, uint32_t bits = 4,
                 uint32_t group = 64) {
  Traits traits;
  traits.matrices = {kind, format, bits, group};
  return traits;
}

/// Models that between them use most kernels.
std::vector<std::pair<std::string, Traits>> varied_models() {
  std::vector<std::pair<std::string, Traits>> models;
  models.emplace_back("dense", Traits{});
  Traits odd;
  odd.hidden = 100, odd.inner = 90, odd.vocabulary = 97, odd.heads = 5, odd.key_heads = 2;
  odd.group_heads = 3, odd.first_in_group = 1;
  odd.head_width = 20, odd.value_width = 24, odd.biases = true, odd.head_norm_kind = 1;
  models.emplace_back("odd widths", odd);
  Traits capped = quantized(program::StorageKind::block, load::Format::q4_1);
  capped.window = 37, capped.sinks = capped.fused = capped.biases = true, capped.softcap = 3;
  capped.logit_softcap = 5, capped.activation = 2, capped.head_norm_kind = 1;
  models.emplace_back("window, sinks and soft caps", capped);
  using enum load::Format;
  for (const load::Format format : {q8_0, q4_0, q6_k, q4_k, q2_k, q3_k, q5_k, iq4_nl, mxfp4}) {
    models.emplace_back("blocks " + std::to_string(static_cast<int>(format)),
                        quantized(program::StorageKind::block, format));
  }
  for (const uint32_t bits : {2u, 3u, 4u, 5u, 6u, 8u}) {
    models.emplace_back("affine " + std::to_string(bits),
                        quantized(program::StorageKind::affine, f16, bits));
  }
  return models;
}

/// Prompts of several lengths side by side, then tokens one at a time.
Logits run_batch(program::Executor& executor, uint32_t vocabulary) {
  Logits logits;
  const auto add = [&](const program::StepResult& result) {
    for (const auto& entry : result.sequences) {
      logits.insert(logits.end(), entry.logits.begin(), entry.logits.end());
    }
  };
  const std::vector<uint32_t> lengths = {70, 1, 33, 9};
  std::vector<PlannedSequence> prompts, nexts;
  for (uint32_t i = 0; i < lengths.size(); ++i) {
    prompts.push_back(sequence(i, 0, make_tokens(lengths[i], vocabulary, i), Want::logits));
    nexts.push_back(sequence(i, lengths[i], make_tokens(1, vocabulary, i + 9), Want::logits));
  }
  add(step(executor, prompts));
  add(step(executor, nexts));
  return logits;
}

void check_same_everywhere() {
  for (const auto& [name, traits] : varied_models()) {
    const TinyModel model(traits);
    for (const bool precise : {true, false}) {
      const std::string mode = name + (precise ? ", precise" : ", fast");
      const auto run = [&](uint32_t threads, std::string_view set) {
        const auto executor = open_model(open_with(precise, threads, set), model);
        return run_batch(*executor, traits.vocabulary);
      };
      const Logits plain = run(1, "plain");
      for (const std::string_view set : cpu::possible_sets()) {
        check(same_bits(plain, run(1, set)), mode + ": bits of " + std::string(set));
      }
      for (uint32_t threads = 2; threads <= 5; ++threads) {
        check(same_bits(plain, run(threads, "")),
              mode + ": bits of " + std::to_string(threads) + " threads");
      }
    }
  }
}

/// More positions than a span, and more rows than a pass, in one step and in many.
void check_long(bool precise) {
  Traits traits = quantized(program::StorageKind::block, load::Format::q8_0);
  traits.layers = 1, traits.heads = 4, traits.key_heads = 2, traits.hidden = traits.inner = 64;
  traits.group_heads = 3, traits.first_in_group = 2;
  for (const uint32_t window : {0u, 600u}) {
    traits.window = window;
    const std::string name = "1,100 positions, window " + std::to_string(window);
    const TinyModel model(traits);
    const auto executor = open_model(open_with(precise, 3), model);
    const Tokens tokens = make_tokens(1100, traits.vocabulary);
    const Logits whole = run_chunks(*executor, 0, tokens, {1100});
    const Logits cut = run_chunks(*executor, 1, tokens, {511, 1, 1, 15, 300, 195, 1, 1, 75});
    check(same_bits(whole, cut), name + ": chunks");
    const auto wanted = run_plainly(model.program, model.values, tokens);
    const double off = difference(whole, wanted);
    check(off < (precise ? Tolerances{}.long_run : fast_tolerances.dense),
          name + " is off by " + std::to_string(off));
    StepPlan plan;
    plan.copies = {{0, 2, 1000}};
    plan.sequences = {sequence(2, 1000, part(tokens, 1000, 100), Want::logits)};
    const Logits after = step(*executor, plan).sequences.at(0).logits;
    const size_t size = size_t{100} * traits.vocabulary;
    check(same_bits(after, {whole.end() - static_cast<ptrdiff_t>(size), whole.end()}),
          name + ": after a prefix that was copied");
  }
}

/// Slots that share blocks write to copies of their own.
void check_copies() {
  const TinyModel model(Traits{});
  const auto executor = open_model(open_with(true), model);
  const Tokens prompt = make_tokens(60, model.program.vocabulary);
  const Tokens other = make_tokens(60, model.program.vocabulary, 9);
  const Logits alone = run_chunks(*executor, 7, prompt, {60});
  const size_t row = model.program.vocabulary;
  const auto tail = [&](size_t from) {
    return Logits(alone.begin() + static_cast<ptrdiff_t>(from * row), alone.end());
  };
  for (const uint32_t shared : {1u, 15u, 16u, 17u, 32u, 40u}) {
    step(*executor, {sequence(0, 0, part(prompt, 0, 50), Want::nothing)});
    StepPlan plan;
    plan.copies = {{0, 1, shared}, {1, 2, shared}, {1, 1, shared}};
    // The first to write is a copy, then the source, then the copy of the copy.
    plan.sequences = {sequence(1, shared, part(other, shared, 20), Want::nothing),
                      sequence(0, 50, part(prompt, 50, 10), Want::logits),
                      sequence(2, shared, part(prompt, shared, 60 - shared), Want::logits)};
    const auto result = step(*executor, plan);
    const std::string name = std::to_string(shared) + " positions shared: ";
    check(same_bits(result.sequences.at(1).logits, tail(50)), name + "the source");
    check(same_bits(result.sequences.at(2).logits, tail(shared)), name + "the copy");
    const auto again =
        step(*executor, {sequence(0, shared, part(prompt, shared, 60 - shared), Want::logits)});
    check(same_bits(again.sequences.at(0).logits, tail(shared)), name + "the source, cut");
  }
  StepPlan plan;
  for (uint32_t slot = 0; slot < test_slots; ++slot) plan.retired.push_back(slot);
  step(*executor, plan);
  const program::MemoryUse use = executor->memory();
  check(use.cache_bytes == 0, "no block is lost");
  check(use.peak_bytes > use.active_bytes, "the peak stays");
}

void check_budget() {
  const TinyModel model(Traits{});
  ExecutorOptions options{.slots = 4, .positions = 1024, .cache_positions = 1024};
  const auto executor = open_model(open_with(true, 1), model, options);
  const Tokens tokens = make_tokens(1024, model.program.vocabulary);
  for (const uint32_t slot : {0u, 0u, 1u}) {
    step(*executor, {sequence(slot, 0, tokens, Want::nothing)});
  }
  StepPlan plan;
  plan.retired = {0};
  plan.sequences = {sequence(2, 0, tokens, Want::nothing)};
  step(*executor, plan);
  plan = {};
  plan.sequences = {sequence(3, 0, tokens, Want::nothing)};
  program::StepResult result;
  check(executor->step(plan, result).code == "out_of_memory", "more positions than there is room");
  check(executor->step({}, result).code == "engine_failed", "a step after one that failed");
}

/// Once everything has been used, a step allocates nothing.
void check_allocations() {
  for (const bool precise : {true, false}) {
    const TinyModel model(quantized(program::StorageKind::block, load::Format::q4_1));
    const auto executor = open_model(open_with(precise, 3), model);
    const Tokens prompt = make_tokens(40, model.program.vocabulary);
    StepPlan prompts, nexts, ends;
    for (uint32_t slot = 0; slot < 4; ++slot) {
      prompts.sequences.push_back(sequence(slot, 0, prompt, Want::sample));
      nexts.sequences.push_back(last_sample(slot, 40));
    }
    program::StepResult result;
    uint64_t before = 0;
    bool all = true;
    for (uint32_t round = 0; round < 3; ++round) {
      if (round == 2) before = allocations.load();
      all = all && executor->step(prompts, result).ok();
      for (uint32_t i = 0; i < 100; ++i) {
        for (PlannedSequence& next : nexts.sequences) next.first_position = 40 + i;
        all = all && executor->step(nexts, result).ok();
      }
    }
    const uint64_t made = allocations.load() - before;
    check(all && made == 0, "100 steady steps allocate " + std::to_string(made) + " times");
  }
}

/// Logits that are no numbers are reported, and a greedy row is drawn as any other.
void check_sampling() {
  const TinyModel model(Traits{});
  const auto executor = open_model(open_with(true), model);
  const Tokens prompt = make_tokens(20, model.program.vocabulary);
  std::vector<PlannedSequence> sequences;
  for (uint32_t slot = 0; slot < 4; ++slot) {
    sequences.push_back(sequence(slot, 0, prompt, Want::sample));
  }
  sequences[1].sampler.logprobs = 3;
  sequences[2].sampler.temperature = 1;
  sequences[2].sampler.top_k = 1;
  sequences[3].sampler.biases = {{5, 1000}};
  const auto result = step(*executor, sequences);
  const auto wanted = run_plainly(model.program, model.values, prompt).back();
  const auto best = std::ranges::max_element(wanted) - wanted.begin();
  for (uint32_t i = 0; i < 3; ++i) {
    check(result.sequences.at(i).sampled && result.sequences[i].token == best, "the largest");
    check(result.sequences[i].slot == i, "the slot of a result");
  }
  check(result.sequences.at(1).alternatives.size() == 2, "alternatives");
  check(result.sequences.at(3).token == 5, "a bias");
  Traits broken;
  broken.logit_scale = 3e38f;
  const TinyModel endless(broken);
  const auto failing = open_model(open_with(true), endless);
  const auto nothing = step(*failing, {sequence(0, 0, prompt, Want::sample)});
  check(!nothing.sequences.at(0).finite && !nothing.sequences[0].sampled, "no numbers, no token");
}

[[maybe_unused]] uint64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  uint64_t total = 0, resident = 0;
  file >> total >> resident;
  return resident * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

/// Engines that come and go leave nothing behind.
void check_memory() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  std::printf("resident memory is not compared: sanitizers keep what is freed\n");
#else
  const TinyModel model(quantized(program::StorageKind::block, load::Format::q4_1));
  const auto use = [&] {
    for (uint32_t i = 0; i < 20; ++i) {
      const auto executor = open_model(open_with(false), model);
      run_batch(*executor, model.program.vocabulary);
    }
  };
  use();
  const uint64_t before = resident_bytes();
  use();
  const uint64_t after = resident_bytes();
  check(after < before + (2u << 20), "resident memory grew by " + std::to_string(after - before));
#endif
}

}  // namespace
}  // namespace cidery::test

int main() {
  using namespace cidery::test;
  for (const bool precise : {true, false}) {
    const OpenExecutor open = open_with(precise);
    const Tolerances tolerances = precise ? Tolerances{} : fast_tolerances;
    compare_architectures(open, precise ? tolerances.dense : fast_dense);
    compare_ropes(open, precise ? tolerances.dense : fast_dense);
    compare_storages(open, tolerances);
    check_invariances(open);
    check_slots(open, tolerances);
    check_long(precise);
  }
  check_decoding(open_with(true));
  check_refusals(open_with(true));
  check_same_everywhere();
  check_copies();
  check_budget();
  check_allocations();
  check_sampling();
  check_memory();
  return summary("cpu executor");
}
