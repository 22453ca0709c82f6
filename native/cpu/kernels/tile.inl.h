// What every matmul is cut into: panels of 16 outputs times tiles of rows.

/// Calls function.operator()<i>() for i from First to End - 1.
template <int First, int End, class Function>
ALWAYS_INLINE void repeat(Function function) {
  if constexpr (First < End) {
    function.template operator()<First>();
    repeat<First + 1, End>(function);
  }
}

/// Calls tile.operator()<Rows>(row) over all rows: whole tiles, then what is left by halves.
template <int Rows, class Tile>
ALWAYS_INLINE void each_tile(uint32_t row, uint32_t end, Tile tile) {
  for (; row + Rows <= end; row += Rows) tile.template operator()<Rows>(row);
  if constexpr (Rows > 1) each_tile<Rows / 2>(row, end, tile);
}

inline const uint8_t* panel_at(const PackedWeight& weight, uint32_t panel) {
  return weight.data + panel * weight.panel_bytes;
}

/// Adds the bias and writes one row's outputs of a panel.
ALWAYS_INLINE void finish(const MatmulArguments& arguments, uint32_t row, uint32_t panel, F sum) {
  const size_t first = size_t{panel} * lanes, count = arguments.weight->outputs - first;
  if (arguments.bias != nullptr) sum = add(sum, load_n(arguments.bias + first, count));
  store_n(arguments.out + row * arguments.out_stride + first, sum, count);
}
