#pragma once

namespace cidery {

/// Tells the processor that this thread looks at memory again and again.
inline void pause() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");
#endif
}

}  // namespace cidery
