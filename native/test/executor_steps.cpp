#include "test/executor_steps.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "test/check.h"

namespace cidery::test {

using program::PlannedSequence;
using program::StepPlan;
using program::StepResult;
using program::Want;

std::unique_ptr<program::Executor> open_model(const OpenExecutor& open, const TinyModel& model,
                                              program::ExecutorOptions options) {
  auto executor = open(model.program, options);
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

StepResult step(program::Executor& executor, const StepPlan& plan) {
  StepResult result;
  const Status status = executor.step(plan, result);
  check(status.ok(), "a step fails: " + status.code + " " + status.message);
  return result;
}

StepResult step(program::Executor& executor, std::vector<PlannedSequence> sequences) {
  StepPlan plan;
  plan.sequences = std::move(sequences);
  return step(executor, plan);
}

Tokens make_tokens(size_t count, uint32_t vocabulary, uint32_t seed) {
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

Logits run_chunks(program::Executor& executor, uint32_t slot, const Tokens& tokens,
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
  if (a.size() != b.size()) return false;
  return a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace cidery::test
