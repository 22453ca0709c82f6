// Attention over blocks of cache: every set is compared with the plain one bit by bit, the plain
// one with double arithmetic, and a query among others with the query alone. --set NAME, --seed N.
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "check.h"
#include "cpu/dispatch.h"
#include "kernels_matrices.h"

namespace cidery::test {
namespace {

using cpu::CacheType;
using cpu::Kernels;

struct Case {
  uint32_t key_width, value_width, heads;  // heads: that share the key head
  uint32_t first_position, tokens, window;
  float softcap;
  bool sinks;
  CacheType type;

  uint32_t positions() const { return first_position + tokens; }
  std::string name() const {
    return "attention " + std::to_string(key_width) + "/" + std::to_string(value_width) + " x" +
           std::to_string(heads) + " at " + std::to_string(first_position) + "+" +
           std::to_string(tokens) + " window " + std::to_string(window) +
           (type == CacheType::u8 ? " u8" : " f32");
  }
};

struct Inputs {
  std::vector<float> keys, values, queries, sinks;
};

/// A sequence's blocks, each ending at a guard page. What was never written is NaN.
struct Cache {
  cpu::CacheHead head;
  std::vector<Guarded<uint8_t>> memory;
  std::vector<const uint8_t*> blocks;

  Cache(const Kernels& kernels, const Case& of, const Inputs& in) {
    const size_t key_bytes = cpu::key_block_bytes(of.type, of.key_width);
    head = {of.type, 64, 64 + key_bytes, of.key_width, of.value_width};
    const size_t size = head.value_offset + cpu::value_block_bytes(of.type, of.value_width);
    for (uint32_t block = 0; block * 16 < of.positions(); ++block) {
      memory.emplace_back(size);
      std::memset(memory.back().data(), 0xff, size);
    }
    for (uint32_t at = 0; at < of.positions(); ++at) {
      kernels.write_cache({head, memory[at / 16].data(), at % 16,
                           in.keys.data() + at * of.key_width,
                           in.values.data() + at * of.value_width});
    }
    for (const auto& block : memory) blocks.push_back(block.data());
  }

  /// The key or value of one position as the blocks have it.
  float key(uint32_t position, uint32_t channel) const {
    const uint8_t* keys = blocks[position / 16] + head.key_offset;
    const uint32_t place = position % 16;
    if (head.type == CacheType::f32) return float_at(keys, channel * 16 + place);
    const uint32_t first = channel / 32 * 32;
    const uint32_t quads = (std::min(head.key_width - first, 32u) + 3) / 4;
    const uint8_t* group = keys + first / 32 * (8 * 64 + 64);
    const uint32_t within = channel - first;
    return valued(group[within / 4 * 64 + place * 4 + within % 4], group + quads * 64, place);
  }
  float value(uint32_t position, uint32_t channel) const {
    const uint8_t* values = blocks[position / 16] + head.value_offset;
    const uint32_t place = position % 16, stride = cpu::value_stride(head.value_width);
    if (head.type == CacheType::f32) return float_at(values, place * stride + channel);
    const uint32_t at = channel / 16 * 256 + place / 4 * 64 + channel % 16 * 4 + place % 4;
    return valued(values[at], values + stride * 16, place);
  }

