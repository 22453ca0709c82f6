#pragma once

namespace cidery::cpu {

/// What the processor has and the operating system saves. Each is the whole of what the flags in
/// sets.json let a compiler use, not one bit of it.
struct Processor {
  bool avx2 = false;        // x86-64-v3
  bool avx512 = false;      // x86-64-v4
  bool avx512vnni = false;
  bool dotprod = false;
  bool i8mm = false;
};

Processor inspect_processor() noexcept;

}  // namespace cidery::cpu
