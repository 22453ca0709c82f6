// Matrix products. A lane is an output and never a part of a sum: each output has one accumulator
// that takes the groups of inputs in ascending order, whatever the number of rows beside it.

/// The rows of a tile, from the first on.
struct RowsAt {
  const int8_t* codes;
  const float* in;
  size_t in_stride;
  const GroupRecord* groups;
  uint32_t inputs;
};

/// Asks for the weights that come a page later: the processor's own prefetching stops at each page
/// and runs too little ahead for kernels that use what they read within a few cycles.
template <int Bits>
ALWAYS_INLINE void prefetch(const uint8_t* codes) {
  EACH_ROW(line, Bits + 1) __builtin_prefetch(codes + 4096 + 64 * line);
}
template <int Bits>
ALWAYS_INLINE void prefetch(SplitCodes codes) {
  prefetch<5>(codes.upper);
  prefetch<2>(codes.lower);
}

/// Sums of the codes of weights, lane by lane: what a row's middle is multiplied with. Bytes are
/// added as they are as long as they fit.
template <int Bits>
struct CodeSums {
  static constexpr int fitting = Bits <= 5 ? 8 : Bits == 6 ? 4 : 1;
  I bytes = set_i(0);
  Dot<8> sums;
  int32_t counted = 0;

  template <int Quad, int Quads>
  ALWAYS_INLINE void add_codes(I four) {
    static constexpr int8_t ones[4] = {1, 1, 1, 1};
    bytes = Quad % fitting == 0 ? four : add_i(bytes, four);
    if constexpr (Quad % fitting == fitting - 1 || Quad == Quads - 1) {
      sums.template add_product<0>(bytes, ones);
      counted += 4;
    }
  }
  ALWAYS_INLINE I total() const { return sums.total(counted); }
};

/// 32 inputs of `Rows` rows by int8 dot products.
template <class Format, int Rows, class Codes>
ALWAYS_INLINE void fast_group(Codes codes, const Factors<Format::halves>& factors,
                              uint32_t group, const RowsAt& rows, F (&sums)[Rows]) {
  constexpr int quads = 8 / Format::halves;
  prefetch<Format::stored_bits>(codes);
  const int8_t* values[Rows];
  EACH_ROW(row, Rows) {
    values[row] = rows.codes + row * size_t{rows.inputs} + size_t{group} * activation_group;
    KEEP_POINTER(values[row]);
  }
  const GroupRecord* records = rows.groups + group;
  const size_t record_stride = rows.inputs / activation_group;
  repeat<0, Format::halves>([&]<int Half>() ALWAYS_INLINE_LAMBDA {
    Dot<Format::dot_bits> dots[Rows];
    CodeSums<Format::dot_bits> code_sums;
    repeat<0, quads>([&]<int Quad>() ALWAYS_INLINE_LAMBDA {
      constexpr int at = Half * quads + Quad;
      const I four = Format::template codes<at>(codes);
      code_sums.template add_codes<Quad, quads>(four);
      EACH_ROW(row, Rows) {
        dots[row].template add_product<Quad>(four, values[row] + 4 * at);
      }
    });
    const I weights = code_sums.total();
    EACH_ROW(row, Rows) {
      const GroupRecord& record = records[row * record_stride];
      const int32_t code_sum = Format::halves == 2
                                   ? record.code_sums[Half]
                                   : record.code_sums[0] + record.code_sums[1];
      // The sum of the codes alone is what the set's product may have to know.
      const int32_t plain_sum = code_sum - 4 * quads * record.middle;
      I total = add_i(dots[row].total(plain_sum), multiply_words(weights, record.middle));
      if constexpr (Format::zero != 0) total = sub_i(total, set_i(Format::zero * code_sum));
      sums[row] = fma(mul(to_f32(total), set(record.scale)), factors.scale[Half], sums[row]);
      if constexpr (Format::has_bias) {
        const float sum = Format::halves == 2 ? record.half_sums[Half] : record.sum;
        sums[row] = fma(factors.bias[Half], set(sum), sums[row]);
      }
    }
  });
}

template <class Format, int Rows>
void fast_tile(const MatmulArguments& arguments, uint32_t row, uint32_t panel) {
  const PackedWeight& weight = *arguments.weight;
  const size_t groups = weight.inputs / activation_group;
  const RowsAt rows = {arguments.codes + size_t{row} * weight.inputs, nullptr, 0,
                       arguments.groups + row * groups, weight.inputs};
  F sums[Rows];
  EACH_ROW(i, Rows) sums[i] = set(0.0f);
  each_group<Format>(weight, panel_at(weight, panel),
                     [&](auto codes, uint32_t group, const auto& factors)
                         ALWAYS_INLINE_LAMBDA {
                           fast_group<Format, Rows>(codes, factors, group, rows, sums);
                         });
  EACH_ROW(i, Rows) finish(arguments, row + i, panel, sums[i]);
}

/// One input of a quad as a float: its code, the zero taken off.
template <class Format, int Byte>
ALWAYS_INLINE F code_value(I four) {
  if constexpr (Format::zero != 0 || Format::dot_bits < 8) return to_f32(byte_s<Byte>(four));
  else return to_f32(byte_u<Byte>(four));
}