 private:
  static float float_at(const uint8_t* from, size_t index) {
    float out;
    std::memcpy(&out, from + 4 * index, 4);
    return out;
  }
  static float bf16_at(const uint8_t* from, size_t index) {
    uint16_t half;
    std::memcpy(&half, from + 2 * index, 2);
    const uint32_t bits = uint32_t{half} << 16;
    float out;
    std::memcpy(&out, &bits, 4);
    return out;
  }
  static float valued(uint8_t code, const uint8_t* factors, uint32_t place) {
    return bf16_at(factors, 16 + place) + bf16_at(factors, place) * code;
  }
};

/// What is written differs from what was given by no more than bytes have to.
void check_written(const Case& of, const Inputs& in, const Cache& cache) {
  double worst = 0;
  const auto compare = [&](const float* given, uint32_t width, uint32_t group, const auto& read) {
    for (uint32_t first = 0; first < width; first += group) {
      const uint32_t count = std::min(group, width - first);
      const auto [low, high] = std::minmax_element(given + first, given + first + count);
      // The lowest loses what bf16 has no place for, and a step grows by as much.
      const double rounding = std::fabs(*low) / 256.0;
      const double step = (*high - *low + rounding) / 255.0 * 1.01;
      const double allowed = of.type == CacheType::f32 ? 0 : std::max(step / 2, rounding) + 1e-6;
      for (uint32_t i = 0; i < count; ++i) {
        const double off = std::fabs(double{read(first + i)} - given[first + i]);
        worst = std::max(worst, off - allowed);
      }
    }
  };
  for (uint32_t at = 0; at < of.positions(); ++at) {
    compare(in.keys.data() + at * of.key_width, of.key_width, cpu::key_group,
            [&](uint32_t i) { return cache.key(at, i); });
    compare(in.values.data() + at * of.value_width, of.value_width, of.value_width,
            [&](uint32_t i) { return cache.value(at, i); });
  }
  check(worst <= 0, of.name() + " is written off by " + std::to_string(worst));
}

/// The outputs of tokens [first, first + count): [count, heads, value_width].
std::vector<float> attend(const Kernels& kernels, const Case& of, const Inputs& in,
                          const Cache& cache, uint32_t first, uint32_t count) {
  const uint32_t spans = (of.positions() + cpu::span_positions - 1) / cpu::span_positions;
  const size_t partial = cpu::partial_floats(of.value_width), queries = count * of.heads;
  Guarded<float> partials(spans * queries * partial);
  const size_t head_stride = of.key_width + 3, token_stride = of.heads * head_stride + 1;
  Guarded<float> moved(count * token_stride);
  for (uint32_t token = 0; token < count; ++token) {
    for (uint32_t head = 0; head < of.heads; ++head) {
      const size_t from = ((first + token) * of.heads + head) * size_t{of.key_width};
      std::copy_n(in.queries.data() + from, of.key_width,
                  moved.data() + token * token_stride + head * head_stride);
    }
  }
  for (uint32_t span = 0; span < spans; ++span) {
    kernels.attend({cache.head, cache.blocks.data(), span, moved.data(), token_stride, head_stride,
                    count, of.heads, of.first_position + first, of.window, 0.3f, of.softcap,
                    partials.data() + span * queries * partial});
  }
  Guarded<float> out(queries * of.value_width);
  for (size_t query = 0; query < queries; ++query) {
    kernels.merge_attention({partials.data() + query * partial, queries * partial, spans,
                             of.value_width,
                             of.sinks ? in.sinks.data() + query % of.heads : nullptr,
                             out.data() + query * of.value_width});
  }
  return {out.data(), out.data() + out.size()};
}

/// One query in double, over keys and values as the cache has them.
std::vector<double> exact(const Case& of, const Inputs& in, const Cache& cache, uint32_t token,
                          uint32_t head) {
  const uint32_t position = of.first_position + token;
  const uint32_t oldest = of.window > 0 && position + 1 > of.window ? position + 1 - of.window : 0;
  const float* query = in.queries.data() + (token * of.heads + head) * size_t{of.key_width};
  std::vector<double> scores;
  for (uint32_t at = oldest; at <= position; ++at) {
    double score = 0;
    for (uint32_t i = 0; i < of.key_width; ++i) {
      score += double{query[i]} * cache.key(at, i);
    }
    score *= double{0.3f};
    if (of.softcap != 0) score = of.softcap * std::tanh(score / of.softcap);
    scores.push_back(score);
  }
  double most = *std::ranges::max_element(scores);
  if (of.sinks) most = std::max(most, double{in.sinks[head]});
  double total = of.sinks ? std::exp(in.sinks[head] - most) : 0;
  std::vector<double> out(of.value_width);
  for (uint32_t i = 0; i < scores.size(); ++i) {
    const double weight = std::exp(scores[i] - most);
    total += weight;
    for (uint32_t j = 0; j < of.value_width; ++j) {
      out[j] += weight * cache.value(oldest + i, j);
    }
  }
  for (double& value : out) value /= total;
  return out;
}

bool same_bits(const float* a, const float* b, size_t count) {
  return std::memcmp(a, b, count * sizeof *a) == 0;
}

void check_case(const std::vector<const Kernels*>& sets, const Case& of, Random& random) {
  const Inputs in = {random_values(of.positions() * size_t{of.key_width}, random),
                     random_values(of.positions() * size_t{of.value_width}, random),
                     random_values(of.tokens * of.heads * size_t{of.key_width}, random),
                     random_values(of.heads, random)};
  const Kernels& plain = cpu::choose_kernels("plain");
  const Cache cache(plain, of, in);
  check_written(of, in, cache);
  const std::vector<float> expected = attend(plain, of, in, cache, 0, of.tokens);
  double worst = 0;
  for (uint32_t query = 0; query < of.tokens * of.heads; ++query) {
    const std::vector<double> right =
        exact(of, in, cache, query / of.heads, query % of.heads);
    for (uint32_t i = 0; i < of.value_width; ++i) {
      worst = std::max(worst, std::fabs(expected[query * of.value_width + i] - right[i]));
    }
  }
  // Queries and weights have 15 bits beside keys and values in bytes.
  check(worst < (of.type == CacheType::u8 ? 1e-3 : 2e-5),
        of.name() + " is off by " + std::to_string(worst));
  const size_t row = size_t{of.heads} * of.value_width;
  for (const Kernels* set : sets) {
    const Cache own(*set, of, in);
    bool same = true;
    for (size_t i = 0; i < own.memory.size(); ++i) {
      same &= own.memory[i].same_bits(cache.memory[i]);
    }
    check(same, of.name() + ": " + set->name + " writes another cache than plain");
    const std::vector<float> out = attend(*set, of, in, own, 0, of.tokens);
    check(same_bits(out.data(), expected.data(), out.size()),
          of.name() + ": " + set->name + " gives other bits than plain");
    for (uint32_t token = 0; token < of.tokens; token += 1 + token / 3) {
      const std::vector<float> alone = attend(*set, of, in, own, token, 1);
      check(same_bits(alone.data(), out.data() + token * row, row),
            of.name() + ": " + set->name + " gives a token other bits alone");
    }
  }
}

void run(const std::vector<const Kernels*>& sets, uint64_t seed) {
  Random random(seed);
  for (const CacheType type : {CacheType::u8, CacheType::f32}) {
    for (const uint32_t width : {8u, 64u, 80u, 96u, 128u, 256u}) {
      check_case(sets, {width, width, 3, 20, 7, 0, 0, false, type}, random);
    }
    check_case(sets, {20, 24, 1, 0, 1, 0, 0, false, type}, random);
    check_case(sets, {24, 20, 5, 3, 4, 2, 0, true, type}, random);
    check_case(sets, {64, 48, 4, 0, 33, 10, 30, true, type}, random);
    for (const uint32_t position : {0u, 14u, 15u, 16u, 510u, 511u, 512u, 1023u, 1024u}) {
      check_case(sets, {16, 32, 2, position, 3, 0, 0, false, type}, random);
      check_case(sets, {16, 32, 3, position, 2, 20, 5, true, type}, random);
      check_case(sets, {16, 32, 3, position, 2, 515, 0, false, type}, random);
    }
  }
}

}  // namespace
}  // namespace cidery::test

int main(int count, char** arguments) {
  using namespace cidery::test;
  return run_kernel_test(count, arguments, "kernels_attention_test", run);
}
