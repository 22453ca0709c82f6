// Attention over keys and values in bytes, by exact integer products: queries and weights become
// codes of 15 bits, a high and a low part of 8. Sums of integers have no order, so that only the
// scales are left to be put together in a fixed one: a key's groups ascending.

/// Sets with 32 registers hold both parts' sums at once.
inline constexpr bool many_registers = row_tile >= 8;

/// Blocks that are asked for before they are needed: what memory takes to answer.
inline constexpr uint32_t blocks_ahead = 8;

/// Codes of 16 values: value * inverse = high + low / 128.
struct Parts {
  I high, low;
};
ALWAYS_INLINE Parts parts_of(F values, float inverse) {
  const F scaled = mul(values, set(inverse));
  // A NaN is dropped by min and max, whose first operand it is.
  const I high = to_i32(min(max(scaled, set(-127.0f)), set(127.0f)));
  const F rest = mul(sub(scaled, to_f32(high)), set(128.0f));
  return {high, to_i32(min(max(rest, set(-64.0f)), set(64.0f)))};
}
/// What turns values up to `largest` into codes; values that small count as zeros.
ALWAYS_INLINE float inverse_of(float largest) {
  return largest > 0x1p-100f ? 127.0f / largest : 0.0f;
}

/// Sums of products of bytes with rows of codes: rows [0, Queries) are high parts, [Queries,
/// 2 Queries) the low ones.
template <int Queries, int Vectors>
struct Products {
  static constexpr int rows = 2 * Queries;
  static constexpr int together = many_registers ? rows : Queries;
  Dot<8> dots[rows][Vectors];

