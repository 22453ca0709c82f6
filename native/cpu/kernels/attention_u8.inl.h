// Attention over keys and values in bytes, by exact integer products: queries and weights become
// codes of 15 bits, a high and a low part of 8. Sums of integers have no order, so that only the
// scales are left to be put together in a fixed one: a key's groups ascending.

/// Sets with 32 registers hold both parts' sums at once.
inline constexpr bool many_registers = row_tile >= 8;

/// Sums of products of bytes with rows of codes: rows [0, Queries) are high parts, [Queries,
/// 2 Queries) the low ones.
template <int Queries, int Vectors>
struct Products {
  static constexpr int rows = 2 * Queries;
  static constexpr int together = many_registers ? rows : Queries;
  Dot<8> dots[rows][Vectors];

  /// Adds `quads` times four products for the rows from `First` on.
  template <int First>
  ALWAYS_INLINE void add(const uint8_t* const (&codes)[Vectors], uint32_t quads,
                         const int8_t* values, size_t row_stride) {
    for (uint32_t quad = 0; quad < quads; ++quad) {
      EACH_ROW(v, Vectors) {
        const I four = load_i(codes[v] + 64 * quad);
        EACH_ROW(row, together) {
          dots[First + row][v].template add_product<0>(
              four, values + (First + row) * row_stride + 4 * quad);
        }
      }
    }
  }
  /// A query's sum in units of its low parts; `sums` are those of a row's codes. A span's largest
  /// is below 2^31: 512 (127 * 128 + 64) 255.
  ALWAYS_INLINE F total(int query, int vector, const int32_t* sums) const {
    const I high = dots[query][vector].total(sums[query]);
    return to_f32(add_i(shift<-7>(high),
                        dots[Queries + query][vector].total(sums[Queries + query])));
  }
};

/// 32 channels of the queries.
template <int Queries>
struct QueryGroup {
  int8_t codes[2 * Queries][key_group];
  int32_t sums[2 * Queries];
  float scale[Queries];  // of the low parts
  float sum[Queries];    // of the values that the codes stand for

  /// Channels [first, first + count).
  ALWAYS_INLINE void take(const Tile<Queries>& tile, uint32_t first, uint32_t count) {
    EACH_ROW(q, Queries) {
      const float* in = tile.queries[q] + first;
      const F values[2] = {load_n(in, count),
                           count > lanes ? load_n(in + lanes, count - lanes) : set(0.0f)};
      const float largest = hmax(max(abs(values[0]), abs(values[1])));
      F all[2] = {set(0.0f), set(0.0f)};
      EACH_ROW(half, 2) {
        const Parts parts = parts_of(values[half], inverse_of(largest));
        store_i8(codes[q] + half * lanes, parts.high);
        store_i8(codes[Queries + q] + half * lanes, parts.low);
        all[0] = add(all[0], to_f32(parts.high));
        all[1] = add(all[1], to_f32(parts.low));
      }
      const float high = hsum(all[0]), low = hsum(all[1]);
      sums[q] = static_cast<int32_t>(high);
      sums[Queries + q] = static_cast<int32_t>(low);
      scale[q] = largest / (127.0f * 128.0f) + poison_of(values[0], values[1]);
      sum[q] = scale[q] * (high * 128.0f + low);
    }
  }
};

/// Where a group of a key head's channels lies in a block.
struct KeyGroup {
  size_t offset;
  uint32_t quads;
  bool first;
};

/// Adds what a group of channels is to the scores against `Blocks` blocks of keys.
template <int Queries, int Blocks>
ALWAYS_INLINE void score_group(const AttentionArguments& arguments, const KeyGroup& group,
                               const QueryGroup<Queries>& queries, uint32_t block,
                               Tile<Queries>& tile) {
  const uint8_t* keys[Blocks];
  EACH_ROW(b, Blocks) keys[b] = arguments.blocks[block + b] + group.offset;
  Products<Queries, Blocks> products;
  products.template add<0>(keys, group.quads, queries.codes[0], key_group);
  if constexpr (!many_registers) {
    products.template add<Queries>(keys, group.quads, queries.codes[0], key_group);
  }
  EACH_ROW(b, Blocks) {
    const auto* factors = reinterpret_cast<const uint16_t*>(keys[b] + 64 * group.quads);
    const F scale = load_bf16(factors), low = load_bf16(factors + lanes);
    EACH_ROW(q, Queries) {
      float* scores = tile.weights[q] + ((block + b) * lanes) % span_positions;
      const F total = mul(products.total(q, b, queries.sums), set(queries.scale[q]));
      const F score = fma(total, scale, group.first ? set(0.0f) : load(scores));
      store(scores, fma(low, set(queries.sum[q]), score));
    }
  }
}

