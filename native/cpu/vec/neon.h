#pragma once

#include <arm_neon.h>
#include <stddef.h>
#include <stdint.h>

/// NEON, with its dot product where the compiler may use it: four registers a virtual one.
/// Meanings: plain.h.
inline constexpr int row_tile = 4;

struct F {
  float32x4_t at[4];
};
struct I {
  uint32x4_t at[4];
};

#define EACH_PART _Pragma("GCC unroll 4") for (int part = 0; part < 4; ++part)

inline F set(float value) {
  const float32x4_t v = vdupq_n_f32(value);
  return {{v, v, v, v}};
}
inline I set_i(int32_t value) {
  const uint32x4_t v = vdupq_n_u32(static_cast<uint32_t>(value));
  return {{v, v, v, v}};
}
inline F load(const float* from) {
  F out;
  EACH_PART out.at[part] = vld1q_f32(from + 4 * part);
  return out;
}
inline void store(float* to, F v) {
  EACH_PART vst1q_f32(to + 4 * part, v.at[part]);
}
inline F iota() {
  static constexpr float lanes_in_order[16] = {0, 1, 2,  3,  4,  5,  6,  7,
                                               8, 9, 10, 11, 12, 13, 14, 15};
  return load(lanes_in_order);
}
inline F load_n(const float* from, size_t count) {
  if (count >= 16) return load(from);
  float all[16] = {};
  for (size_t i = 0; i < count; ++i) all[i] = from[i];
  return load(all);
}
inline void store_n(float* to, F v, size_t count) {
  if (count >= 16) return store(to, v);
  float all[16];
  store(all, v);
  for (size_t i = 0; i < count; ++i) to[i] = all[i];
}

inline F load_f16(const uint16_t* from) {
  F out;
  EACH_PART out.at[part] = vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from + 4 * part)));
  return out;
}
inline F load_bf16(const uint16_t* from) {
  F out;
  EACH_PART out.at[part] = vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(from + 4 * part), 16));
  return out;
}
inline void store_bf16(uint16_t* to, F v) {
  EACH_PART {
    const uint32x4_t number = vceqq_f32(v.at[part], v.at[part]);
    const uint32x4_t bits =
        vbslq_u32(number, vreinterpretq_u32_f32(v.at[part]), vdupq_n_u32(0x7fc00000u));
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    const uint32x4_t up = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
    vst1_u16(to + 4 * part, vshrn_n_u32(up, 16));
  }
}

#define LANEWISE(out_type, expression) \
  out_type out;                        \
  EACH_PART out.at[part] = expression; \
  return out

inline F add(F a, F b) { LANEWISE(F, vaddq_f32(a.at[part], b.at[part])); }
inline F sub(F a, F b) { LANEWISE(F, vsubq_f32(a.at[part], b.at[part])); }
inline F mul(F a, F b) { LANEWISE(F, vmulq_f32(a.at[part], b.at[part])); }
inline F div(F a, F b) { LANEWISE(F, vdivq_f32(a.at[part], b.at[part])); }
inline F sqrt(F a) { LANEWISE(F, vsqrtq_f32(a.at[part])); }
inline F fma(F a, F b, F c) { LANEWISE(F, vfmaq_f32(c.at[part], a.at[part], b.at[part])); }
// NEON's own max and min pass every NaN on and tell zeros apart.
inline float32x4_t max_part(float32x4_t a, float32x4_t b) {
  return vbslq_f32(vcgtq_f32(a, b), a, b);
}
inline F max(F a, F b) { LANEWISE(F, max_part(a.at[part], b.at[part])); }
inline F min(F a, F b) {
  LANEWISE(F, vbslq_f32(vcltq_f32(a.at[part], b.at[part]), a.at[part], b.at[part]));
}
inline F abs(F a) { LANEWISE(F, vabsq_f32(a.at[part])); }
inline F copy_sign(F a, F b) {
  LANEWISE(F, vbslq_f32(vdupq_n_u32(0x80000000u), b.at[part], a.at[part]));
}
inline F select_less(F a, F b, F x, F y) {
  LANEWISE(F, vbslq_f32(vcltq_f32(a.at[part], b.at[part]), x.at[part], y.at[part]));
}

inline I to_i32(F a) { LANEWISE(I, vreinterpretq_u32_s32(vcvtnq_s32_f32(a.at[part]))); }
inline F to_f32(I a) { LANEWISE(F, vcvtq_f32_s32(vreinterpretq_s32_u32(a.at[part]))); }
inline F pow2(I n) {
  LANEWISE(F, vreinterpretq_f32_u32(vshlq_n_u32(vaddq_u32(n.at[part], vdupq_n_u32(127)), 23)));
}

inline float first(F a) { return vgetq_lane_f32(a.at[0], 0); }
inline float hsum(F a) {
  const float32x4_t low = vaddq_f32(a.at[0], a.at[2]), high = vaddq_f32(a.at[1], a.at[3]);
  const float32x4_t four = vaddq_f32(low, high);
  const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}
inline float hmax(F a) {
  const float32x4_t low = max_part(a.at[0], a.at[2]), high = max_part(a.at[1], a.at[3]);
  float four[4];
  vst1q_f32(four, max_part(low, high));
  const float first = four[0] > four[2] ? four[0] : four[2];
  const float second = four[1] > four[3] ? four[1] : four[3];
  return first > second ? first : second;
}