  /// Adds `quads` times four products for the rows from `First` on; `ahead` is asked for meanwhile.
  template <int First>
  ALWAYS_INLINE void add(const uint8_t* const (&codes)[Vectors],
                         const uint8_t* const (&ahead)[Vectors], uint32_t quads,
                         const int8_t* values, size_t row_stride) {
    for (uint32_t quad = 0; quad < quads; ++quad) {
      EACH_ROW(v, Vectors) {
        const I four = load_i(codes[v] + 64 * quad);
        __builtin_prefetch(ahead[v] + 64 * quad);
        EACH_ROW(row, together) {
          dots[First + row][v].template add_product<0>(
              four, values + (First + row) * row_stride + 4 * quad);
        }
      }
    }
  }
  /// A query's sum in units of its low parts; `sums` are those of a row's codes.
  ALWAYS_INLINE F total(int query, int vector, const int32_t* sums) const {
    return fma(to_f32(dots[query][vector].total(sums[query])), set(128.0f),
               to_f32(dots[Queries + query][vector].total(sums[Queries + query])));
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

/// Where a group of a key head's channels lies in a block, and what is read after it.
struct KeyGroup {
  size_t offset, next;
  uint32_t quads;
  bool first;
};

/// The place that is asked for while block `block` of [first, end) is worked on: the same place of
/// a later block, or that of what comes next in an early one.
ALWAYS_INLINE const uint8_t* place_ahead(const AttentionArguments& arguments, uint32_t block,
                                         Visible blocks, size_t offset, size_t next) {
  const uint32_t ahead = block + blocks_ahead, end = blocks.end / lanes;
  if (ahead < end) return arguments.blocks[ahead] + offset;
  const uint32_t again = blocks.first / lanes + (ahead - end);
  return arguments.blocks[again < end ? again : block] + next;
}

/// Adds what a group of channels is to the scores against `Blocks` blocks of keys.
template <int Queries, int Blocks>
ALWAYS_INLINE void score_group(const AttentionArguments& arguments, const KeyGroup& group,
                               const QueryGroup<Queries>& queries, uint32_t block, Visible blocks,
                               Tile<Queries>& tile) {
  const uint8_t *keys[Blocks], *ahead[Blocks];
  EACH_ROW(b, Blocks) {
    keys[b] = arguments.blocks[block + b] + group.offset;
    ahead[b] = place_ahead(arguments, block + b, blocks, group.offset, group.next);
  }
  Products<Queries, Blocks> products;
  products.template add<0>(keys, ahead, group.quads, queries.codes[0], key_group);
  if constexpr (!many_registers) {
    products.template add<Queries>(keys, ahead, group.quads, queries.codes[0], key_group);
  }
  EACH_ROW(b, Blocks) {
    const auto* factors = reinterpret_cast<const uint16_t*>(keys[b] + 64 * group.quads);
    const F scale = load_bf16(factors), low = load_bf16(factors + lanes);
    __builtin_prefetch(ahead[b] + 64 * group.quads);
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
                               Tile<Queries>& tile) {
  constexpr uint32_t together = many_registers || Queries == 1 ? 2 : 1;
  const CacheHead& head = arguments.head;
  size_t offset = head.key_offset;
  for (uint32_t channel = 0; channel < head.key_width; channel += key_group) {
    const uint32_t left = head.key_width - channel, count = left < key_group ? left : key_group;
    const uint32_t quads = (count + 3) / 4;
    const size_t behind = offset + 64 * quads + cache_factor_bytes;
    const KeyGroup group = {offset, left > key_group ? behind : head.value_offset, quads,
                            channel == 0};
    QueryGroup<Queries> queries;
    queries.take(tile, channel, count);
    const uint32_t end = blocks.end / lanes;
    uint32_t block = blocks.first / lanes;
    for (; block + together <= end; block += together) {
      score_group<Queries, together>(arguments, group, queries, block, blocks, tile);
    }
    for (; block < end; ++block) {
      score_group<Queries, 1>(arguments, group, queries, block, blocks, tile);
    }
    offset = behind;
  }
}

/// A tile's weights, each times its position's scale of values.
template <int Queries>
struct WeightCodes {
  int8_t codes[2 * Queries][span_positions];
  int32_t sums[2 * Queries];
  float scale[Queries];  // of the low parts
  float low[Queries];    // what the positions' lows come to

  /// Positions that a query does not see have weight 0, and their factors may be anything.
  ALWAYS_INLINE void take(const AttentionArguments& arguments, Visible blocks, int q,
                          float* weights) {
    const size_t factors_offset = arguments.head.value_offset +
                                  size_t{value_stride(arguments.head.value_width)} * lanes;
    const F zero = set(0.0f);
    F largest = zero, lows = zero;
    for (uint32_t at = blocks.first; at < blocks.end; at += lanes) {
      const auto* factors = reinterpret_cast<const uint16_t*>(arguments.blocks[at / lanes] +
                                                              factors_offset);
      const F weight = load(weights + at % span_positions);
      const F scaled = mul(weight, load_bf16(factors));
      const F kept = select_less(zero, weight, scaled, zero);
      lows = select_less(zero, weight, fma(weight, load_bf16(factors + lanes), lows), lows);
      store(weights + at % span_positions, kept);
      largest = max(largest, kept);
    }
    const float most = hmax(largest), inverse = inverse_of(most);
    F high_sum = zero, low_sum = zero;
    for (uint32_t at = blocks.first; at < blocks.end; at += lanes) {
      const uint32_t place = at % span_positions;
      const Parts parts = parts_of(load(weights + place), inverse);
      store_i8(codes[q] + place, parts.high);
      store_i8(codes[Queries + q] + place, parts.low);
      high_sum = add(high_sum, to_f32(parts.high));
      low_sum = add(low_sum, to_f32(parts.low));
    }
    sums[q] = static_cast<int32_t>(hsum(high_sum));
    sums[Queries + q] = static_cast<int32_t>(hsum(low_sum));
    scale[q] = most / (127.0f * 128.0f);
    low[q] = hsum(lows);
  }
};

/// Sums of weighted values for `Chunks` vectors of channels.
template <int Queries, int Chunks>
ALWAYS_INLINE void gather_chunks(const AttentionArguments& arguments, Visible blocks,
                                 const WeightCodes<Queries>& weights, uint32_t chunk,
                                 Tile<Queries>& tile) {
  constexpr size_t chunk_bytes = lanes * lanes;
  const size_t offset = arguments.head.value_offset + chunk * chunk_bytes;
  Products<Queries, Chunks> products;
  repeat<0, many_registers ? 1 : 2>([&]<int Pass>() ALWAYS_INLINE_LAMBDA {
    for (uint32_t at = blocks.first; at < blocks.end; at += lanes) {
      const uint8_t* block = arguments.blocks[at / lanes] + offset;
      const uint8_t* next =
          place_ahead(arguments, at / lanes, blocks, offset, offset + Chunks * chunk_bytes);
      const uint8_t *values[Chunks], *ahead[Chunks];
      EACH_ROW(c, Chunks) {
        values[c] = block + c * chunk_bytes;
        ahead[c] = next + c * chunk_bytes;
      }
      products.template add<Pass * Queries>(values, ahead, lanes / 4,
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
ALWAYS_INLINE void gather_bytes(const AttentionArguments& arguments, Visible blocks,
                                Tile<Queries>& tile) {
  constexpr uint32_t together = many_registers || Queries == 1 ? 2 : 1;
  WeightCodes<Queries> weights;
  EACH_ROW(q, Queries) weights.take(arguments, blocks, static_cast<int>(q), tile.weights[q]);
  const uint32_t chunks = value_stride(arguments.head.value_width) / lanes;
  uint32_t chunk = 0;
  for (; chunk + together <= chunks; chunk += together) {
    gather_chunks<Queries, together>(arguments, blocks, weights, chunk, tile);
  }
  for (; chunk < chunks; ++chunk) {
    gather_chunks<Queries, 1>(arguments, blocks, weights, chunk, tile);
  }
}
