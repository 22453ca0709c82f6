#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

/// A main for fuzz targets where libFuzzer is missing: `fuzz_x FILE…` replays files, and
/// `fuzz_x [--seed N] [--runs N]` mutates a valid input. A crash is the failure; the same seed
/// brings the same inputs, so that it can be repeated under a debugger.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace cidery::test {

using Input = std::vector<std::byte>;

inline void run_one(const Input& input) {
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size());
}

/// Changes a few words, bits or lengths.
inline Input mutate(Input input, std::mt19937& random) {
  for (uint32_t left = 1 + random() % 4; left > 0 && !input.empty(); --left) {
    const size_t words = input.size() / 4;
    const size_t at = words == 0 ? 0 : random() % words * 4;
    uint32_t word = 0;
    std::memcpy(&word, input.data() + at, std::min<size_t>(4, input.size() - at));
    switch (random() % 7) {
      case 0:
        word = random();
        break;
      case 1:
        word ^= 1u << random() % 32;
        break;
      case 2:
        word += random() % 5 - 2;
        break;
      case 3:
        word = std::array{0u, 1u, 0x7fffffffu, 0x80000000u, 0xffffffffu}[random() % 5];
        break;
      case 4:
        input.resize(random() % (input.size() + 1));
        continue;
      case 5:
        input.insert(input.begin() + static_cast<ptrdiff_t>(at), 4, std::byte{0});
        continue;
      default:
        if (words > 0) std::memcpy(&word, input.data() + random() % words * 4, 4);
        break;
    }
    std::memcpy(input.data() + at, &word, std::min<size_t>(4, input.size() - at));
  }
  return input;
}

inline int fuzz_main(int count, char** arguments, const Input& valid) {
  uint32_t seed = 1, runs = 200'000;
  bool replayed = false;
  for (int i = 1; i < count; ++i) {
    const std::string argument = arguments[i];
    if (argument == "--seed" && i + 1 < count) {
      seed = static_cast<uint32_t>(std::strtoul(arguments[++i], nullptr, 10));
    } else if (argument == "--runs" && i + 1 < count) {
      runs = static_cast<uint32_t>(std::strtoul(arguments[++i], nullptr, 10));
    } else {
      std::ifstream file(argument, std::ios::binary);
      const std::vector<char> read{std::istreambuf_iterator<char>(file), {}};
      Input input(read.size());
      if (!input.empty()) std::memcpy(input.data(), read.data(), read.size());
      run_one(input);
      replayed = true;
    }
  }
  if (replayed) return 0;
  run_one(valid);
  std::mt19937 random(seed);
  Input input = valid;
  for (uint32_t run = 0; run < runs; ++run) {
    // Mutations pile up for a while, then start again from what is valid.
    input = mutate(run % 8 == 0 ? valid : input, random);
    run_one(input);
  }
  std::printf("%s: %u runs from seed %u: 1 passed, 0 failed\n", arguments[0], runs, seed);
  return 0;
}

}  // namespace cidery::test
