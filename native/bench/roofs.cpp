#include "roofs.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace cidery::bench {
namespace {

constexpr int rounds = 7;
constexpr uint64_t steps = 2'000'000;

/// The best of some rounds: a roof is what is possible, not what is usual.
template <class Function>
double best_rate(double amount, Function function) {
  double best = 0;
  for (int i = 0; i < rounds; ++i) {
    const double start = thread_seconds();
    function();
    best = std::max(best, amount / (thread_seconds() - start) / 1e9);
  }
  return best;
}

uint64_t sum_words(const std::vector<uint64_t>& words) {
  uint64_t sums[8] = {};
  for (size_t i = 0; i < words.size(); i += 8) {
    for (size_t j = 0; j < 8; ++j) sums[j] += words[i + j];
  }
  return sums[0] + sums[1] + sums[2] + sums[3] + sums[4] + sums[5] + sums[6] + sums[7];
}

volatile uint64_t sink;

#if defined(__x86_64__)

/// What is not used is not computed.
void use(const void* sum) {
  uint64_t word;
  std::memcpy(&word, sum, sizeof word);
  sink = word;
}

// Twelve sums hide every latency. The operands come from memory once, so nothing is known of them.
alignas(64) const uint8_t operands[128] = {1, 2, 3};

__attribute__((target("avx2"))) void multiply_avx2() {
  const __m256i codes = _mm256_load_si256(reinterpret_cast<const __m256i*>(operands));
  const __m256i values = _mm256_load_si256(reinterpret_cast<const __m256i*>(operands + 32));
  __m256i sums[12] = {};
  for (uint64_t i = 0; i < steps; ++i) {
#pragma GCC unroll 12
    for (__m256i& sum : sums) {
      __m256i product = _mm256_maddubs_epi16(codes, values);
      __asm__ volatile("" : "+x"(product));
      sum = _mm256_add_epi16(sum, product);
      __asm__ volatile("" : "+x"(sum));
    }
  }
  for (const __m256i sum : sums) use(&sum);
}

__attribute__((target("avx512bw"))) void multiply_avx512() {
  const __m512i codes = _mm512_load_si512(operands);
  const __m512i values = _mm512_load_si512(operands + 64);
  __m512i sums[12] = {};
  for (uint64_t i = 0; i < steps; ++i) {
#pragma GCC unroll 12
    for (__m512i& sum : sums) {
      __m512i product = _mm512_maddubs_epi16(codes, values);
      __asm__ volatile("" : "+v"(product));
      sum = _mm512_add_epi16(sum, product);
      __asm__ volatile("" : "+v"(sum));
    }
  }
  for (const __m512i sum : sums) use(&sum);
}

__attribute__((target("avx512bw,avx512vnni"))) void multiply_vnni() {
  const __m512i codes = _mm512_load_si512(operands);
  const __m512i values = _mm512_load_si512(operands + 64);
  __m512i sums[12] = {};
  for (uint64_t i = 0; i < steps; ++i) {
#pragma GCC unroll 12
    for (__m512i& sum : sums) {
      sum = _mm512_dpbusd_epi32(sum, codes, values);
      __asm__ volatile("" : "+v"(sum));
    }
  }
  for (const __m512i sum : sums) use(&sum);
}

__attribute__((target("avx2,fma"))) void fma_avx2() {
  const __m256 a = _mm256_set1_ps(0.5f);
  __m256 sums[12] = {};
  for (uint64_t i = 0; i < steps; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < 12; ++j) sums[j] = _mm256_fmadd_ps(a, a, sums[j]);
  }
  for (const __m256 sum : sums) use(&sum);
}

__attribute__((target("avx512f"))) void fma_avx512() {
  const __m512 a = _mm512_set1_ps(0.5f);
  __m512 sums[12] = {};
  for (uint64_t i = 0; i < steps; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < 12; ++j) sums[j] = _mm512_fmadd_ps(a, a, sums[j]);
  }
  for (const __m512 sum : sums) use(&sum);
}

#endif

}  // namespace

double thread_seconds() {
  timespec now = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double read_roof() {
  // Larger than the caches of servers.
  const std::vector<uint64_t> words(size_t{256} << 17, 1);
  return best_rate(static_cast<double>(words.size()) * 8, [&] { sink = sum_words(words); });
}

double dot_roof([[maybe_unused]] std::string_view set) {
#if defined(__x86_64__)
  constexpr double operations = steps * 12;
  if (set == "avx2") return best_rate(operations * 32, multiply_avx2);
  if (set == "avx512") return best_rate(operations * 64, multiply_avx512);
  if (set == "avx512vnni") return best_rate(operations * 64, multiply_vnni);
#endif
  return 0;
}

double fma_roof([[maybe_unused]] std::string_view set) {
#if defined(__x86_64__)
  constexpr double operations = steps * 12;
  if (set == "avx2") return best_rate(operations * 8, fma_avx2);
  if (set == "avx512" || set == "avx512vnni") return best_rate(operations * 16, fma_avx512);
#endif
  return 0;
}

}  // namespace cidery::bench
