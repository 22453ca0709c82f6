// Attention over one span of positions. Scores: a lane is a position, one fma a channel, ascending.
// Values: a lane is a channel, one fma a position, ascending. Both orders and the span's bounds
// depend on absolute positions alone, so a query's result does not depend on what else a call
// computes; queries side by side share loads.

/// Most queries that share loads of keys and values.
inline constexpr int query_tile = 4;

/// Vectors that a tile of so many queries works on together: enough sums at once to hide the
/// latency of an fma, few enough for 16 registers.
template <int Queries>
inline constexpr uint32_t vectors_together = Queries >= 4 ? 1 : Queries == 1 ? 4 : 2;

template <CacheType Type>
ALWAYS_INLINE F load_cached(const uint8_t* at, size_t element) {
  if constexpr (Type == CacheType::f32) return load(reinterpret_cast<const float*>(at) + element);
  else return load_bf16(reinterpret_cast<const uint16_t*>(at) + element);
}

/// Some queries of a call: consecutive in the order of (token, head).
template <int Queries>
struct Tile {
  const float* queries[Queries];
  float* partials[Queries];
  uint32_t position[Queries];
  float weights[Queries][span_positions];  // scores, then their exponentials
};

/// Positions [first, end) of the span that a query sees; empty where end <= first.
struct Visible {
  uint32_t first, end;
};
inline Visible visible_to(const AttentionArguments& arguments, uint32_t position) {
  const uint32_t begin = arguments.span * span_positions;
  const uint32_t window = arguments.window;
  const uint32_t oldest = window > 0 && position + 1 > window ? position + 1 - window : 0;
  const uint32_t span_end = begin + span_positions;
  const uint32_t end = position + 1 < span_end ? position + 1 : span_end;
  return {oldest > begin ? oldest : begin, end};
}

/// The block that is asked for while `block` is worked on: blocks lie apart, and the processor does
/// not guess where the next one is.
ALWAYS_INLINE const uint8_t* block_ahead(const AttentionArguments& arguments, uint32_t block,
                                         uint32_t step, uint32_t end) {
  return arguments.blocks[block + step < end ? block + step : block];
}

/// Scores of `Queries` queries against `Blocks` blocks of keys, unscaled; `end` is the last block's
/// end.
template <CacheType Type, int Queries, int Blocks>
ALWAYS_INLINE void score_blocks(const AttentionArguments& arguments, uint32_t block, uint32_t end,
                                Tile<Queries>& tile) {
  constexpr size_t channel_bytes = lanes * (Type == CacheType::f32 ? 4 : 2);
  const uint8_t *keys[Blocks], *ahead[Blocks];
  F sums[Queries][Blocks];
  EACH_ROW(b, Blocks) {
    keys[b] = arguments.blocks[block + b] + arguments.head.key_offset;
    ahead[b] = block_ahead(arguments, block + b, Blocks, end) + arguments.head.key_offset;
  }
  EACH_ROW(i, Queries * Blocks) sums[i / Blocks][i % Blocks] = set(0.0f);
  for (uint32_t channel = 0; channel < arguments.head.key_width; ++channel) {
    EACH_ROW(b, Blocks) {
      const F key = load_cached<Type>(keys[b], size_t{channel} * lanes);
      __builtin_prefetch(ahead[b] + channel * channel_bytes);
      EACH_ROW(q, Queries) sums[q][b] = fma(key, set(tile.queries[q][channel]), sums[q][b]);
    }
  }
  const uint32_t place = (block * lanes) % span_positions;
  EACH_ROW(i, Queries * Blocks) {
    store(tile.weights[i / Blocks] + place + i % Blocks * lanes, sums[i / Blocks][i % Blocks]);
  }
}