/// Four inputs of `Rows` rows: one fma an input, ascending.
template <class Format, int Rows>
ALWAYS_INLINE void precise_quad(I four, const float* const (&in)[Rows], int quad,
                                F (&dots)[Rows]) {
  repeat<0, 4>([&]<int Byte>() ALWAYS_INLINE_LAMBDA {
    const F value = code_value<Format, Byte>(four);
    EACH_ROW(row, Rows) dots[row] = fma(value, set(in[row][4 * quad + Byte]), dots[row]);
  });
}

/// Adds what both halves of 32 inputs came to.
template <class Format, int Rows>
ALWAYS_INLINE void add_halves(const F (&dots)[2][Rows], const Factors<Format::halves>& factors,
                              const GroupRecord* records, size_t record_stride, F (&sums)[Rows]) {
  EACH_ROW(row, Rows) {
    const GroupRecord& record = records[row * record_stride];
    if constexpr (Format::halves == 1) {
      sums[row] = fma(add(dots[0][row], dots[1][row]), factors.scale[0], sums[row]);
      if constexpr (Format::has_bias) {
        sums[row] = fma(factors.bias[0], set(record.sum), sums[row]);
      }
    } else {
      EACH_ROW(half, 2) {
        sums[row] = fma(dots[half][row], factors.scale[half], sums[row]);
        if constexpr (Format::has_bias) {
          sums[row] = fma(factors.bias[half], set(record.half_sums[half]), sums[row]);
        }
      }
    }
  }
}

/// 32 inputs of `Rows` rows in f32, each half in a sum of its own: side by side where there are too
/// few rows to hide the latency of an fma, one after the other where registers are few. The codes
/// are unpacked first: a loop over them is a tenth of the code, and as fast.
template <class Format, int Rows, class Codes>
ALWAYS_INLINE void precise_group(Codes codes, const Factors<Format::halves>& factors,
                                 uint32_t group, const RowsAt& rows, F (&sums)[Rows]) {
  prefetch<Format::stored_bits>(codes);
  I unpacked[8];
  repeat<0, 8>([&]<int Quad>() ALWAYS_INLINE_LAMBDA {
    unpacked[Quad] = Format::template codes<Quad>(codes);
    if constexpr (Format::zero != 0) {
      unpacked[Quad] = sub_bytes(unpacked[Quad], bytes_of(Format::zero));
    }
  });
  const float* in[Rows];
  F dots[2][Rows];
  EACH_ROW(row, Rows) {
    in[row] = rows.in + row * rows.in_stride + size_t{group} * activation_group;
    dots[0][row] = dots[1][row] = set(0.0f);
  }
  if constexpr (Rows <= 2) {
#pragma GCC unroll 1
    for (int quad = 0; quad < 4; ++quad) {
      precise_quad<Format, Rows>(unpacked[quad], in, quad, dots[0]);
      precise_quad<Format, Rows>(unpacked[quad + 4], in, quad + 4, dots[1]);
    }
  } else {
    EACH_ROW(half, 2) {
#pragma GCC unroll 1
      for (uint32_t quad = 4 * half; quad < 4 * half + 4; ++quad) {
        precise_quad<Format, Rows>(unpacked[quad], in, static_cast<int>(quad), dots[half]);
      }
    }
  }
  add_halves<Format, Rows>(dots, factors, rows.groups + group, rows.inputs / activation_group,
                           sums);
}

template <class Format, int Rows>
void precise_tile(const MatmulArguments& arguments, uint32_t row, uint32_t panel) {
  const PackedWeight& weight = *arguments.weight;
  const size_t groups = weight.inputs / activation_group;
  const RowsAt rows = {nullptr, arguments.in + row * arguments.in_stride, arguments.in_stride,
                       arguments.groups + row * groups, weight.inputs};
  F sums[Rows];
  EACH_ROW(i, Rows) sums[i] = set(0.0f);
  each_group<Format>(weight, panel_at(weight, panel),
                     [&](auto codes, uint32_t group, const auto& factors)
                         ALWAYS_INLINE_LAMBDA {
                           precise_group<Format, Rows>(codes, factors, group, rows, sums);
                         });
  EACH_ROW(i, Rows) finish(arguments, row + i, panel, sums[i]);
}

void matmul_fast(const MatmulArguments& arguments) {
  with_format(arguments.weight->format, [&]<class Format>() {
    for (uint32_t i = 0; i < arguments.panel_count; ++i) {
      each_tile<row_tile>(0, arguments.rows, [&]<int Rows>(uint32_t row) {
        fast_tile<Format, Rows>(arguments, row, arguments.first_panel + i);
      });
    }
  });
}

void matmul_precise(const MatmulArguments& arguments) {
  if (is_dense(arguments.weight->format)) return matmul_dense(arguments);
  with_format(arguments.weight->format, [&]<class Format>() {
    for (uint32_t i = 0; i < arguments.panel_count; ++i) {
      each_tile<row_tile>(0, arguments.rows, [&]<int Rows>(uint32_t row) {
        precise_tile<Format, Rows>(arguments, row, arguments.first_panel + i);
      });
    }
  });
}
