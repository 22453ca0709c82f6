#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

/// AVX2, FMA and F16C: two registers a virtual one. Meanings: plain.h.
inline constexpr int row_tile = 4;

struct F {
  __m256 low, high;
};
struct I {
  __m256i low, high;
};

inline F set(float value) { return {_mm256_set1_ps(value), _mm256_set1_ps(value)}; }
inline I set_i(int32_t value) { return {_mm256_set1_epi32(value), _mm256_set1_epi32(value)}; }
inline F iota() {
  return {_mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7), _mm256_setr_ps(8, 9, 10, 11, 12, 13, 14, 15)};
}

/// Lanes below `count`.
inline __m256i first_lanes(size_t count) {
  const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int32_t>(count)), index);
}
inline F load(const float* from) { return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
inline F load_n(const float* from, size_t count) {
  if (count >= 16) return load(from);
  if (count <= 8) return {_mm256_maskload_ps(from, first_lanes(count)), _mm256_setzero_ps()};
  return {_mm256_loadu_ps(from), _mm256_maskload_ps(from + 8, first_lanes(count - 8))};
}
inline void store(float* to, F v) {
  _mm256_storeu_ps(to, v.low);
  _mm256_storeu_ps(to + 8, v.high);
}
inline void store_n(float* to, F v, size_t count) {
  if (count >= 16) return store(to, v);
  if (count <= 8) return _mm256_maskstore_ps(to, first_lanes(count), v.low);
  _mm256_storeu_ps(to, v.low);
  _mm256_maskstore_ps(to + 8, first_lanes(count - 8), v.high);
}

inline __m128i load_128(const void* from) {
  return _mm_loadu_si128(static_cast<const __m128i*>(from));
}
inline F load_f16(const uint16_t* from) {
  return {_mm256_cvtph_ps(load_128(from)), _mm256_cvtph_ps(load_128(from + 8))};
}
inline __m256 widen_bf16(__m128i v) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(v), 16));
}
inline F load_bf16(const uint16_t* from) {
  return {widen_bf16(load_128(from)), widen_bf16(load_128(from + 8))};
}
inline __m256i round_bf16(__m256 v) {
  const __m256 nan = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000));
  const __m256i bits =
      _mm256_castps_si256(_mm256_blendv_ps(v, nan, _mm256_cmp_ps(v, v, _CMP_UNORD_Q)));
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i up = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
  return _mm256_srli_epi32(_mm256_add_epi32(bits, up), 16);
}
inline void store_bf16(uint16_t* to, F v) {
  const __m256i packed = _mm256_packus_epi32(round_bf16(v.low), round_bf16(v.high));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                      _mm256_permute4x64_epi64(packed, 0b11011000));
}

inline F add(F a, F b) { return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
inline F sub(F a, F b) { return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)}; }
inline F mul(F a, F b) { return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)}; }
inline F div(F a, F b) { return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)}; }
inline F sqrt(F a) { return {_mm256_sqrt_ps(a.low), _mm256_sqrt_ps(a.high)}; }
inline F fma(F a, F b, F c) {
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
inline F max(F a, F b) { return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)}; }
inline F min(F a, F b) { return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)}; }
inline F abs(F a) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, a.low), _mm256_andnot_ps(sign, a.high)};
}
inline F copy_sign(F a, F b) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  const F size = abs(a);
  return {_mm256_or_ps(size.low, _mm256_and_ps(sign, b.low)),
          _mm256_or_ps(size.high, _mm256_and_ps(sign, b.high))};
}
inline F select_less(F a, F b, F x, F y) {
  return {_mm256_blendv_ps(y.low, x.low, _mm256_cmp_ps(a.low, b.low, _CMP_LT_OQ)),
          _mm256_blendv_ps(y.high, x.high, _mm256_cmp_ps(a.high, b.high, _CMP_LT_OQ))};
}

inline I to_i32(F a) { return {_mm256_cvtps_epi32(a.low), _mm256_cvtps_epi32(a.high)}; }
inline F to_f32(I a) { return {_mm256_cvtepi32_ps(a.low), _mm256_cvtepi32_ps(a.high)}; }
inline __m256 pow2_half(__m256i n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}
inline F pow2(I n) { return {pow2_half(n.low), pow2_half(n.high)}; }

