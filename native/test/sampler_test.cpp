#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <set>
#include <vector>

#include "sampling/exponential.h"
#include "sampling/random.h"
#include "sampling/sampler.h"
#include "test/check.h"

/// The sampler against known answers and against a slow one that sorts everything.
using namespace cidery;
using namespace cidery::sampling;
using cidery::test::check;
using program::Sampler;
using program::SequenceResult;

namespace {

SequenceResult sample_row(std::vector<float> row, const Sampler& sampler,
                          std::vector<uint32_t> history = {}) {
  const auto position = static_cast<uint32_t>(history.size());
  return sample(row, sampler, history, position);
}

uint32_t token(std::vector<float> row, const Sampler& sampler,
               std::vector<uint32_t> history = {}) {
  return sample_row(std::move(row), sampler, std::move(history)).token;
}

void random_numbers() {
  // Known answers of the Random123 library.
  check(philox({0, 0, 0, 0}, {0, 0}) ==
            std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        "philox of zeros");
  check(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
            std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
        "philox of the digits of pi");
  std::set<double> seen;
  double sum = 0;
  for (uint32_t i = 0; i < 1000; ++i) {
    for (const double u : {uniform(i, 0, 0), uniform(7, i + 1, 0), uniform(7, 0, i + 1),
                           uniform(uint64_t{i + 1} << 32, 0, 0)}) {
      seen.insert(u);
      sum += u;
      if (!(u >= 0 && u < 1)) check(false, "a uniform number is in [0, 1)");
    }
  }
  check(seen.size() == 4000, "seed, choice and position each change the number");
  check(std::abs(sum / 4000 - 0.5) < 0.02, "the mean is a half");
}

void exponentials() {
  double worst = 0;
  for (double x = -700; x <= 0; x += 0.0137) {
    worst = std::max(worst, std::abs(exponential(x) / std::exp(x) - 1));
  }
  check(worst < 2e-15, "e^x is right to " + std::to_string(worst * 1e15) + "e-15");
  check(exponential(0) == 1, "e^0 is 1");
  check(exponential(-std::numeric_limits<double>::infinity()) == 0, "e^-infinity is 0");
  check(exponential(-709) == 0, "e^-709 is 0");
}

void greedy() {
  check(token({1, 3, 2}, {}) == 1, "the largest");
  check(token({1, 3, 3, 0}, {}) == 1, "ties go to the lowest id");
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    const SequenceResult result = sample_row({1, bad, 2}, {});
    check(!result.finite && !result.sampled, "a row that is not finite draws nothing");
  }
}

void changes_of_logits() {
  Sampler sampler;
  sampler.mask = {0b101};
  check(token({1, 3, 2}, sampler) == 2, "the mask forbids the largest");
  sampler = {};
  sampler.biases = {{0, 5}, {1, -1}};
  check(token({1, 3, 2}, sampler) == 0, "biases add");
  sampler = {};
  sampler.repetition = 2;
  check(token({1, 3, 2}, sampler, {1, 1, 1}) == 2, "repetition divides what is positive, once");
  check(token({-3, -2.5f, -9}, sampler, {1}) == 0, "repetition multiplies what is negative");
  sampler = {};
  sampler.presence = 1.5f;
  check(token({1, 3, 2}, sampler, {0, 1, 1}) == 2, "presence is taken once");
  check(token({1, 4, 2}, sampler, {0, 1, 1}) == 1, "presence is taken once, not a time");
  sampler.prompt_length = 3;
  check(token({1, 3, 2}, sampler, {0, 1, 1}) == 1, "the prompt does not count for presence");
  sampler = {};
  sampler.frequency = 0.6f;
  check(token({1, 3, 2}, sampler, {1}) == 1, "frequency once is too little");
  check(token({1, 3, 2}, sampler, {1, 1}) == 2, "frequency is taken a time");
  sampler.prompt_length = 1;
  check(token({1, 3, 2}, sampler, {1, 1}) == 1, "the prompt does not count for frequency");
}

void logprobs() {
  Sampler sampler;
  sampler.logprobs = 3;
  sampler.mask = {0b1101};
  const SequenceResult result = sample_row({1, 3, 2, 2}, sampler);
  const double norm = std::log(std::exp(1) + std::exp(3) + 2 * std::exp(2));
  check(result.token == 2, "the mask decides the token");
  check(std::abs(result.logprob - (2 - norm)) < 1e-6, "the token's logprob is the raw row's");
  check(result.alternatives.size() == 2 && result.alternatives[0].token == 1 &&
            result.alternatives[1].token == 2,
        "alternatives are the raw row's likeliest, ties by id");
  check(std::abs(result.alternatives[0].logprob - (3 - norm)) < 1e-6, "and their logprobs");
  sampler.logprobs = 1;
  check(sample_row({1, 3, 2, 2}, sampler).alternatives.empty(), "none are wanted");
  sampler.logprobs = 5;
  check(sample_row({1, 3, 2, 2}, sampler).alternatives.size() == 4, "all are wanted");
}

