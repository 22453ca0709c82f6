#include "sampling/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "sampling/exponential.h"
#include "sampling/random.h"

namespace cidery::sampling {
namespace {

using program::Sampler;
using program::SequenceResult;

constexpr float forbidden = -std::numeric_limits<float>::infinity();

/// A token with its logit in one integer: likelier ones are smaller, ties go by id.
using Ranked = uint64_t;

Ranked rank(float logit, uint32_t id) {
  // Adding 0 makes -0 of 0; then the bits of floats are ordered as the floats, but for the sign.
  const auto bits = std::bit_cast<uint32_t>(logit + 0.0f);
  const uint32_t ascending = bits ^ (bits >> 31 != 0 ? 0xffffffffu : 0x80000000u);
  return uint64_t{~ascending} << 32 | id;
}

uint32_t id_of(Ranked ranked) { return static_cast<uint32_t>(ranked); }

/// Room that the step thread keeps from one call to the next. Running out of memory for these few
/// megabytes ends the process, as anything else on the step thread would soon after.
struct Scratch {
  std::vector<float> raw;         // the row as it came, where logprobs are wanted
  std::vector<uint32_t> counts;   // a token's count in the history; all 0 between calls
  std::vector<double> weights;    // of each token: its probability over that of the likeliest
  std::vector<Ranked> survivors;  // tokens that may still be drawn
};

/// Moves the `count` likeliest to the front, likeliest first.
void order_best(std::span<Ranked> tokens, size_t count) {
  if (count < tokens.size()) {
    std::nth_element(tokens.begin(), tokens.begin() + count, tokens.end());
  }
  std::sort(tokens.begin(), tokens.begin() + count);
}

void rank_all(std::span<const float> row, std::vector<Ranked>& tokens) {
  tokens.resize(row.size());
  for (uint32_t id = 0; id < row.size(); ++id) tokens[id] = rank(row[id], id);
}

bool all_finite(std::span<const float> row) {
  // x - x is 0 for a finite x and NaN for any other; a NaN stays in the sum.
  float sum = 0;
  for (const float value : row) sum += value - value;
  return sum == 0;
}

uint32_t largest(std::span<const float> row) {
  return static_cast<uint32_t>(std::max_element(row.begin(), row.end()) - row.begin());
}

/// Logarithm of the sum of e^x over the row.
double log_sum(std::span<const float> row) {
  const double top = row[largest(row)];
  double sum = 0;
  for (const float value : row) sum += exponential(value - top);
  return top + std::log(sum);
}

void forbid(std::span<float> row, const std::vector<uint32_t>& mask) {
  if (mask.empty()) return;
  for (size_t token = 0; token < row.size(); ++token) {
    if ((mask[token / 32] >> (token % 32) & 1) == 0) row[token] = forbidden;
  }
}

/// Divides positive and multiplies negative logits of what the history holds, each token once.
void penalize_repetition(std::span<float> row, float repetition,
                         std::span<const uint32_t> history, Scratch& scratch) {
  if (repetition == 1) return;
  for (const uint32_t token : history) {
    if (scratch.counts[token]++ > 0) continue;
    float& logit = row[token];
    logit = logit > 0 ? logit / repetition : logit * repetition;
  }
  for (const uint32_t token : history) scratch.counts[token] = 0;
}

/// Takes presence once and frequency a time from what was generated.
void penalize_presence(std::span<float> row, const Sampler& sampler,
                       std::span<const uint32_t> generated, Scratch& scratch) {
  if (sampler.presence == 0 && sampler.frequency == 0) return;
  for (const uint32_t token : generated) ++scratch.counts[token];
  for (const uint32_t token : generated) {
    if (scratch.counts[token] == 0) continue;
    row[token] -= sampler.presence + sampler.frequency * static_cast<float>(scratch.counts[token]);
    scratch.counts[token] = 0;
  }
}

/// Weights of the tokens that top-k leaves, 0 for all others. Returns their sum.
double weigh(std::span<const float> row, const Sampler& sampler, Scratch& scratch) {
  const double top = row[largest(row)];
  const double temperature = sampler.temperature;
  auto& weights = scratch.weights;
  weights.assign(row.size(), 0);
  if (sampler.top_k > 0 && sampler.top_k < row.size()) {
    rank_all(row, scratch.survivors);
    order_best(scratch.survivors, sampler.top_k);
    for (const Ranked token : std::span(scratch.survivors).first(sampler.top_k)) {
      weights[id_of(token)] = exponential((row[id_of(token)] - top) / temperature);
    }
  } else {
    for (size_t id = 0; id < row.size(); ++id) {
      weights[id] = exponential((row[id] - top) / temperature);
    }
  }
  return std::accumulate(weights.begin(), weights.end(), 0.0);
}

/// Leaves the fewest likeliest tokens that together hold `top_p` of `total`, at least one, and of
/// those the ones that weigh `min_p` or more (the likeliest weighs 1).
void filter(std::span<const float> row, const Sampler& sampler, double total, Scratch& scratch) {
  auto& [raw, counts, weights, survivors] = scratch;
  const double top_p = sampler.top_p;
  // Tokens below the first add up to less than half of what may go: the nucleus never needs them.
  const double least = std::max(0.5 * (1 - top_p) * total / static_cast<double>(row.size()),
                                static_cast<double>(sampler.min_p));
  survivors.clear();
  for (uint32_t id = 0; id < row.size(); ++id) {
    if (weights[id] >= least && weights[id] > 0) survivors.push_back(rank(row[id], id));
  }
  size_t kept = survivors.size();
  if (top_p < 1) {
    double sum = 0;
    size_t ordered = 0;
    for (kept = 0; kept < survivors.size() && (kept == 0 || sum < top_p * total); ++kept) {
      if (kept == ordered) {
        const size_t more = std::min(survivors.size() - kept, std::max<size_t>(64, ordered * 3));
        order_best(std::span(survivors).subspan(kept), more);
        ordered += more;
      }
      sum += weights[id_of(survivors[kept])];
    }
  }
  survivors.resize(kept);
}

/// Walks tokens in id order until the uniform number's share of all their weights is reached.
uint32_t draw(std::span<const Ranked> ids, const std::vector<double>& weights, double total,
              double uniform_number) {
  const double share = uniform_number * total;
  double sum = 0;
  Ranked last = ids.front();
  for (const Ranked id : ids) {
    if (!(weights[id] > 0)) continue;
    sum += weights[id];
    if (sum > share) return id_of(id);
    last = id;
  }
  return id_of(last);
}

/// Logprobs of the row as it came: the token's, and the likeliest ones'.
void report(std::span<const float> raw, uint32_t alternatives, SequenceResult& result,
            Scratch& scratch) {
  const double norm = log_sum(raw);
  const auto logprob = [&](uint32_t id) { return static_cast<float>(raw[id] - norm); };
  result.logprob = logprob(result.token);
  const size_t count = std::min<size_t>(alternatives, raw.size());
  if (count == 0) return;
  rank_all(raw, scratch.survivors);
  order_best(scratch.survivors, count);
  result.alternatives.reserve(count);
  for (const Ranked token : std::span(scratch.survivors).first(count)) {
    result.alternatives.push_back({id_of(token), logprob(id_of(token))});
  }
}

uint32_t choose(std::span<float> row, const Sampler& sampler, std::span<const uint32_t> history,
                uint32_t position, Scratch& scratch) {
  forbid(row, sampler.mask);
  for (const Sampler::Bias& bias : sampler.biases) row[bias.token] += bias.value;
  penalize_repetition(row, sampler.repetition, history, scratch);
  const size_t prompt = std::min<size_t>(sampler.prompt_length, history.size());
  penalize_presence(row, sampler, history.subspan(prompt), scratch);
  if (sampler.temperature == 0) return largest(row);
  double total = weigh(row, sampler, scratch);
  // Nothing weighs anything: penalties took the best logit beyond f32.
  if (!(total > 0)) return largest(row);
  auto& [raw, counts, weights, survivors] = scratch;
  if (sampler.top_p < 1 || sampler.min_p > 0) {
    filter(row, sampler, total, scratch);
    for (Ranked& token : survivors) token = id_of(token);
    std::sort(survivors.begin(), survivors.end());
    total = 0;
    for (const Ranked id : survivors) total += weights[id];
  } else {
    // Those that weigh nothing are never reached.
    survivors.resize(row.size());
    std::iota(survivors.begin(), survivors.end(), Ranked{0});
  }
  return draw(survivors, weights, total, uniform(sampler.seed, sampler.choice, position));
}

}  // namespace

SequenceResult sample(std::span<float> row, const Sampler& sampler,
                      std::span<const uint32_t> history, uint32_t position) noexcept {
  thread_local Scratch scratch;
  SequenceResult result;
  result.finite = all_finite(row);
  if (!result.finite) return result;
  if (scratch.counts.size() < row.size()) scratch.counts.resize(row.size());
  const bool wants_logprobs = sampler.logprobs > 0;
  if (wants_logprobs) scratch.raw.assign(row.begin(), row.end());
  result.token = choose(row, sampler, history, position, scratch);
  result.sampled = true;
  if (wants_logprobs) report(scratch.raw, sampler.logprobs - 1, result, scratch);
  return result;
}

double uniform(uint64_t seed, uint32_t choice, uint32_t position) noexcept {
  const std::array<uint32_t, 4> words = philox(
      {position, choice, 0, 0}, {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
  // 53 bits: all that a double between 0 and 1 can hold.
  const uint64_t bits = uint64_t{words[0] >> 5} << 26 | words[1] >> 6;
  return static_cast<double>(bits) * 0x1p-53;
}

}  // namespace cidery::sampling