/// Scores against the blocks of keys, unscaled.
template <int Queries>
ALWAYS_INLINE void score_bytes(const AttentionArguments& arguments, Visible blocks,
                               const Reading& reading, Tile<Queries>& tile) {
  constexpr uint32_t together = many_registers || Queries == 1 ? 2 : 1;
  const CacheHead& head = arguments.head;
  const uint32_t groups = (head.key_width + key_group - 1) / key_group;
  const uint32_t end = blocks.end / lanes;
  size_t offset = head.key_offset;
  for (uint32_t at = 0; at < groups; ++at) {
    const uint32_t channel = at * key_group, left = head.key_width - channel;
    const uint32_t count = left < key_group ? left : key_group;
    const KeyGroup group = {offset, (count + 3) / 4, at == 0};
    const size_t bytes = 64 * group.quads + cache_factor_bytes;
    QueryGroup<Queries> queries;
    queries.take(tile, channel, count);
    const auto ask = [&](uint32_t block) ALWAYS_INLINE_LAMBDA {
      reading.ask_keys(block, end, offset, bytes);
      reading.ask_values(block, at, groups);
    };
    uint32_t block = blocks.first / lanes;
    for (; block + together <= end; block += together) {
      EACH_ROW(b, together) ask(block + b);
      score_group<Queries, together>(arguments, group, queries, block, tile);
    }
    for (; block < end; ++block) {
      ask(block);
      score_group<Queries, 1>(arguments, group, queries, block, tile);
    }
    offset += bytes;
  }
}

/// Sums of weighted values for `Chunks` vectors of channels.
template <int Queries, int Chunks>
ALWAYS_INLINE void gather_chunks(const AttentionArguments& arguments, Visible blocks,
                                 const WeightCodes<Queries>& weights, uint32_t chunk,
                                 const Reading& reading, Tile<Queries>& tile) {
  constexpr size_t chunk_bytes = lanes * lanes;
  const size_t offset = arguments.head.value_offset + chunk * chunk_bytes;
  Products<Queries, Chunks> products;
  repeat<0, many_registers ? 1 : 2>([&]<int Pass>() ALWAYS_INLINE_LAMBDA {
    for (uint32_t at = blocks.first; at < blocks.end; at += lanes) {
      const uint8_t* block = arguments.blocks[at / lanes] + offset;
      if (chunk == 0 && Pass == 0) reading.ask_next(at % span_positions / lanes, 2);
      const uint8_t* values[Chunks];
      EACH_ROW(c, Chunks) values[c] = block + c * chunk_bytes;
      products.template add<Pass * Queries>(values, lanes / 4,
                                            weights.codes[0] + at % span_positions,
                                            span_positions);
    }
  });
  EACH_ROW(i, Queries * Chunks) {
    const uint32_t q = i / Chunks, c = i % Chunks;
    const F total = products.total(static_cast<int>(q), static_cast<int>(c), weights.sums);
    store(tile.partials[q] + lanes * (1 + chunk + c),
          fma(total, set(weights.scale[q]), set(weights.low[q])));
  }
}

template <int Queries>
ALWAYS_INLINE void gather_bytes(const AttentionArguments& arguments, const View<Queries>& view,
                                const Reading& reading, Tile<Queries>& tile) {
  constexpr uint32_t together = many_registers || Queries == 1 ? 2 : 1;
  WeightCodes<Queries> weights;
  weights.take(arguments, view, reading, tile);
  const uint32_t chunks = value_stride(arguments.head.value_width) / lanes;
  uint32_t chunk = 0;
  for (; chunk + together <= chunks; chunk += together) {
    gather_chunks<Queries, together>(arguments, view.blocks, weights, chunk, reading, tile);
  }
  for (; chunk < chunks; ++chunk) {
    gather_chunks<Queries, 1>(arguments, view.blocks, weights, chunk, reading, tile);
  }
}
