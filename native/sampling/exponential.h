#pragma once

#include <bit>
#include <cstdint>

namespace cidery::sampling {

/// e^x for x <= 0, -infinity included, to about 1e-15 of its value; 0 below -708. Plain arithmetic
/// in a fixed order (Cody and Waite's reduction, then Taylor's series), so that it is the same on
/// every machine, where the C library's is not, and that compilers make vectors of it.
inline double exponential(double x) noexcept {
  constexpr double log2_of_e = 1.4426950408889634074;
  constexpr double ln2_high = 6.93147180369123816490e-01, ln2_low = 1.90821492927058770002e-10;
  constexpr double round_to_integer = 6755399441055744.0;  // 1.5 * 2^52
  const double clamped = x < -708.0 ? -708.0 : x;
  const double shifted = clamped * log2_of_e + round_to_integer;
  const double n = shifted - round_to_integer;
  const double r = (clamped - n * ln2_high) - n * ln2_low;
  double sum = 1.0 / 6227020800.0;
  sum = sum * r + 1.0 / 479001600.0;
  sum = sum * r + 1.0 / 39916800.0;
  sum = sum * r + 1.0 / 3628800.0;
  sum = sum * r + 1.0 / 362880.0;
  sum = sum * r + 1.0 / 40320.0;
  sum = sum * r + 1.0 / 5040.0;
  sum = sum * r + 1.0 / 720.0;
  sum = sum * r + 1.0 / 120.0;
  sum = sum * r + 1.0 / 24.0;
  sum = sum * r + 1.0 / 6.0;
  sum = sum * r + 0.5;
  sum = sum * r + 1.0;
  sum = sum * r + 1.0;
  // n stands in the low bits of `shifted`; moved up, it becomes the exponent of 2^n.
  const uint64_t exponent = (std::bit_cast<uint64_t>(shifted) + 1023) << 52;
  return x < -708.0 ? 0.0 : sum * std::bit_cast<double>(exponent);
}

}  // namespace cidery::sampling
