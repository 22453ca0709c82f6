// Attention alone, with the starter model's heads (3 key heads of 64 channels, 3 queries each, 30
// layers), over keys and values that no cache holds: microseconds a token, GB/s read, and that as
// a part of the read roof of this run. A depth is rounded down to whole spans.
// attention [--set NAME] [--depth N] [--rounds N] [--warm 1]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string_view>

#include "cpu/dispatch.h"
#include "cpu/kv.h"
#include "roofs.h"

namespace cidery::bench {
namespace {

using cpu::CacheType;
using cpu::Kernels;

constexpr uint32_t layers = 30, key_heads = 3, queries = 3, width = 64;
constexpr uint32_t span_blocks = cpu::span_positions / cpu::lanes;
constexpr uint32_t token_counts[] = {1, 16};
constexpr uint64_t cold_bytes = uint64_t{128} << 20;

struct Options {
  std::string_view set;
  uint32_t depth = 2048;
  int rounds = 7;
  bool warm = false;
};

/// Sequences whose caches lie as the executor lays them.
struct Sequences {
  cpu::BlockCache cache;
  uint32_t count;

  Sequences(const Kernels& kernels, uint32_t depth, uint32_t wanted)
      : cache(std::vector<program::Cache>(layers, {key_heads, width, width, 0}),
              {CacheType::u8, wanted, depth, 0}),
        count(wanted) {
    std::mt19937 random(1);
    std::uniform_real_distribution<float> between(-1, 1);
    std::vector<float> values(2 * width);
    for (uint32_t slot = 0; slot < count; ++slot) {
      cache.extend(slot, 0, depth);
      for (uint32_t at = 0; at < depth; ++at) {
        for (float& value : values) value = between(random);
        for (uint32_t head = 0; head < layers * key_heads; ++head) {
          kernels.write_cache({cache.head(head / key_heads, head % key_heads),
                               cache.blocks(slot)[at / 16], at % 16, values.data(),
                               values.data() + width});
        }
      }
    }
  }
};

/// Seconds that `tokens` tokens at the end of a sequence take.
double time_tokens(const Kernels& kernels, Sequences& sequences, uint32_t slot, uint32_t depth,
                   uint32_t tokens, bool warm) {
  const uint32_t spans = (depth + cpu::span_positions - 1) / cpu::span_positions;
  std::vector<float> in(size_t{tokens} * key_heads * queries * width, 0.1f);
  std::vector<float> partials(size_t{spans} * tokens * queries * cpu::partial_floats(width));
  cpu::AttentionArguments arguments{};
  arguments.blocks = sequences.cache.blocks(slot);
  arguments.token_stride = key_heads * queries * width;
  arguments.head_stride = width;
  arguments.tokens = tokens;
  arguments.heads = queries;
  arguments.first_position = depth - tokens;
  arguments.scale = 0.125f;
  arguments.partials = partials.data();
  const double start = thread_seconds();
  for (uint32_t layer = 0; layer < layers; ++layer) {
    const uint32_t from = warm ? 0 : layer;
    for (uint32_t head = 0; head < key_heads; ++head) {
      arguments.head = sequences.cache.head(from, head);
      arguments.queries = in.data() + size_t{head} * queries * width;
      for (arguments.span = 0; arguments.span < spans; ++arguments.span) {
        const bool last = arguments.span + 1 == spans;
        arguments.next_blocks = arguments.blocks + (last ? 0 : (arguments.span + 1) * span_blocks);
        arguments.next_count = last && head + 1 == key_heads ? 0 : span_blocks;
        arguments.next_key_offset =
            sequences.cache.head(from, last ? head + 1 : head).key_offset;
        kernels.attend(arguments);
        arguments.keys_asked = arguments.next_count > 0;
      }
    }
  }
  return thread_seconds() - start;
}

void run(Options options) {
  options.depth = std::max(options.depth / cpu::span_positions, 1u) * cpu::span_positions;
  const Kernels& kernels = cpu::choose_kernels(options.set);
  const double bytes = static_cast<double>(options.depth) / 16 * layers * key_heads *
                       static_cast<double>(cpu::key_block_bytes(CacheType::u8, width) +
                                           cpu::value_block_bytes(CacheType::u8, width));
  Sequences sequences(kernels, options.depth, static_cast<uint32_t>(cold_bytes / bytes) + 1);
  const double read = read_roof();
  std::printf("%s, depth %u, read roof %.1f GB/s\n", kernels.name, options.depth, read);
  for (const uint32_t tokens : token_counts) {
    std::vector<double> times;
    for (uint32_t i = 0; i < options.rounds * sequences.count; ++i) {
      times.push_back(time_tokens(kernels, sequences, options.warm ? 0 : i % sequences.count,
                                  options.depth, tokens, options.warm));
    }
    std::ranges::sort(times);
    const double taken = times[times.size() / 2], gbytes = 1e-9 * bytes / taken;
    std::printf("%2u tokens %8.1f us a token  %6.2f GB/s %3.0f %%\n", tokens, 1e6 * taken / tokens,
                gbytes, 100 * gbytes / read);
  }
}

}  // namespace
}  // namespace cidery::bench

int main(int count, char** arguments) {
  cidery::bench::Options options;
  for (int i = 1; i + 1 < count; i += 2) {
    const std::string_view name = arguments[i];
    if (name == "--set") options.set = arguments[i + 1];
    if (name == "--depth") options.depth = static_cast<uint32_t>(std::atoi(arguments[i + 1]));
    if (name == "--warm") options.warm = std::atoi(arguments[i + 1]) != 0;
    if (name == "--rounds") options.rounds = std::max(1, std::atoi(arguments[i + 1]));
  }
  cidery::bench::run(options);
  return 0;
}
