#pragma once

#include <stddef.h>
#include <stdint.h>

/// The primitives without any instruction set: what each one means, for the others to equal bit by
/// bit. F is 16 floats, I 16 words of 32 bits or 64 bytes. Include inside the namespace of a set.
/// Rows of a matmul that share a load of weights.
inline constexpr int row_tile = 1;

// A lane is an instruction here: what pays elsewhere would only grow the code.
#define ALWAYS_INLINE inline
#define ALWAYS_INLINE_LAMBDA

struct F {
  float at[16];
};
struct I {
  uint32_t at[16];
};

#define EACH_LANE for (int lane = 0; lane < 16; ++lane)

inline uint32_t bits_of(float value) { return __builtin_bit_cast(uint32_t, value); }
inline float float_of(uint32_t bits) { return __builtin_bit_cast(float, bits); }

template <class Function>
inline F lanewise(Function function) {
  F out;
  EACH_LANE out.at[lane] = function(lane);
  return out;
}
template <class Function>
inline I lanewise_i(Function function) {
  I out;
  EACH_LANE out.at[lane] = static_cast<uint32_t>(function(lane));
  return out;
}

inline F set(float value) { return lanewise([&](int) { return value; }); }
inline I set_i(int32_t value) { return lanewise_i([&](int) { return value; }); }
/// 0, 1, ... 15.
inline F iota() { return lanewise([&](int lane) { return static_cast<float>(lane); }); }

inline F load(const float* from) { return lanewise([&](int lane) { return from[lane]; }); }
/// The first `count` (at most 16) of 16 values, zeros behind them; reads no more.
inline F load_n(const float* from, size_t count) {
  return lanewise([&](int lane) { return static_cast<size_t>(lane) < count ? from[lane] : 0.0f; });
}
inline void store(float* to, F v) { EACH_LANE to[lane] = v.at[lane]; }
inline void store_n(float* to, F v, size_t count) {
  for (size_t lane = 0; lane < count && lane < 16; ++lane) to[lane] = v.at[lane];
}

inline float half_to_float(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t exponent = (half >> 10) & 31, mantissa = half & 1023;
  if (exponent == 31) return float_of(sign | 0x7f800000u | mantissa << 13);
  if (exponent != 0) return float_of(sign | (exponent + 112) << 23 | mantissa << 13);
  return float_of(sign | bits_of(static_cast<float>(mantissa) * 0x1p-24f));
}
inline F load_f16(const uint16_t* from) {
  return lanewise([&](int lane) { return half_to_float(from[lane]); });
}
inline F load_bf16(const uint16_t* from) {
  return lanewise([&](int lane) { return float_of(uint32_t{from[lane]} << 16); });
}
/// Nearest even; any NaN becomes 0x7fc0.
inline void store_bf16(uint16_t* to, F v) {
  EACH_LANE {
    const float value = v.at[lane];
    const uint32_t bits = value == value ? bits_of(value) : 0x7fc00000u;
    to[lane] = static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
  }
}

inline F add(F a, F b) { return lanewise([&](int lane) { return a.at[lane] + b.at[lane]; }); }
inline F sub(F a, F b) { return lanewise([&](int lane) { return a.at[lane] - b.at[lane]; }); }
inline F mul(F a, F b) { return lanewise([&](int lane) { return a.at[lane] * b.at[lane]; }); }
inline F div(F a, F b) { return lanewise([&](int lane) { return a.at[lane] / b.at[lane]; }); }
inline F sqrt(F a) { return lanewise([&](int lane) { return __builtin_sqrtf(a.at[lane]); }); }
/// a * b + c, rounded once.
inline F fma(F a, F b, F c) {
  return lanewise([&](int lane) { return __builtin_fmaf(a.at[lane], b.at[lane], c.at[lane]); });
}
/// a > b ? a : b, so b where one is NaN.
inline F max(F a, F b) {
  return lanewise([&](int lane) { return a.at[lane] > b.at[lane] ? a.at[lane] : b.at[lane]; });
}
/// a < b ? a : b.
inline F min(F a, F b) {
  return lanewise([&](int lane) { return a.at[lane] < b.at[lane] ? a.at[lane] : b.at[lane]; });
}
inline F abs(F a) {
  return lanewise([&](int lane) { return float_of(bits_of(a.at[lane]) & 0x7fffffffu); });
}
/// The magnitude of a with the sign of b.
inline F copy_sign(F a, F b) {
  return lanewise([&](int lane) {
    return float_of((bits_of(a.at[lane]) & 0x7fffffffu) | (bits_of(b.at[lane]) & 0x80000000u));
  });
}
/// a < b ? x : y.
inline F select_less(F a, F b, F x, F y) {
  return lanewise([&](int lane) { return a.at[lane] < b.at[lane] ? x.at[lane] : y.at[lane]; });
}

