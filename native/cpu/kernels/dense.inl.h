// Products with matrices that are not quantized.

template <PackedFormat Format>
ALWAYS_INLINE F load_dense(const uint8_t* from) {
  if constexpr (Format == PackedFormat::f32) return load(reinterpret_cast<const float*>(from));
  const auto* words = reinterpret_cast<const uint16_t*>(from);
  if constexpr (Format == PackedFormat::f16) return load_f16(words);
  return load_bf16(words);
}
template <PackedFormat Format>
inline constexpr size_t dense_step = Format == PackedFormat::f32 ? 64 : 32;

/// Calls function.operator()<Format>() with a dense format.
template <class Function>
ALWAYS_INLINE void with_dense_format(PackedFormat format, Function function) {
  if (format == PackedFormat::f32) return function.template operator()<PackedFormat::f32>();
  if (format == PackedFormat::f16) return function.template operator()<PackedFormat::f16>();
  function.template operator()<PackedFormat::bf16>();
}

/// `Rows` rows times `Panels` panels: enough independent sums to hide the latency of an fma. One
/// fma an input, ascending.
template <PackedFormat Format, int Rows, int Panels>
void dense_tile(const MatmulArguments& arguments, uint32_t row, uint32_t panel) {
  const PackedWeight& weight = *arguments.weight;
  const float* in = arguments.in + row * arguments.in_stride;
  const uint8_t* at = panel_at(weight, panel);
  F sums[Panels][Rows];
  EACH_ROW(i, Panels * Rows) sums[i / Rows][i % Rows] = set(0.0f);
  for (uint32_t i = 0; i < weight.inputs; ++i, at += dense_step<Format>) {
    EACH_ROW(p, Panels) {
      const F values = load_dense<Format>(at + p * weight.panel_bytes);
      EACH_ROW(r, Rows) sums[p][r] = fma(values, set(in[r * arguments.in_stride + i]), sums[p][r]);
    }
  }
  EACH_ROW(i, Panels * Rows) {
    finish(arguments, row + i % Rows, panel + i / Rows, sums[i / Rows][i % Rows]);
  }
}

void matmul_dense(const MatmulArguments& arguments) {
  with_dense_format(arguments.weight->format, [&]<PackedFormat Format>() {
    each_tile<row_tile>(0, arguments.rows, [&]<int Rows>(uint32_t row) {
      constexpr uint32_t together = Rows >= 4 ? 1 : 4 / Rows;
      const uint32_t end = arguments.first_panel + arguments.panel_count;
      uint32_t panel = arguments.first_panel;
      for (; panel + together <= end; panel += together) {
        dense_tile<Format, Rows, together>(arguments, row, panel);
      }
      for (; panel < end; ++panel) dense_tile<Format, Rows, 1>(arguments, row, panel);
    });
  });
}
