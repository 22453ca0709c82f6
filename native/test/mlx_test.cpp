#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>

#include <unistd.h>

#include "load/format.h"
#include "program/executor.h"
#include "test/check.h"
#include "test/oracle.h"
#include "test/tiny_model.h"

/// The MLX executor against plain loops in double, and against itself: alone, in batches, in
/// chunks.
namespace cidery::test {
namespace {

using program::Executor;
using program::PlannedSequence;
using program::StepPlan;
using program::StepResult;
using program::Want;
using Tokens = std::vector<uint32_t>;
using Logits = std::vector<float>;

constexpr uint32_t slots = 8, positions = 2048;

std::unique_ptr<Executor> open(const TinyModel& model) {
  program::ExecutorOptions options;
  options.slots = slots;
  options.positions = positions;
  auto executor = program::open_mlx_executor(model.program, options);
  const load::FileSet files({model.path()});
  for (const load::ParameterSource& source : model.sources) executor->load(source, files);
  executor->bind();
  return executor;
}

PlannedSequence sequence(uint32_t slot, uint32_t first, Tokens tokens, Want want) {
  PlannedSequence result;
  result.slot = slot;
  result.first_position = first;
  result.count = static_cast<uint32_t>(tokens.size());
  result.logit_rows = want == Want::logits ? result.count : want == Want::sample ? 1 : 0;
  result.tokens = std::move(tokens);
  result.want = want;
  return result;
}

PlannedSequence last_sample(uint32_t slot, uint32_t first) {
  PlannedSequence result = sequence(slot, first, {0}, Want::sample);
  result.tokens.clear();
  result.source = program::TokenSource::last_sample;
  return result;
}

StepResult step(Executor& executor, StepPlan plan) {
  StepResult result;
  const Status status = executor.step(plan, result);
  check(status.ok(), "a step fails: " + status.code + " " + status.message);
  return result;
}

StepResult step(Executor& executor, std::vector<PlannedSequence> sequences) {
  StepPlan plan;
  plan.sequences = std::move(sequences);
  return step(executor, std::move(plan));
}

Tokens make_tokens(size_t count, uint32_t vocabulary, uint32_t seed = 3) {
  Tokens tokens;
  for (size_t i = 0; i < count; ++i) {
    seed = seed * 1664525u + 1013904223u;
    tokens.push_back((seed >> 8) % vocabulary);
  }
  return tokens;
}

Tokens part(const Tokens& tokens, size_t from, size_t count) {
  return {tokens.begin() + static_cast<ptrdiff_t>(from),
          tokens.begin() + static_cast<ptrdiff_t>(from + count)};
}

/// All logits of a sequence that is run in chunks of the given sizes.
Logits run_chunks(Executor& executor, uint32_t slot, const Tokens& tokens,
                  const std::vector<uint32_t>& chunks) {
  Logits logits;
  uint32_t first = 0;
  for (const uint32_t chunk : chunks) {
    const auto result =
        step(executor, {sequence(slot, first, part(tokens, first, chunk), Want::logits)});
    const Logits& rows = result.sequences.at(0).logits;
    logits.insert(logits.end(), rows.begin(), rows.end());
    first += chunk;
  }
  return logits;
}

/// Largest difference in units of the logits' deviation.
double difference(const Logits& got, const std::vector<std::vector<double>>& wanted) {
  double largest = 0, mean = 0, square = 0;
  size_t i = 0;
  for (const auto& row : wanted) {
    for (const double value : row) {
      if (i >= got.size() || !(std::abs(got[i]) < 1e30)) return INFINITY;
      largest = std::max(largest, std::abs(value - got[i++]));
      mean += value;
      square += value * value;
    }
  }
  if (i != got.size()) return INFINITY;
  mean /= static_cast<double>(i);
  return largest / std::sqrt(square / static_cast<double>(i) - mean * mean);
}

bool same_bits(const Logits& a, const Logits& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

void compare(const std::string& name, const Traits& traits, double tolerance = 2e-5) {
  const TinyModel model(traits);
  const auto executor = open(model);
  const Tokens tokens = make_tokens(28, traits.vocabulary);
  const auto wanted = run_plainly(model.program, model.values, tokens);
  const double off = difference(run_chunks(*executor, 0, tokens, {11, 1, 1, 9, 1, 5}), wanted);
  check(off < tolerance, name + " is off by " + std::to_string(off));
}

void compare_architectures() {
  const auto with = [](auto change) {
    Traits traits;
    change(traits);
    return traits;
  };
  compare("llama", {});
  compare("biases", with([](Traits& t) { t.biases = true; }));
  compare("fused", with([](Traits& t) { t.fused = t.biases = true; }));
  compare("scattered", with([](Traits& t) { t.scattered = true; }));
  compare("layer norm", with([](Traits& t) { t.norm_kind = 1, t.biases = true; }));
  compare("norm offset", with([](Traits& t) { t.norm_offset = 1; }));
  compare("head norms", with([](Traits& t) { t.head_norm_kind = 1; }));
  compare("width norms", with([](Traits& t) { t.head_norm_kind = 2; }));
  for (uint32_t kind = 1; kind <= 4; ++kind) {
    compare("activation " + std::to_string(kind), with([&](Traits& t) { t.activation = kind; }));
  }
  compare("scales", with([](Traits& t) {
            t.embed_scale = 12, t.residual_scale = 0.22f, t.logit_scale = 0.125f;
          }));
  compare("soft caps", with([](Traits& t) { t.softcap = 2, t.logit_softcap = 3; }));
  compare("soft cap, window and sinks",
          with([](Traits& t) { t.softcap = 2, t.window = 6, t.sinks = true; }));
  compare("window", with([](Traits& t) { t.window = 5; }));
  compare("window of 1", with([](Traits& t) { t.window = 1; }));
  compare("window as long as a chunk", with([](Traits& t) { t.window = 11; }));
  compare("sinks", with([](Traits& t) { t.sinks = true; }));
  compare("value width", with([](Traits& t) { t.value_width = 24; }));
  compare("one key head", with([](Traits& t) { t.key_heads = 1; }));
  compare("as many key heads", with([](Traits& t) { t.key_heads = 16; }));
  compare("no positions", with([](Traits& t) { t.ropes = false; }));
  compare("query scale",
          with([](Traits& t) { t.query_scale_beta = 0.3f, t.query_scale_original = 8; }));
}

void compare_ropes() {
  const auto with = [](program::Rope rope) {
    Traits traits;
    traits.rope = std::move(rope);
    return traits;
  };
  compare("traditional", with(make_rope(16, true)));
  compare("partial, traditional, scaled before", with(make_rope(8, true, 1.3f)));
  compare("scaled before", with(make_rope(16, false, 1.3f)));
  program::Rope partial = make_rope(8);
  partial.scale = 0.25f;
  compare("partial", with(partial));
  program::Rope table = make_rope(8, false, 1.2f);
  table.frequencies = {1, 3.5f, 20, 150};
  compare("frequencies", with(table));
  program::Rope dynamic = make_rope(16);
  dynamic.dynamic_factor = 2;
  dynamic.dynamic_from = 10;
  compare("dynamic", with(dynamic));
  dynamic.traditional = true;
  dynamic.width = 8;
  compare("dynamic, partial, traditional", with(dynamic));
}

void compare_storages() {
  using load::Format;
  using program::StorageKind;
  Traits traits;
  for (const Format format : {Format::f32, Format::f16, Format::bf16}) {
    traits.matrices = {StorageKind::dense, format};
    compare("dense " + std::to_string(static_cast<int>(format)), traits);
    for (const uint32_t bits : {2u, 3u, 4u, 5u, 6u, 8u}) {
      for (const uint32_t group : {32u, 64u, 128u}) {
        traits.matrices = {StorageKind::affine, format, bits, group};
        compare("affine of " + std::to_string(bits) + " bits, " + std::to_string(group), traits);
      }
    }
  }
  for (const load::FormatLayout& layout : load::format_layouts) {
    if (layout.values == 1) continue;
    traits.matrices = {StorageKind::block, layout.format};
    compare(std::string(layout.name), traits, 5e-5);
  }
}

/// A sequence's logits have the same bits alone and beside others, and however its prompt was cut.
void check_invariance(const std::string& name, const Traits& traits) {
  const TinyModel model(traits);
  const auto executor = open(model);
  std::vector<Tokens> prompts;
  for (uint32_t i = 0; i < 5; ++i) prompts.push_back(make_tokens(20, traits.vocabulary, i));
  std::vector<Logits> alone;
  for (const Tokens& prompt : prompts) {
    alone.push_back(run_chunks(*executor, 0, prompt, std::vector<uint32_t>(20, 1)));
  }
  check(same_bits(alone[0], run_chunks(*executor, 1, prompts[0], {20})), name + ": one chunk");
  check(same_bits(alone[0], run_chunks(*executor, 1, prompts[0], {3, 1, 9, 7})), name + ": chunks");
  std::vector<Logits> together(prompts.size());
  std::vector<size_t> held(prompts.size(), 0);
  for (uint32_t round = 0; round < 20; ++round) {
    std::vector<PlannedSequence> sequences;
    std::vector<size_t> owners;
    for (uint32_t i = 0; i < prompts.size(); ++i) {
      const size_t left = prompts[i].size() - held[i];
      const size_t count = std::min<size_t>(left, (round + i) % 4);
      if (count == 0) continue;
      sequences.push_back(sequence(i, static_cast<uint32_t>(held[i]),
                                   part(prompts[i], held[i], count), Want::logits));
      held[i] += count;
      owners.push_back(i);
    }
    if (sequences.empty()) continue;
    const auto result = step(*executor, std::move(sequences));
    for (size_t i = 0; i < owners.size(); ++i) {
      const Logits& rows = result.sequences.at(i).logits;
      together[owners[i]].insert(together[owners[i]].end(), rows.begin(), rows.end());
    }
  }
  for (size_t i = 0; i < prompts.size(); ++i) {
    check(same_bits(alone[i], together[i]), name + ": in a batch, " + std::to_string(i));
  }
}

void check_invariances() {
  Traits traits;
  check_invariance("dense", traits);
  traits.window = 6, traits.sinks = true, traits.fused = true;
  check_invariance("window", traits);
  traits.softcap = 3;
  check_invariance("soft cap", traits);
  Traits quantized;
  quantized.matrices = {program::StorageKind::affine, load::Format::f16, 4, 64};
  check_invariance("affine", quantized);
  quantized.matrices = {program::StorageKind::block, load::Format::q5_k};
  check_invariance("q5_k", quantized);
  quantized.matrices = {program::StorageKind::block, load::Format::mxfp4};
  check_invariance("mxfp4", quantized);
}

uint32_t largest(const std::vector<double>& row) {
  return static_cast<uint32_t>(std::ranges::max_element(row) - row.begin());
}

/// Greedy decoding through `last_sample` takes the largest logit of each step.
void check_decoding() {
  const TinyModel model(Traits{});
  const auto executor = open(model);
  Tokens tokens = make_tokens(9, model.program.vocabulary);
  auto result = step(*executor, {sequence(2, 0, part(tokens, 0, 4), Want::nothing),
                                 sequence(5, 0, tokens, Want::sample)});
  check(result.sequences.at(0).logits.empty() && !result.sequences[0].sampled, "nothing is wanted");
  result = step(*executor, {sequence(2, 4, part(tokens, 4, 5), Want::sample)});
  for (int i = 0; i < 12; ++i) {
    const auto wanted = run_plainly(model.program, model.values, tokens);
    check(result.sequences.at(0).sampled, "a token is drawn");
    check(result.sequences[0].token == largest(wanted.back()), "the largest logit is drawn");
    tokens.push_back(result.sequences[0].token);
    result = step(*executor, {last_sample(2, static_cast<uint32_t>(tokens.size() - 1))});
  }
}

/// Slots share what was copied, and each goes on by itself.
void check_slots() {
  const TinyModel model(Traits{});
  const auto executor = open(model);
  const Tokens prompt = make_tokens(300, model.program.vocabulary);
  const Tokens other = make_tokens(300, model.program.vocabulary, 9);
  step(*executor, {sequence(0, 0, part(prompt, 0, 250), Want::nothing)});
  StepPlan plan;
  plan.copies = {{0, 1, 200}, {1, 2, 100}};
  plan.sequences = {sequence(0, 250, part(prompt, 250, 50), Want::logits),
                    sequence(1, 200, part(other, 200, 100), Want::logits),
                    sequence(2, 100, part(prompt, 100, 200), Want::logits)};
  const auto branched = step(*executor, plan);
  Tokens mixed = part(prompt, 0, 200);
  mixed.insert(mixed.end(), other.begin() + 200, other.end());
  const auto whole = run_plainly(model.program, model.values, prompt);
  const auto wanted = run_plainly(model.program, model.values, mixed);
  check(difference(branched.sequences.at(0).logits, {whole.begin() + 250, whole.end()}) < 1e-4,
        "the slot that was copied goes on");
  check(difference(branched.sequences.at(1).logits, {wanted.begin() + 200, wanted.end()}) < 1e-4,
        "the copy goes another way");
  check(difference(branched.sequences.at(2).logits, {whole.begin() + 100, whole.end()}) < 1e-4,
        "the copy of a copy");
  const auto back = step(*executor, {sequence(1, 100, part(prompt, 100, 200), Want::logits)});
  check(same_bits(back.sequences.at(0).logits, branched.sequences.at(2).logits),
        "a slot that was cut goes on from there");
  const auto before = executor->memory();
  plan = {};
  plan.retired = {0, 1, 2};
  step(*executor, plan);
  const auto after = executor->memory();
  check(before.cache_bytes > 0 && after.cache_bytes == 0, "retired slots hold no memory");
  check(after.active_bytes < before.active_bytes, "MLX has the memory back");
  const auto fresh = step(*executor, {sequence(1, 0, prompt, Want::logits)});
  check(difference(fresh.sequences.at(0).logits, whole) < 1e-4, "a retired slot starts again");
}

[[maybe_unused]] uint64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  uint64_t total = 0, resident = 0;
  file >> total >> resident;
  return resident * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

/// 2,000 steps of sequences that come and go leave arrays and memory where they were.
void check_memory() {
  Traits traits;
  traits.window = 64;
  const TinyModel model(traits);
  const auto executor = open(model);
  const Tokens prompt = make_tokens(40, traits.vocabulary);
  const auto churn = [&](uint32_t steps) {
    std::vector<uint32_t> held(slots, 0);
    for (uint32_t i = 0; i < steps; ++i) {
      StepPlan plan;
      for (uint32_t slot = 0; slot < 4; ++slot) {
        if (held[slot] > 0 && (i + slot * 37) % 150 == 0) {
          plan.retired.push_back(slot);
          held[slot] = 0;
        }
      }
      if (held[0] > 0 && i % 50 == 7) plan.copies.push_back({0, 5, held[0]});
      for (uint32_t slot = 0; slot < 4; ++slot) {
        plan.sequences.push_back(held[slot] == 0 ? sequence(slot, 0, prompt, Want::sample)
                                                 : last_sample(slot, held[slot]));
        held[slot] += plan.sequences.back().count;
      }
      step(*executor, std::move(plan));
    }
    StepPlan plan;
    for (uint32_t slot = 0; slot < slots; ++slot) plan.retired.push_back(slot);
    step(*executor, std::move(plan));
  };
  churn(300);
  const auto before = executor->memory();
  [[maybe_unused]] const uint64_t resident = resident_bytes();
  churn(2000);
  const auto after = executor->memory();
  check(before.live_arrays == after.live_arrays, "live arrays stay");
  check(before.active_bytes == after.active_bytes, "MLX's memory stays");
#if defined(__SANITIZE_ADDRESS__)
  std::printf("resident memory is not compared: the address sanitizer keeps what is freed\n");
#else
  const uint64_t grown = resident_bytes() > resident ? resident_bytes() - resident : 0;
  check(grown < (2u << 20), "resident memory grew by " + std::to_string(grown));
#endif
}

void check_refusals() {
  const TinyModel model(Traits{});
  program::ExecutorOptions options;
  options.slots = slots;
  options.positions = positions;
  const load::FileSet files({model.path()});
  auto executor = program::open_mlx_executor(model.program, options);
  StepResult result;
  check(executor->step({}, result).code == "engine_failed", "a step before bind");
  check_throws("parameter_missing", "bind without parameters", [&] { executor->bind(); });
  const auto refuse = [&](const std::string& what, auto change) {
    load::ParameterSource source = model.sources[0];
    change(source);
    check_throws("parameter_mismatch", what, [&] { executor->load(source, files); });
  };
  refuse("another shape", [](auto& source) { source.parts[0].shape[0] += 1; });
  refuse("no dimension", [](auto& source) { source.parts[0].shape.clear(); });
  refuse("another format", [](auto& source) { source.parts[0].format = load::Format::i32; });
  refuse("no parts", [](auto& source) { source.parts.clear(); });
  refuse("scales alone", [](auto& source) { source.parts[0].role = load::Role::scales; });
  refuse("a parameter that is not there", [](auto& source) { source.parameter = 10'000; });
  load::ParameterSource cut = model.sources[0];
  cut.parts[0].pieces[0].row_bytes -= 4;
  check_throws("model_file_broken", "too few bytes", [&] { executor->load(cut, files); });
  if (!std::ifstream("/dev/nvidia0").good()) {
    options.gpu = true;
    check_throws("device_unavailable", "no GPU",
                 [&] { program::open_mlx_executor(model.program, options); });
  }
}

/// Streams belong to threads in MLX: engines come and go on threads of their own.
void check_threads() {
  const TinyModel model(Traits{});
  const Tokens prompt = make_tokens(20, model.program.vocabulary);
  std::vector<Logits> results(3);
  for (int round = 0; round < 2; ++round) {
    std::vector<std::thread> threads;
    for (Logits& logits : results) {
      threads.emplace_back([&] {
        const auto executor = open(model);
        logits = run_chunks(*executor, 0, prompt, {13, 7});
      });
    }
    for (std::thread& thread : threads) thread.join();
    check(same_bits(results[0], results[1]) && same_bits(results[0], results[2]),
          "threads agree");
  }
}

}  // namespace
}  // namespace cidery::test

int main() {
  using namespace cidery::test;
  compare_architectures();
  compare_ropes();
  compare_storages();
  check_invariances();
  check_decoding();
  check_slots();
  check_refusals();
  check_threads();
  check_memory();
  return summary("mlx");
}
