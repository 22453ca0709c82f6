// The roofs that speed is held against: what THREADS threads read from memory, and how many int8
// products they add up. `roof read|multiply THREADS` prints one number: GB/s or GMAC/s, the best
// of several passes, as a roof is what nothing disturbed.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>
#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__ARM_FEATURE_DOTPROD)
#include <arm_neon.h>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace {

// Well past the last-level cache, which a decoded token's weights do not fit, either.
constexpr std::size_t bytesAThread = std::size_t{256} << 20;
constexpr std::size_t pageBytes = std::size_t{2} << 20;
constexpr int passes = 7;
constexpr std::int64_t multiplyRounds = 20'000'000;

// Keeps a value alive without storing it.
template <typename T>
void keep(T& value) {
#if defined(__x86_64__)
  if constexpr (sizeof(T) >= 16) {
    asm volatile("" : "+x"(value));
    return;
  }
#elif defined(__aarch64__)
  if constexpr (sizeof(T) == 16) {
    asm volatile("" : "+w"(value));
    return;
  }
#endif
  if constexpr (sizeof(T) <= 8) asm volatile("" : "+r"(value));
}

void readAll(const std::uint64_t* from) {
  constexpr std::size_t words = bytesAThread / sizeof(std::uint64_t);
  std::uint64_t sums[64] = {};
  for (std::size_t i = 0; i < words; i += 64) {
    for (int lane = 0; lane < 64; ++lane) sums[lane] += from[i + lane];
  }
  std::uint64_t sum = 0;
  for (const std::uint64_t part : sums) sum += part;
  keep(sum);
}

#if defined(__AVX512VNNI__)
using Vector = __m512i;
constexpr int productsAnInstruction = 64;
constexpr int accumulators = 8;
Vector ones() { return _mm512_set1_epi8(1); }
Vector multiplyAdd(Vector sum, Vector a) { return _mm512_dpbusd_epi32(sum, a, a); }
#elif defined(__AVX2__)
using Vector = __m256i;
constexpr int productsAnInstruction = 32;
constexpr int accumulators = 6;  // more would be spilled from the 16 registers
Vector ones() { return _mm256_set1_epi8(1); }
Vector multiplyAdd(Vector sum, Vector a) {
#if defined(__AVXVNNI__)
  return _mm256_dpbusd_avx_epi32(sum, a, a);
#else
  const Vector pairs = _mm256_maddubs_epi16(a, a);
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
#endif
}
#elif defined(__ARM_FEATURE_DOTPROD)
struct alignas(16) Vector {
  int32x4_t value;
};
constexpr int productsAnInstruction = 16;
constexpr int accumulators = 8;
Vector ones() { return {vreinterpretq_s32_s8(vdupq_n_s8(1))}; }
Vector multiplyAdd(Vector sum, Vector a) {
  const int8x16_t bytes = vreinterpretq_s8_s32(a.value);
  return {vdotq_s32(sum.value, bytes, bytes)};
}
#else
using Vector = std::int64_t;
constexpr int productsAnInstruction = 1;
constexpr int accumulators = 8;
Vector ones() { return 1; }
Vector multiplyAdd(Vector sum, Vector a) { return sum + a * a; }
#endif

void multiplyAll() {
  Vector sums[accumulators];
  Vector a = ones();
  for (Vector& sum : sums) sum = ones();
  for (std::int64_t round = 0; round < multiplyRounds / accumulators; ++round) {
    for (Vector& sum : sums) {
      keep(a);  // or what only depends on it would be computed once for all
      sum = multiplyAdd(sum, a);
    }
  }
  for (Vector& sum : sums) keep(sum);
}

const std::uint64_t* touchedMemory() {
  auto* memory = static_cast<std::uint64_t*>(std::aligned_alloc(pageBytes, bytesAThread));
  if (memory == nullptr) std::exit(1);
#if defined(__linux__)
  madvise(memory, bytesAThread, MADV_HUGEPAGE);
#endif
  std::memset(memory, 1, bytesAThread);
  return memory;
}

// Seconds of the fastest pass in which every thread did `work(thread)`.
double fastest(int threads, const std::function<void(int)>& work) {
  double best = 1e30;
  for (int pass = 0; pass < passes; ++pass) {
    const auto start = std::chrono::steady_clock::now();
    std::vector<std::thread> others;
    for (int thread = 1; thread < threads; ++thread) others.emplace_back(work, thread);
    work(0);
    for (std::thread& other : others) other.join();
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    best = std::min(best, time.count());
  }
  return best;
}

}  // namespace

int main(int count, char** arguments) {
  const int threads = count == 3 ? std::atoi(arguments[2]) : 0;
  if (threads < 1 || threads > 1024) return 2;
  double amount = 0;
  double seconds = 0;
  if (std::strcmp(arguments[1], "read") == 0) {
    std::vector<const std::uint64_t*> parts;
    for (int thread = 0; thread < threads; ++thread) parts.push_back(touchedMemory());
    amount = static_cast<double>(threads) * static_cast<double>(bytesAThread);
    seconds = fastest(threads, [&parts](int thread) { readAll(parts[thread]); });
  } else {
    const auto rounds = multiplyRounds / accumulators * accumulators;
    amount = static_cast<double>(threads) * static_cast<double>(rounds * productsAnInstruction);
    seconds = fastest(threads, [](int) { multiplyAll(); });
  }
  std::printf("%.3f\n", amount / seconds / 1e9);
  return 0;
}