/// Scales, caps and masks a query's scores, and turns them into weights relative to the largest,
/// which it returns beside their sum.
inline void weigh(const AttentionArguments& arguments, Visible blocks, Visible visible,
                  float* weights, float* partial) {
  const uint32_t begin = arguments.span * span_positions;
  const F hidden = set(-__builtin_inff());
  const F first = set(static_cast<float>(visible.first - begin));
  const F end = set(static_cast<float>(visible.end - begin));
  F most = hidden;
  for (uint32_t at = blocks.first - begin; at < blocks.end - begin; at += lanes) {
    F score = mul(load(weights + at), set(arguments.scale));
    if (arguments.softcap != 0.0f) score = capped(score, arguments.softcap);
    const F place = add(iota(), set(static_cast<float>(at)));
    score = select_less(place, first, hidden, select_less(place, end, score, hidden));
    store(weights + at, score);
    most = max(most, score);
  }
  partial[0] = hmax(most);
  F sum = set(0.0f);
  for (uint32_t at = blocks.first - begin; at < blocks.end - begin; at += lanes) {
    const F weight = exp(sub(load(weights + at), set(partial[0])));
    store(weights + at, weight);
    sum = add(sum, weight);
  }
  partial[1] = hsum(sum);
}

/// Adds the weighted values of one block, `Chunks` vectors of channels at a time.
template <CacheType Type, int Queries, int Chunks>
ALWAYS_INLINE void add_values(const uint8_t* values, const uint8_t* ahead, size_t stride,
                              uint32_t chunk, uint32_t count, uint32_t place,
                              Tile<Queries>& tile) {
  constexpr size_t element_bytes = Type == CacheType::f32 ? 4 : 2;
  F sums[Queries][Chunks];
  EACH_ROW(i, Queries * Chunks) {
    sums[i / Chunks][i % Chunks] =
        load(tile.partials[i / Chunks] + lanes * (1 + chunk + i % Chunks));
  }
  for (uint32_t i = 0; i < count; ++i) {
    EACH_ROW(c, Chunks) {
      const size_t element = i * stride + lanes * (chunk + c);
      const F value = load_cached<Type>(values, element);
      __builtin_prefetch(ahead + element * element_bytes);
      EACH_ROW(q, Queries) sums[q][c] = fma(value, set(tile.weights[q][place + i]), sums[q][c]);
    }
  }
  EACH_ROW(i, Queries * Chunks) {
    store(tile.partials[i / Chunks] + lanes * (1 + chunk + i % Chunks),
          sums[i / Chunks][i % Chunks]);
  }
}

template <CacheType Type, int Queries>
ALWAYS_INLINE void gather_values(const AttentionArguments& arguments, Visible blocks, uint32_t end,
                                 Tile<Queries>& tile) {
  constexpr uint32_t together = vectors_together<Queries>;
  const uint32_t stride = value_stride(arguments.head.value_width);
  for (uint32_t at = blocks.first; at < blocks.end; at += lanes) {
    const uint8_t* values = arguments.blocks[at / lanes] + arguments.head.value_offset;
    const uint8_t* ahead =
        block_ahead(arguments, at / lanes, 1, blocks.end / lanes) + arguments.head.value_offset;
    const uint32_t count = end - at < lanes ? end - at : lanes;
    const uint32_t place = at % span_positions;
    uint32_t chunk = 0;
    for (; chunk + together <= stride / lanes; chunk += together) {
      add_values<Type, Queries, together>(values, ahead, stride, chunk, count, place, tile);
    }
    for (; chunk < stride / lanes; ++chunk) {
      add_values<Type, Queries, 1>(values, ahead, stride, chunk, count, place, tile);
    }
  }
}

template <CacheType Type, int Queries>
void attend_tile(const AttentionArguments& arguments, uint32_t query) {
  Tile<Queries> tile;
  Visible visible[Queries], all = {~0u, 0};
  const uint32_t width = value_stride(arguments.head.value_width);
  for (int i = 0; i < Queries; ++i) {
    const uint32_t token = (query + i) / arguments.heads, head = (query + i) % arguments.heads;
    tile.queries[i] =
        arguments.queries + token * arguments.token_stride + head * arguments.head_stride;
    tile.partials[i] = arguments.partials + (query + i) * (lanes + size_t{width});
    for (uint32_t at = 0; at < lanes + width; ++at) tile.partials[i][at] = 0.0f;
    tile.partials[i][0] = -__builtin_inff();
    visible[i] = visible_to(arguments, arguments.first_position + token);
    if (visible[i].end <= visible[i].first) continue;
    if (visible[i].first < all.first) all.first = visible[i].first;
    if (visible[i].end > all.end) all.end = visible[i].end;
  }
  if (all.end <= all.first) return;
  const Visible blocks = {all.first / lanes * lanes, (all.end + lanes - 1) / lanes * lanes};
  constexpr uint32_t together = vectors_together<Queries>;
  uint32_t block = blocks.first / lanes;
  for (; block + together <= blocks.end / lanes; block += together) {
    score_blocks<Type, Queries, together>(arguments, block, blocks.end / lanes, tile);
  }
  for (; block < blocks.end / lanes; ++block) {
    score_blocks<Type, Queries, 1>(arguments, block, blocks.end / lanes, tile);
  }
  for (int i = 0; i < Queries; ++i) {
    if (visible[i].end > visible[i].first) {
      weigh(arguments, blocks, visible[i], tile.weights[i], tile.partials[i]);
    } else {
      for (uint32_t at = 0; at < span_positions; ++at) tile.weights[i][at] = 0.0f;
    }
  }
  gather_values<Type, Queries>(arguments, blocks, all.end, tile);
}