inline I load_i(const uint8_t* from) {
  LANEWISE(I, vreinterpretq_u32_u8(vld1q_u8(from + 16 * part)));
}
inline void store_i(uint32_t* to, I v) {
  EACH_PART vst1q_u32(to + 4 * part, v.at[part]);
}
inline I load_u8(const uint8_t* from) {
  const uint8x16_t bytes = vld1q_u8(from);
  const uint16x8_t low = vmovl_u8(vget_low_u8(bytes)), high = vmovl_u8(vget_high_u8(bytes));
  return {{vmovl_u16(vget_low_u16(low)), vmovl_u16(vget_high_u16(low)),
           vmovl_u16(vget_low_u16(high)), vmovl_u16(vget_high_u16(high))}};
}
inline uint32x4_t widen_signed(int16x4_t v) { return vreinterpretq_u32_s32(vmovl_s16(v)); }
inline I load_s8(const uint8_t* from) {
  const int8x16_t bytes = vreinterpretq_s8_u8(vld1q_u8(from));
  const int16x8_t low = vmovl_s8(vget_low_s8(bytes)), high = vmovl_s8(vget_high_s8(bytes));
  return {{widen_signed(vget_low_s16(low)), widen_signed(vget_high_s16(low)),
           widen_signed(vget_low_s16(high)), widen_signed(vget_high_s16(high))}};
}
inline void store_i8(int8_t* to, I v) {
  const uint16x8_t low = vcombine_u16(vmovn_u32(v.at[0]), vmovn_u32(v.at[1]));
  const uint16x8_t high = vcombine_u16(vmovn_u32(v.at[2]), vmovn_u32(v.at[3]));
  vst1q_s8(to, vreinterpretq_s8_u8(vcombine_u8(vmovn_u16(low), vmovn_u16(high))));
}
inline I add_i(I a, I b) { LANEWISE(I, vaddq_u32(a.at[part], b.at[part])); }
inline I sub_i(I a, I b) { LANEWISE(I, vsubq_u32(a.at[part], b.at[part])); }
inline I and_i(I a, I b) { LANEWISE(I, vandq_u32(a.at[part], b.at[part])); }
inline I or_i(I a, I b) { LANEWISE(I, vorrq_u32(a.at[part], b.at[part])); }
inline I xor_i(I a, I b) { LANEWISE(I, veorq_u32(a.at[part], b.at[part])); }
inline I multiply_words(I a, int32_t b) {
  LANEWISE(I, vmulq_n_u32(a.at[part], static_cast<uint32_t>(b)));
}
inline uint8x16_t bytes_in(uint32x4_t v) { return vreinterpretq_u8_u32(v); }
inline I sub_bytes(I a, I b) {
  LANEWISE(I, vreinterpretq_u32_u8(vsubq_u8(bytes_in(a.at[part]), bytes_in(b.at[part]))));
}
template <int Shift>
inline I shift(I a) {
  if constexpr (Shift == 0) return a;
  else if constexpr (Shift > 0) {
    LANEWISE(I, vshrq_n_u32(a.at[part], Shift));
  } else {
    LANEWISE(I, vshlq_n_u32(a.at[part], -Shift));
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
  LANEWISE(I, vreinterpretq_u32_s32(vshrq_n_s32(vreinterpretq_s32_u32(moved.at[part]), 24)));
}
inline I lookup16(const uint8_t* table, I nibbles) {
  const uint8x16_t entries = vld1q_u8(table);
  LANEWISE(I, vreinterpretq_u32_u8(vqtbl1q_u8(entries, bytes_in(nibbles.at[part]))));
}

#if defined(__ARM_FEATURE_MATMUL_INT8)
inline constexpr bool multiplies_unsigned = true;
#else
inline constexpr bool multiplies_unsigned = false;
#endif

/// Adds to each lane the products of its 4 codes with 4 values; codes are signed unless
/// `multiplies_unsigned`.
inline int32x4_t multiply_add(int32x4_t sum, uint8x16_t codes, int8x16_t values) {
#if defined(__ARM_FEATURE_MATMUL_INT8)
  return vusdotq_s32(sum, codes, values);
#elif defined(__ARM_FEATURE_DOTPROD)
  return vdotq_s32(sum, vreinterpretq_s8_u8(codes), values);
#else
  const int8x16_t with_sign = vreinterpretq_s8_u8(codes);
  const int16x8_t low = vmull_s8(vget_low_s8(with_sign), vget_low_s8(values));
  const int16x8_t high = vmull_s8(vget_high_s8(with_sign), vget_high_s8(values));
  return vaddq_s32(sum, vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)));
#endif
}

/// Where codes of 8 bits are taken as signed they are 128 less; others fit as they are.
template <int Bits>
struct Dot {
  static constexpr bool centred = Bits == 8 && !multiplies_unsigned;
  I sum = set_i(0);

  template <int Step>
  void add_product(I codes, const int8_t* values) {
    int32_t four;
    __builtin_memcpy(&four, values, 4);
    const int8x16_t all = vreinterpretq_s8_s32(vdupq_n_s32(four));
    EACH_PART {
      uint8x16_t bytes = bytes_in(codes.at[part]);
      if constexpr (centred) bytes = veorq_u8(bytes, vdupq_n_u8(128));
      const int32x4_t before = vreinterpretq_s32_u32(sum.at[part]);
      sum.at[part] = vreinterpretq_u32_s32(multiply_add(before, bytes, all));
    }
  }
  I total([[maybe_unused]] int32_t value_sum) const {
    if constexpr (centred) return add_i(sum, set_i(128 * value_sum));
    else return sum;
  }
};
