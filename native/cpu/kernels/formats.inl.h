// The packed formats: how 32 inputs of a panel become vectors of 8-bit codes and factors. Each is a
// struct of constants and of `each_group`, which walks a panel's groups in ascending order; pack.h
// describes the bytes. A value is scale * (code - zero), or scale * code + bias where has_bias.

/// What multiplies the codes of 32 inputs: one pair, or one for each half of them.
template <int Halves>
struct Factors {
  F scale[Halves], bias[Halves];
};

ALWAYS_INLINE F load_factor(const uint8_t* from, FactorType type) {
  if (type == FactorType::f16) return load_f16(reinterpret_cast<const uint16_t*>(from));
  if (type == FactorType::bf16) return load_bf16(reinterpret_cast<const uint16_t*>(from));
  return load(reinterpret_cast<const float*>(from));
}
inline size_t factor_bytes(FactorType type) { return type == FactorType::f32 ? 64 : 32; }

/// The lower bits of the panel of split8 that begins at `panel`.
inline const uint8_t* lower_at(const PackedWeight& weight, const uint8_t* panel) {
  const auto index = static_cast<uint64_t>(panel - weight.data) / weight.panel_bytes;
  return weight.data + panel_count(weight.outputs) * weight.panel_bytes +
         index * weight.lower_bytes;
}

ALWAYS_INLINE I bytes_of(uint32_t byte) {
  return set_i(static_cast<int32_t>(byte * 0x01010101u));
}

/// Codes of the Quad-th 4 inputs, 4 bytes a lane, out of planes of 4, 2 and 1 bits.
template <int Bits, int Quad>
ALWAYS_INLINE I unpack(const uint8_t* codes) {
  if constexpr (Bits == 8) {
    return load_i(codes + 64 * Quad);
  } else if constexpr (Bits == 2) {
    return and_i(shift<2 * (Quad % 4)>(load_i(codes + 64 * (Quad / 4))), bytes_of(3));
  } else if constexpr (Bits == 3) {
    const I last = and_i(shift<Quad - 2>(load_i(codes + 128)), bytes_of(4));
    return or_i(unpack<2, Quad>(codes), last);
  } else {
    const I nibbles =
        and_i(shift<4 * (Quad % 2)>(load_i(codes + 64 * (Quad / 2))), bytes_of(15));
    if constexpr (Bits == 4) return nibbles;
    else if constexpr (Bits == 5) {
      return or_i(nibbles, and_i(shift<Quad - 4>(load_i(codes + 256)), bytes_of(16)));
    } else {
      const I high = load_i(codes + 256 + 64 * (Quad / 4));
      return or_i(nibbles, and_i(shift<2 * (Quad % 4) - 4>(high), bytes_of(48)));
    }
  }
}

/// MLX's affine groups of 32, 64 or 128 inputs; Q4_1 and Q5_1 are such groups of 32.
template <int Bits>
struct Affine {
  static constexpr int dot_bits = Bits, stored_bits = Bits, halves = 1, zero = 0;
  static constexpr bool has_bias = true;
  template <int Quad>
  static ALWAYS_INLINE I codes(const uint8_t* at) { return unpack<Bits, Quad>(at); }

  template <class Visit>
  static ALWAYS_INLINE void each_group(const PackedWeight& weight, const uint8_t* panel,
                                       Visit visit) {
    const size_t factor = factor_bytes(weight.factors);
    const uint32_t together = weight.group / activation_group;
    const uint32_t groups = weight.inputs / activation_group;
    for (uint32_t group = 0; group < groups;) {
      const uint8_t* factors = panel + size_t{together} * Bits * 64;
      const Factors<1> both = {{load_factor(factors, weight.factors)},
                               {load_factor(factors + factor, weight.factors)}};
      for (uint32_t i = 0; i < together; ++i, ++group, panel += Bits * 64) {
        visit(panel, group, both);
      }
      panel += 2 * factor;
    }
  }
};