/// Whole tiles, then what is left as one: two smaller ones would read keys and values twice.
template <CacheType Type>
void attend_all(const AttentionArguments& arguments) {
  const uint32_t queries = arguments.tokens * arguments.heads;
  uint32_t at = 0;
  for (; at + query_tile <= queries; at += query_tile) attend_tile<Type, query_tile>(arguments, at);
  if (queries - at == 3) attend_tile<Type, 3>(arguments, at);
  else if (queries - at == 2) attend_tile<Type, 2>(arguments, at);
  else if (queries - at == 1) attend_tile<Type, 1>(arguments, at);
}

void attend(const AttentionArguments& arguments) {
  if (arguments.head.type == CacheType::f32) return attend_all<CacheType::f32>(arguments);
  attend_all<CacheType::bf16>(arguments);
}

void merge_attention(const AttentionMergeArguments& arguments) {
  float most = arguments.sink != nullptr ? *arguments.sink : -__builtin_inff();
  for (uint32_t span = 0; span < arguments.spans; ++span) {
    const float score = arguments.partials[span * arguments.span_stride];
    // A score that is NaN wins, and the result is NaN.
    if (!(score <= most)) most = score;
  }
  const auto weight = [&](float score) { return exp(sub(set(score), set(most))); };
  F total = set(0.0f);
  for (uint32_t span = 0; span < arguments.spans; ++span) {
    const float* partial = arguments.partials + span * arguments.span_stride;
    total = fma(weight(partial[0]), set(partial[1]), total);
  }
  if (arguments.sink != nullptr) total = add(total, weight(*arguments.sink));
  each_vector(arguments.value_width, [&](size_t at, size_t count) {
    F sum = set(0.0f);
    for (uint32_t span = 0; span < arguments.spans; ++span) {
      const float* partial = arguments.partials + span * arguments.span_stride;
      sum = fma(weight(partial[0]), load(partial + lanes + at), sum);
    }
    store_n(arguments.out + at, div(sum, total), count);
  });
}

template <CacheType Type>
ALWAYS_INLINE void write_position(const CacheWriteArguments& arguments) {
  using Element = decltype([] {
    if constexpr (Type == CacheType::f32) return float{};
    else return uint16_t{};
  }());
  const CacheHead& head = arguments.head;
  auto* keys = reinterpret_cast<Element*>(arguments.block + head.key_offset);
  auto* values = reinterpret_cast<Element*>(arguments.block + head.value_offset);
  values += size_t{arguments.place} * value_stride(head.value_width);
  const auto put = [](Element* to, F v) {
    if constexpr (Type == CacheType::f32) store(to, v);
    else store_bf16(to, v);
  };
  each_vector(head.key_width, [&](size_t at, size_t count) {
    Element some[lanes];
    put(some, load_n(arguments.key + at, count));
    for (size_t i = 0; i < count; ++i) keys[(at + i) * lanes + arguments.place] = some[i];
  });
  each_vector(head.value_width, [&](size_t at, size_t count) {
    put(values + at, load_n(arguments.value + at, count));
  });
}

void write_cache(const CacheWriteArguments& arguments) {
  if (arguments.head.type == CacheType::f32) return write_position<CacheType::f32>(arguments);
  write_position<CacheType::bf16>(arguments);
}
