#include "cpu/processor.h"

#include <cstdint>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace cidery::cpu {

#if defined(__x86_64__)
namespace {

struct Registers {
  uint32_t a = 0, b = 0, c = 0, d = 0;
};

/// Zeros for a leaf that the processor does not have.
Registers cpuid(uint32_t leaf) {
  Registers out;
  __get_cpuid_count(leaf, 0, &out.a, &out.b, &out.c, &out.d);
  return out;
}

bool has_all(uint32_t word, uint32_t bits) { return (word & bits) == bits; }

/// Register states that the operating system saves (XCR0); 0 where it has not enabled XSAVE.
uint64_t saved_states(uint32_t features) {
  if (!has_all(features, bit_OSXSAVE)) return 0;
  uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t{high} << 32 | low;
}

}  // namespace

Processor inspect_processor() noexcept {
  // Leaves 1, 7 and 0x80000001 as in the Intel manual 2A; levels as in the x86-64 psABI, section
  // 3.1.
  constexpr uint32_t leaf1 = bit_SSE3 | bit_SSSE3 | bit_FMA | bit_CMPXCHG16B | bit_SSE4_1 |
                             bit_SSE4_2 | bit_MOVBE | bit_POPCNT | bit_AVX | bit_F16C;
  constexpr uint32_t leaf7 = bit_AVX2 | bit_BMI | bit_BMI2;
  constexpr uint32_t leaf7_v4 = bit_AVX512F | bit_AVX512DQ | bit_AVX512CD | bit_AVX512BW |
                                bit_AVX512VL;
  constexpr uint64_t ymm = 0x6, zmm = 0xe6;
  const Registers base = cpuid(1), more = cpuid(7), extended = cpuid(0x80000001);
  const uint64_t states = saved_states(base.c);
  Processor has;
  has.avx2 = has_all(base.c, leaf1) && has_all(more.b, leaf7) &&
             has_all(extended.c, bit_LAHF_LM | bit_LZCNT) && (states & ymm) == ymm;
  has.avx512 = has.avx2 && has_all(more.b, leaf7_v4) && (states & zmm) == zmm;
  has.avx512vnni = has.avx512 && has_all(more.c, bit_AVX512VNNI);
  return has;
}

#elif defined(__aarch64__) && defined(__APPLE__)
namespace {

bool has_feature(const char* name) {
  int32_t value = 0;
  size_t size = sizeof value;
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value != 0;
}

}  // namespace

Processor inspect_processor() noexcept {
  Processor has;
  has.dotprod = has_feature("hw.optional.arm.FEAT_DotProd");
  has.i8mm = has.dotprod && has_feature("hw.optional.arm.FEAT_I8MM");
  return has;
}

#elif defined(__aarch64__)

Processor inspect_processor() noexcept {
  // Linux, asm/hwcap.h: ASIMDDP, and the flags that armv8.2-a implies (ATOMICS, ASIMDRDM); I8MM.
  constexpr unsigned long atomics = 1ul << 8, rounding = 1ul << 12, dotprod = 1ul << 20;
  constexpr unsigned long wanted = atomics | rounding | dotprod, i8mm = 1ul << 13;
  Processor has;
  has.dotprod = (getauxval(AT_HWCAP) & wanted) == wanted;
  has.i8mm = has.dotprod && (getauxval(AT_HWCAP2) & i8mm) != 0;
  return has;
}

#else

Processor inspect_processor() noexcept { return {}; }

#endif

}  // namespace cidery::cpu