/// Two groups of 32 and their scales: Q4_0, Q5_0, Q8_0 (zero 2^(Bits - 1)).
template <int Bits>
struct Signed {
  static constexpr int dot_bits = Bits, stored_bits = Bits, halves = 1, zero = 1 << (Bits - 1);
  static constexpr bool has_bias = false;
  template <int Quad>
  static ALWAYS_INLINE I codes(const uint8_t* at) { return unpack<Bits, Quad>(at); }
};

/// 4-bit codes that stand for values of a table, the zero added so that none is negative.
struct Iq4Nl {
  static constexpr int dot_bits = 8, stored_bits = 4, halves = 1, zero = 128;
  static constexpr bool has_bias = false;
  static constexpr uint8_t table[16] = {1,   24,  45,  63,  79,  93,  106, 118,
                                        129, 141, 153, 166, 181, 197, 217, 241};
  template <int Quad>
  static ALWAYS_INLINE I codes(const uint8_t* at) { return lookup16(table, unpack<4, Quad>(at)); }
};
/// Twice the values of E2M1; pack halves the scales.
struct Mxfp4 {
  static constexpr int dot_bits = 5, stored_bits = 4, halves = 1, zero = 12;
  static constexpr bool has_bias = false;
  static constexpr uint8_t table[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};
  template <int Quad>
  static ALWAYS_INLINE I codes(const uint8_t* at) { return lookup16(table, unpack<4, Quad>(at)); }
};

/// each_group of the formats with two groups and their scales a block.
template <class Format, class Visit>
ALWAYS_INLINE void each_scaled_group(const PackedWeight& weight, const uint8_t* panel,
                                     Visit visit) {
  constexpr size_t code_bytes = size_t{64} * Format::stored_bits;
  const uint32_t groups = weight.inputs / activation_group;
  for (uint32_t group = 0; group < groups; group += 2, panel += 2 * code_bytes + 64) {
    const uint8_t* scales = panel + 2 * code_bytes;
    visit(panel, group, Factors<1>{{load_factor(scales, weight.factors)}, {}});
    if (group + 1 == groups) return;
    visit(panel + code_bytes, group + 1,
          Factors<1>{{load_factor(scales + 32, weight.factors)}, {}});
  }
}

/// Blocks of 256 inputs: Kind 2, 3, 4, 5, 6 is Q2_K to Q6_K.
template <int Kind>
struct KQuant {
  static constexpr int dot_bits = Kind, stored_bits = Kind;
  static constexpr bool wide = Kind == 4 || Kind == 5;  // groups of 32, else of 16
  static constexpr int halves = wide ? 1 : 2;
  static constexpr int zero = Kind == 3 ? 4 : Kind == 6 ? 32 : 0;
  static constexpr bool has_bias = zero == 0;
  template <int Quad>
  static ALWAYS_INLINE I codes(const uint8_t* at) { return unpack<Kind, Quad>(at); }

  static ALWAYS_INLINE Factors<halves> factors(const uint8_t* bytes, uint32_t group, F scale,
                                               F minimum) {
    Factors<halves> out{};
    for (int half = 0; half < halves; ++half) {
      const uint8_t* at = bytes + 16 * (halves * group + static_cast<uint32_t>(half));
      if constexpr (wide) {
        out.scale[half] = mul(scale, to_f32(load_u8(at)));
        out.bias[half] = mul(minimum, to_f32(load_u8(at + 128)));
      } else if constexpr (Kind == 2) {
        const I both = load_u8(at);
        out.scale[half] = mul(scale, to_f32(and_i(both, set_i(15))));
        out.bias[half] = mul(minimum, to_f32(shift<4>(both)));
      } else {
        out.scale[half] = mul(scale, to_f32(load_s8(at)));
      }
    }
    return out;
  }

