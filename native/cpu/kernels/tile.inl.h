// What every matmul is cut into: panels of 16 outputs times tiles of rows.

/// Calls function.operator()<i>() for i from First to End - 1.
template <int First, int End, class Function>
ALWAYS_INLINE void repeat(Function function) {
  if constexpr (First < End) {
    function.template operator()<First>();
    repeat<First + 1, End>(function);
  }
}

/// A loop over a tile's rows, written out: its sums are registers.
#define EACH_ROW(row, rows) _Pragma("GCC unroll 16") for (uint32_t row = 0; row < rows; ++row)

/// A pointer that is not to be made anew from others at each use: there are too few registers.
#define KEEP_POINTER(pointer) __asm__("" : "+r"(pointer))

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
__attribute__((noinline)) void finish(const MatmulArguments& arguments, uint32_t row,
                                      uint32_t panel, F sum) {
  const size_t first = size_t{panel} * lanes, count = arguments.weight->outputs - first;
  if (arguments.bias != nullptr) sum = add(sum, load_n(arguments.bias + first, count));
  store_n(arguments.out + row * arguments.out_stride + first, sum, count);
}
