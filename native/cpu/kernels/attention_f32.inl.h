// Attention over keys and values in f32. Scores: a lane is a position, one fma a channel,
// ascending. Values: a lane is a channel, one fma a position, ascending. Both orders and the span's
// bounds depend on absolute positions alone.

/// Vectors that a tile of so many queries works on together: enough sums at once to hide the
/// latency of an fma, few enough for 16 registers.
template <int Queries>
inline constexpr uint32_t vectors_together = Queries >= 4 ? 1 : Queries == 1 ? 4 : 2;

ALWAYS_INLINE const float* floats_at(const uint8_t* bytes) {
  return reinterpret_cast<const float*>(bytes);
}

/// The block that is asked for while `block` is worked on: blocks lie apart, and the processor does
/// not guess where the next one is.
ALWAYS_INLINE const uint8_t* block_ahead(const AttentionArguments& arguments, uint32_t block,
                                         uint32_t step, uint32_t end) {
  return arguments.blocks[block + step < end ? block + step : block];
}

/// Scores of `Queries` queries against `Blocks` blocks of keys, unscaled; `end` is the last block's
/// end.
template <int Queries, int Blocks>
ALWAYS_INLINE void score_blocks(const AttentionArguments& arguments, uint32_t block, uint32_t end,
                                Tile<Queries>& tile) {
  const float *keys[Blocks], *ahead[Blocks];
  F sums[Queries][Blocks];
  EACH_ROW(b, Blocks) {
    keys[b] = floats_at(arguments.blocks[block + b] + arguments.head.key_offset);
    ahead[b] =
        floats_at(block_ahead(arguments, block + b, Blocks, end) + arguments.head.key_offset);
  }
  EACH_ROW(i, Queries * Blocks) sums[i / Blocks][i % Blocks] = set(0.0f);
  for (uint32_t channel = 0; channel < arguments.head.key_width; ++channel) {
    EACH_ROW(b, Blocks) {
      const F key = load(keys[b] + channel * lanes);
      __builtin_prefetch(ahead[b] + channel * lanes);
      EACH_ROW(q, Queries) sums[q][b] = fma(key, set(tile.queries[q][channel]), sums[q][b]);
    }
  }
  const uint32_t place = (block * lanes) % span_positions;
  EACH_ROW(i, Queries * Blocks) {
    store(tile.weights[i / Blocks] + place + i % Blocks * lanes, sums[i / Blocks][i % Blocks]);
  }
}

/// Adds the weighted values of one block, `Chunks` vectors of channels at a time.
template <int Queries, int Chunks>
ALWAYS_INLINE void add_values(const float* values, const float* ahead, size_t stride,
                              uint32_t chunk, uint32_t count, uint32_t place,
                              Tile<Queries>& tile) {
  F sums[Queries][Chunks];
  EACH_ROW(i, Queries * Chunks) {
    sums[i / Chunks][i % Chunks] =
        load(tile.partials[i / Chunks] + lanes * (1 + chunk + i % Chunks));
  }
  for (uint32_t i = 0; i < count; ++i) {
    EACH_ROW(c, Chunks) {
      const size_t element = i * stride + lanes * (chunk + c);
      const F value = load(values + element);
      __builtin_prefetch(ahead + element);
      EACH_ROW(q, Queries) sums[q][c] = fma(value, set(tile.weights[q][place + i]), sums[q][c]);
    }
  }
  EACH_ROW(i, Queries * Chunks) {
    store(tile.partials[i / Chunks] + lanes * (1 + chunk + i % Chunks),
          sums[i / Chunks][i % Chunks]);
  }
}

template <int Queries>
ALWAYS_INLINE void gather_floats(const AttentionArguments& arguments, Visible blocks, uint32_t end,
                                 Tile<Queries>& tile) {
  constexpr uint32_t together = vectors_together<Queries>;
  const uint32_t stride = value_stride(arguments.head.value_width);
  for (uint32_t at = blocks.first; at < blocks.end; at += lanes) {
    const size_t offset = arguments.head.value_offset;
    const float* values = floats_at(arguments.blocks[at / lanes] + offset);
    const float* ahead =
        floats_at(block_ahead(arguments, at / lanes, 1, blocks.end / lanes) + offset);
    const uint32_t count = end - at < lanes ? end - at : lanes;
    const uint32_t place = at % span_positions;
    uint32_t chunk = 0;
    for (; chunk + together <= stride / lanes; chunk += together) {
      add_values<Queries, together>(values, ahead, stride, chunk, count, place, tile);
    }
    for (; chunk < stride / lanes; ++chunk) {
      add_values<Queries, 1>(values, ahead, stride, chunk, count, place, tile);
    }
  }
}

template <int Queries>
ALWAYS_INLINE void score_floats(const AttentionArguments& arguments, Visible blocks,
                                Tile<Queries>& tile) {
  constexpr uint32_t together = vectors_together<Queries>;
  const uint32_t end = blocks.end / lanes;
  uint32_t block = blocks.first / lanes;
  for (; block + together <= end; block += together) {
    score_blocks<Queries, together>(arguments, block, end, tile);
  }
  for (; block < end; ++block) score_blocks<Queries, 1>(arguments, block, end, tile);
}