  template <class Visit>
  static ALWAYS_INLINE void each_group(const PackedWeight& weight, const uint8_t* panel,
                                       Visit visit) {
    constexpr size_t code_bytes = size_t{64} * Kind;
    const uint32_t blocks = weight.inputs / 256;
    for (uint32_t block = 0; block < blocks; ++block, panel += 8 * code_bytes + 320) {
      const uint8_t* bytes = panel + 8 * code_bytes;
      const auto* last = reinterpret_cast<const uint16_t*>(bytes + 256);
      const F scale = load_f16(last);
      const F minimum = has_bias ? sub(set(0.0f), load_f16(last + 16)) : set(0.0f);
      for (uint32_t i = 0; i < 8; ++i) {
        visit(panel + i * code_bytes, 8 * block + i, factors(bytes, i, scale, minimum));
      }
    }
  }
};

template <class Format, class Visit>
ALWAYS_INLINE void each_group(const PackedWeight& weight, const uint8_t* panel, Visit visit) {
  if constexpr (!requires { Format::template each_group<Visit>; }) {
    each_scaled_group<Format>(weight, panel, visit);
  } else {
    Format::each_group(weight, panel, visit);
  }
}

/// Where 32 inputs of a panel of split8 have their upper and their lower bits.
struct SplitCodes {
  const uint8_t *upper, *lower;
};

/// Q8_0 in two parts, a code being 8 * upper + lower. The upper ones are Signed<5> at an eighth.
struct Split8 {
  static constexpr int dot_bits = 8, stored_bits = 8, halves = 1, zero = 128;
  static constexpr bool has_bias = false;
  template <int Quad>
  static ALWAYS_INLINE I codes(SplitCodes at) {
    return or_i(shift<-3>(unpack<5, Quad>(at.upper)), unpack<3, Quad>(at.lower));
  }

  template <class Visit>
  static ALWAYS_INLINE void each_group(const PackedWeight& weight, const uint8_t* panel,
                                       Visit visit) {
    const uint8_t* lower = lower_at(weight, panel);
    each_scaled_group<Signed<5>>(
        weight, panel,
        [&](const uint8_t* upper, uint32_t group, const Factors<1>& factors) ALWAYS_INLINE_LAMBDA {
          visit(SplitCodes{upper, lower + size_t{group} * 3 * 64}, group, factors);
        });
  }
};

/// Calls function.operator()<Format>() with the struct of a quantized format.
template <class Function>
ALWAYS_INLINE void with_format(PackedFormat format, Function function) {
  switch (format) {
    case PackedFormat::affine2: return function.template operator()<Affine<2>>();
    case PackedFormat::affine3: return function.template operator()<Affine<3>>();
    case PackedFormat::affine4: return function.template operator()<Affine<4>>();
    case PackedFormat::affine5: return function.template operator()<Affine<5>>();
    case PackedFormat::affine6: return function.template operator()<Affine<6>>();
    case PackedFormat::affine8: return function.template operator()<Affine<8>>();
    case PackedFormat::signed4: return function.template operator()<Signed<4>>();
    case PackedFormat::signed5: return function.template operator()<Signed<5>>();
    case PackedFormat::signed8: return function.template operator()<Signed<8>>();
    case PackedFormat::split8: return function.template operator()<Split8>();
    case PackedFormat::iq4_nl: return function.template operator()<Iq4Nl>();
    case PackedFormat::mxfp4: return function.template operator()<Mxfp4>();
    case PackedFormat::q2_k: return function.template operator()<KQuant<2>>();
    case PackedFormat::q3_k: return function.template operator()<KQuant<3>>();
    case PackedFormat::q4_k: return function.template operator()<KQuant<4>>();
    case PackedFormat::q5_k: return function.template operator()<KQuant<5>>();
    case PackedFormat::q6_k: return function.template operator()<KQuant<6>>();
    case PackedFormat::f32:
    case PackedFormat::f16:
    case PackedFormat::bf16: return;
  }
}