/// The filters and the draw with nothing clever: sorts all, std::exp, one list.
uint32_t slow(const std::vector<float>& row, const Sampler& sampler, uint32_t position) {
  std::vector<uint32_t> ids(row.size());
  std::iota(ids.begin(), ids.end(), 0u);
  std::stable_sort(ids.begin(), ids.end(), [&](uint32_t a, uint32_t b) { return row[a] > row[b]; });
  if (sampler.top_k > 0 && sampler.top_k < ids.size()) ids.resize(sampler.top_k);
  const double top = row[ids[0]];
  const auto weight = [&](uint32_t id) { return std::exp((row[id] - top) / sampler.temperature); };
  double total = 0, sum = 0;
  for (const uint32_t id : ids) total += weight(id);
  size_t kept = 0;
  while (kept < ids.size() && (kept == 0 || sum < double{sampler.top_p} * total)) {
    sum += weight(ids[kept++]);
  }
  if (sampler.top_p < 1) ids.resize(kept);
  std::erase_if(ids, [&](uint32_t id) { return weight(id) < sampler.min_p; });
  std::sort(ids.begin(), ids.end());
  total = sum = 0;
  for (const uint32_t id : ids) total += weight(id);
  for (const uint32_t id : ids) {
    sum += weight(id);
    if (sum > uniform(sampler.seed, sampler.choice, position) * total) return id;
  }
  return ids.back();
}

void against_slow() {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 3);
  int wrong = 0, runs = 0;
  for (int i = 0; i < 3000; ++i) {
    std::vector<float> row(1 + random() % 700);
    for (float& logit : row) logit = i % 3 == 0 ? std::round(normal(random)) : normal(random);
    Sampler sampler;
    sampler.temperature = std::array{0.1f, 0.7f, 1.0f, 5.0f}[random() % 4];
    sampler.top_p = std::array{1.0f, 0.95f, 0.5f, 0.0f}[random() % 4];
    sampler.min_p = std::array{0.0f, 0.05f, 1.0f}[random() % 3];
    sampler.top_k = std::array{0u, 1u, 40u, 5000u}[random() % 4];
    sampler.seed = random();
    std::vector<uint32_t> history(random() % 50, 0);
    const auto position = static_cast<uint32_t>(history.size());
    const uint32_t expected = slow(row, sampler, position);
    wrong += token(row, sampler, history) != expected;
    ++runs;
  }
  check(wrong == 0, std::to_string(wrong) + " of " + std::to_string(runs) +
                        " draws differ from those of the slow sampler");
}

void distribution() {
  const std::vector<float> row{0, 1, 2, -1};
  Sampler sampler;
  sampler.temperature = 0.8f;
  std::vector<int> counts(4);
  const int draws = 40000;
  for (uint32_t seed = 0; seed < draws; ++seed) {
    sampler.seed = seed;
    ++counts[token(row, sampler)];
  }
  double total = 0, chi = 0;
  for (const float logit : row) total += std::exp(logit / 0.8);
  for (size_t i = 0; i < 4; ++i) {
    const double expected = draws * std::exp(row[i] / 0.8) / total;
    chi += (counts[i] - expected) * (counts[i] - expected) / expected;
  }
  check(chi < 16.3, "counts follow the softmax (chi squared " + std::to_string(chi) + ")");
}

void extremes() {
  Sampler sampler;
  sampler.temperature = 1e-30f;
  check(token({1, 3, 2}, sampler) == 1, "a tiny temperature is greedy");
  sampler.temperature = 1e6f;
  check(token({1, 3, 2}, sampler) < 3, "a huge temperature");
  check(token({3e38f, -3e38f}, sampler) < 2, "the largest numbers");
  sampler.repetition = 1e-6f;
  check(token({3e38f, 1}, sampler, {0}) == 0, "a penalty that overflows");
  sampler = {};
  sampler.temperature = 1;
  sampler.mask = {0b10};
  check(token({9, 1, 8}, sampler) == 1, "the only token that is allowed");
  check(token({5}, sampler = {}) == 0, "a vocabulary of one");
}

}  // namespace

int main() {
  random_numbers();
  exponentials();
  greedy();
  changes_of_logits();
  logprobs();
  against_slow();
  distribution();
  extremes();
  return test::summary("sampler");
}