/// Nearest even; for magnitudes below 2^22.
inline I to_i32(F a) {
  return lanewise_i([&](int lane) {
    return static_cast<int32_t>((a.at[lane] + 0x1.8p23f) - 0x1.8p23f);
  });
}
inline F to_f32(I a) {
  return lanewise([&](int lane) { return static_cast<float>(static_cast<int32_t>(a.at[lane])); });
}
/// 2^n for n from -126 to 127.
inline F pow2(I n) {
  return lanewise([&](int lane) { return float_of((n.at[lane] + 127) << 23); });
}

inline float first(F a) { return a.at[0]; }
/// Sum by halves: lanes 8 apart, then 4, 2, 1.
inline float hsum(F a) {
  for (int half = 8; half > 0; half /= 2) {
    for (int lane = 0; lane < half; ++lane) a.at[lane] = a.at[lane] + a.at[lane + half];
  }
  return a.at[0];
}
inline float hmax(F a) {
  for (int half = 8; half > 0; half /= 2) {
    for (int lane = 0; lane < half; ++lane) {
      a.at[lane] = a.at[lane] > a.at[lane + half] ? a.at[lane] : a.at[lane + half];
    }
  }
  return a.at[0];
}

inline I load_i(const uint8_t* from) {
  I out;
  __builtin_memcpy(out.at, from, 64);
  return out;
}
inline void store_i(uint32_t* to, I v) { EACH_LANE to[lane] = v.at[lane]; }
/// 16 bytes as words.
inline I load_u8(const uint8_t* from) { return lanewise_i([&](int lane) { return from[lane]; }); }
inline I load_s8(const uint8_t* from) {
  return lanewise_i([&](int lane) { return static_cast<int8_t>(from[lane]); });
}
/// The low byte of each word.
inline void store_i8(int8_t* to, I v) {
  EACH_LANE to[lane] = static_cast<int8_t>(v.at[lane]);
}
inline I add_i(I a, I b) { return lanewise_i([&](int lane) { return a.at[lane] + b.at[lane]; }); }
inline I sub_i(I a, I b) { return lanewise_i([&](int lane) { return a.at[lane] - b.at[lane]; }); }
inline I and_i(I a, I b) { return lanewise_i([&](int lane) { return a.at[lane] & b.at[lane]; }); }
inline I or_i(I a, I b) { return lanewise_i([&](int lane) { return a.at[lane] | b.at[lane]; }); }
inline I xor_i(I a, I b) { return lanewise_i([&](int lane) { return a.at[lane] ^ b.at[lane]; }); }
/// Words of 0 to 32767 times one from -32768 to 32767.
inline I multiply_words(I a, int32_t b) {
  return lanewise_i([&](int lane) { return static_cast<int32_t>(a.at[lane]) * b; });
}
/// Each byte by itself.
inline I sub_bytes(I a, I b) {
  return lanewise_i([&](int lane) {
    uint32_t out = 0;
    for (int at = 0; at < 32; at += 8) {
      out |= (((a.at[lane] >> at) - (b.at[lane] >> at)) & 255) << at;
    }
    return out;
  });
}
/// Words shifted right by `Shift`, left where it is negative.
template <int Shift>
inline I shift(I a) {
  if constexpr (Shift >= 0) return lanewise_i([&](int lane) { return a.at[lane] >> Shift; });
  else return lanewise_i([&](int lane) { return a.at[lane] << -Shift; });
}
/// Byte `Byte` of each word, without or with its sign.
template <int Byte>
inline I byte_u(I a) {
  return lanewise_i([&](int lane) { return (a.at[lane] >> (8 * Byte)) & 255; });
}
template <int Byte>
inline I byte_s(I a) {
  return lanewise_i([&](int lane) { return static_cast<int8_t>(a.at[lane] >> (8 * Byte)); });
}
/// table[byte] for each byte, all below 16.
inline I lookup16(const uint8_t* table, I nibbles) {
  return lanewise_i([&](int lane) {
    uint32_t out = 0;
    for (int at = 0; at < 32; at += 8) {
      out |= uint32_t{table[(nibbles.at[lane] >> at) & 15]} << at;
    }
    return out;
  });
}

/// The exact sums of up to 8 products of 4 codes (unsigned, below 2^Bits) with 4 values (-127 to
/// 127) each; with 8 bits of any number of products that fit 31 bits, all of them as Step 0.
template <int Bits>
struct Dot {
  I sum = set_i(0);
  /// The Step-th product: each lane's codes with the same 4 values.
  template <int Step>
  void add_product(I codes, const int8_t* values) {
    EACH_LANE {
      int32_t total = 0;
      for (int i = 0; i < 4; ++i) {
        total += static_cast<int32_t>((codes.at[lane] >> (8 * i)) & 255) * values[i];
      }
      sum.at[lane] += static_cast<uint32_t>(total);
    }
  }
  /// The sum; `value_sum` is the sum of all values, for those who use another zero.
  I total(int32_t value_sum) const {
    (void)value_sum;
    return sum;
  }
};

#undef EACH_LANE
