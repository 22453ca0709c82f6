#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

/// AVX-512 F, BW, DQ, VL, with VNNI where the compiler may use it: a register a virtual one.
/// Meanings: plain.h.
inline constexpr int row_tile = 8;

using F = __m512;
using I = __m512i;

inline F set(float value) { return _mm512_set1_ps(value); }
inline I set_i(int32_t value) { return _mm512_set1_epi32(value); }
inline F iota() {
  return _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

inline __mmask16 first_lanes(size_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xffffu : (1u << count) - 1u);
}
inline F load(const float* from) { return _mm512_loadu_ps(from); }
inline F load_n(const float* from, size_t count) {
  return _mm512_maskz_loadu_ps(first_lanes(count), from);
}
inline void store(float* to, F v) { _mm512_storeu_ps(to, v); }
inline void store_n(float* to, F v, size_t count) {
  _mm512_mask_storeu_ps(to, first_lanes(count), v);
}

inline __m256i load_256(const void* from) {
  return _mm256_loadu_si256(static_cast<const __m256i*>(from));
}
inline __m128i load_128(const void* from) {
  return _mm_loadu_si128(static_cast<const __m128i*>(from));
}
inline F load_f16(const uint16_t* from) { return _mm512_cvtph_ps(load_256(from)); }
inline F load_bf16(const uint16_t* from) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(load_256(from)), 16));
}
inline void store_bf16(uint16_t* to, F v) {
  const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
  const I bits = _mm512_mask_mov_epi32(_mm512_castps_si512(v), nan, set_i(0x7fc00000));
  const I odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), set_i(1));
  const I up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, set_i(0x7fff)));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                      _mm512_cvtepi32_epi16(_mm512_srli_epi32(up, 16)));
}

inline F add(F a, F b) { return _mm512_add_ps(a, b); }
inline F sub(F a, F b) { return _mm512_sub_ps(a, b); }
inline F mul(F a, F b) { return _mm512_mul_ps(a, b); }
inline F div(F a, F b) { return _mm512_div_ps(a, b); }
inline F sqrt(F a) { return _mm512_sqrt_ps(a); }
inline F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
inline F max(F a, F b) { return _mm512_max_ps(a, b); }
inline F min(F a, F b) { return _mm512_min_ps(a, b); }
inline F abs(F a) { return _mm512_andnot_ps(set(-0.0f), a); }
inline F copy_sign(F a, F b) { return _mm512_or_ps(abs(a), _mm512_and_ps(set(-0.0f), b)); }
inline F select_less(F a, F b, F x, F y) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x);
}

inline I to_i32(F a) { return _mm512_cvtps_epi32(a); }
inline F to_f32(I a) { return _mm512_cvtepi32_ps(a); }
inline F pow2(I n) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(n, set_i(127)), 23));
}

inline __m256 upper_half(F a) { return _mm512_extractf32x8_ps(a, 1); }
inline float first(F a) { return _mm512_cvtss_f32(a); }
inline float hsum(F a) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(a), upper_half(a));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
inline float hmax(F a) {
  const __m256 eight = _mm256_max_ps(_mm512_castps512_ps256(a), upper_half(a));
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

inline I load_i(const uint8_t* from) { return _mm512_loadu_si512(from); }
inline void store_i(uint32_t* to, I v) { _mm512_storeu_si512(to, v); }
inline I load_u8(const uint8_t* from) { return _mm512_cvtepu8_epi32(load_128(from)); }
inline I load_s8(const uint8_t* from) { return _mm512_cvtepi8_epi32(load_128(from)); }
inline void store_i8(int8_t* to, I v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(v));
}
inline I add_i(I a, I b) { return _mm512_add_epi32(a, b); }
inline I sub_i(I a, I b) { return _mm512_sub_epi32(a, b); }
inline I and_i(I a, I b) { return _mm512_and_si512(a, b); }
inline I or_i(I a, I b) { return _mm512_or_si512(a, b); }
inline I xor_i(I a, I b) { return _mm512_xor_si512(a, b); }
inline I multiply_words(I a, int32_t b) { return _mm512_madd_epi16(a, set_i(b)); }
inline I sub_bytes(I a, I b) { return _mm512_sub_epi8(a, b); }
template <int Shift>
inline I shift(I a) {
  if constexpr (Shift == 0) return a;
  else if constexpr (Shift > 0) return _mm512_srli_epi32(a, Shift);
  else return _mm512_slli_epi32(a, -Shift);
}
template <int Byte>
inline I byte_u(I a) {
  if constexpr (Byte == 3) return shift<24>(a);
  else return and_i(shift<8 * Byte>(a), set_i(255));
}
template <int Byte>
inline I byte_s(I a) { return _mm512_srai_epi32(shift<8 * Byte - 24>(a), 24); }
inline I lookup16(const uint8_t* table, I nibbles) {
  return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(load_128(table)), nibbles);
}

/// With VNNI the products of 4 codes are one instruction. Without it, as in avx2.h.
template <int Bits>
struct Dot {
  static constexpr int steps = Bits <= 4 ? 8 : Bits == 5 ? 4 : Bits == 6 ? 2 : 1;
  I sum = set_i(0), pairs = set_i(0);

  static I widen(I v) { return _mm512_madd_epi16(v, _mm512_set1_epi16(1)); }
  /// AVX-512 has no instruction that gives a vector the signs of another.
  static I times(I codes, I values) {
    if constexpr (Bits < 8) return _mm512_maddubs_epi16(codes, values);
    const I centred = xor_i(codes, set_i(static_cast<int32_t>(0x80808080u)));
    const __mmask64 negative = _mm512_movepi8_mask(centred);
    return _mm512_maddubs_epi16(
        _mm512_abs_epi8(centred),
        _mm512_mask_sub_epi8(values, negative, _mm512_setzero_si512(), values));
  }
  template <int Step>
  void add_product(I codes, const int8_t* values) {
    int32_t four;
    __builtin_memcpy(&four, values, 4);
    const I all = set_i(four);
#if defined(__AVX512VNNI__)
    sum = _mm512_dpbusd_epi32(sum, codes, all);
#else
    if constexpr (Step % steps == 0) pairs = times(codes, all);
    else pairs = _mm512_add_epi16(pairs, times(codes, all));
    // Else the compiler makes all products first and adds them as a tree, out of memory.
    __asm__("" : "+v"(pairs));
    if constexpr (steps < 8 && Step % steps == steps - 1) {
      sum = add_i(sum, widen(pairs));
      __asm__("" : "+v"(sum));
    }
#endif
  }
  I total([[maybe_unused]] int32_t value_sum) const {
#if defined(__AVX512VNNI__)
    return sum;
#else
    if constexpr (steps == 8) return widen(pairs);
    else if constexpr (Bits < 8) return sum;
    else return add_i(sum, set_i(128 * value_sum));
#endif
  }
};
