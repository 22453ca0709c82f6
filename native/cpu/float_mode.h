#pragma once

#if defined(__SSE2__)
#include <xmmintrin.h>
#endif

#include <cstdint>

namespace cidery::cpu {

/// IEEE arithmetic in the calling thread: nearest even, denormals kept, nothing traps. A library
/// that was linked with -ffast-math, or a host program, may have left a thread otherwise.
inline void set_float_mode() noexcept {
#if defined(__SSE2__)
  _mm_setcsr(0x1f80);
#elif defined(__aarch64__)
  const uint64_t mode = 0;
  asm volatile("msr fpcr, %0" : : "r"(mode));
#endif
}

}  // namespace cidery::cpu