inline float first(F a) { return _mm256_cvtss_f32(a.low); }
inline float hsum(F a) {
  const __m256 eight = _mm256_add_ps(a.low, a.high);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
inline float hmax(F a) {
  const __m256 eight = _mm256_max_ps(a.low, a.high);
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

inline I load_i(const uint8_t* from) {
  const auto* at = reinterpret_cast<const __m256i*>(from);
  return {_mm256_loadu_si256(at), _mm256_loadu_si256(at + 1)};
}
inline void store_i(uint32_t* to, I v) {
  auto* at = reinterpret_cast<__m256i*>(to);
  _mm256_storeu_si256(at, v.low);
  _mm256_storeu_si256(at + 1, v.high);
}
inline I load_u8(const uint8_t* from) {
  const __m128i bytes = load_128(from);
  return {_mm256_cvtepu8_epi32(bytes), _mm256_cvtepu8_epi32(_mm_srli_si128(bytes, 8))};
}
inline I load_s8(const uint8_t* from) {
  const __m128i bytes = load_128(from);
  return {_mm256_cvtepi8_epi32(bytes), _mm256_cvtepi8_epi32(_mm_srli_si128(bytes, 8))};
}
inline void store_i8(int8_t* to, I v) {
  const __m256i low_bytes =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1,
                                                -1, -1, -1));
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 1, 1, 1, 1, 1);
  const __m256i low = _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(v.low, low_bytes), order);
  const __m256i high = _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(v.high, low_bytes), order);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                   _mm_unpacklo_epi64(_mm256_castsi256_si128(low), _mm256_castsi256_si128(high)));
}
inline I add_i(I a, I b) {
  return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)};
}
inline I sub_i(I a, I b) {
  return {_mm256_sub_epi32(a.low, b.low), _mm256_sub_epi32(a.high, b.high)};
}
inline I and_i(I a, I b) {
  return {_mm256_and_si256(a.low, b.low), _mm256_and_si256(a.high, b.high)};
}
inline I or_i(I a, I b) {
  return {_mm256_or_si256(a.low, b.low), _mm256_or_si256(a.high, b.high)};
}
inline I xor_i(I a, I b) {
  return {_mm256_xor_si256(a.low, b.low), _mm256_xor_si256(a.high, b.high)};
}
inline I multiply_words(I a, int32_t b) {
  const __m256i all = _mm256_set1_epi32(b);
  return {_mm256_madd_epi16(a.low, all), _mm256_madd_epi16(a.high, all)};
}
inline I sub_bytes(I a, I b) {
  return {_mm256_sub_epi8(a.low, b.low), _mm256_sub_epi8(a.high, b.high)};
}
template <int Shift>
inline I shift(I a) {
  if constexpr (Shift == 0) return a;
  else if constexpr (Shift > 0) {
    return {_mm256_srli_epi32(a.low, Shift), _mm256_srli_epi32(a.high, Shift)};
  } else {
    return {_mm256_slli_epi32(a.low, -Shift), _mm256_slli_epi32(a.high, -Shift)};
  }
}
template <int Byte>
inline I byte_u(I a) {
  const I moved = shift<8 * Byte>(a);
  if constexpr (Byte == 3) return moved;
  else return and_i(moved, set_i(255));
}
template <int Byte>
inline I byte_s(I a) {
  const I moved = shift<8 * Byte - 24>(a);
  return {_mm256_srai_epi32(moved.low, 24), _mm256_srai_epi32(moved.high, 24)};
}
inline I lookup16(const uint8_t* table, I nibbles) {
  const __m256i both = _mm256_broadcastsi128_si256(load_128(table));
  return {_mm256_shuffle_epi8(both, nibbles.low), _mm256_shuffle_epi8(both, nibbles.high)};
}

/// Pairs of products are added in 16 bits as long as they fit: 2 * 127 * (2^Bits - 1) * steps.
/// Codes of 8 bits would not fit even once: they are taken as signed, and the products as those of
/// their magnitudes with values that carry their signs.
template <int Bits>
struct Dot {
  static constexpr int steps = Bits <= 4 ? 8 : Bits == 5 ? 4 : Bits == 6 ? 2 : 1;
  I sum = set_i(0), pairs = set_i(0);

  static I widen(I v) {
    const __m256i one = _mm256_set1_epi16(1);
    return {_mm256_madd_epi16(v.low, one), _mm256_madd_epi16(v.high, one)};
  }
  static __m256i times(__m256i codes, __m256i values) {
    if constexpr (Bits < 8) return _mm256_maddubs_epi16(codes, values);
    const __m256i centred = _mm256_xor_si256(codes, _mm256_set1_epi8(-128));
    return _mm256_maddubs_epi16(_mm256_abs_epi8(centred), _mm256_sign_epi8(values, centred));
  }
  template <int Step>
  void add_product(I codes, const int8_t* values) {
    int32_t four;
    __builtin_memcpy(&four, values, 4);
    const __m256i all = _mm256_set1_epi32(four);
    const I product = {times(codes.low, all), times(codes.high, all)};
    if constexpr (Step % steps == 0) pairs = product;
    else {
      pairs = {_mm256_add_epi16(pairs.low, product.low),
               _mm256_add_epi16(pairs.high, product.high)};
      // Else the compiler makes all products first and adds them as a tree, out of memory.
      __asm__("" : "+x"(pairs.low), "+x"(pairs.high));
    }
    if constexpr (steps < 8 && Step % steps == steps - 1) {
      sum = add_i(sum, widen(pairs));
      __asm__("" : "+x"(sum.low), "+x"(sum.high));
    }
  }
  I total(int32_t value_sum) const {
    if constexpr (steps == 8) return widen(pairs);
    else if constexpr (Bits < 8) return sum;
    else return add_i(sum, set_i(128 * value_sum));
  }
};
