// Attention of all queries of a call, tile by tile, and the merging of spans.

/// Begins a tile's queries from `query` on; returns what they see.
template <int Queries>
ALWAYS_INLINE View<Queries> begin_tile(const AttentionArguments& arguments, uint32_t query,
                                       Tile<Queries>& tile) {
  const uint32_t begin = arguments.span * span_positions;
  const uint32_t width = value_stride(arguments.head.value_width);
  View<Queries> view = {{}, {0, ~0u}, {~0u, 0}};
  for (int i = 0; i < Queries; ++i) {
    const uint32_t token = (query + i) / arguments.heads, head = (query + i) % arguments.heads;
    tile.queries[i] =
        arguments.queries + token * arguments.token_stride + head * arguments.head_stride;
    tile.partials[i] = arguments.partials + (query + i) * (lanes + size_t{width});
    for (uint32_t at = 0; at < lanes + width; ++at) tile.partials[i][at] = 0.0f;
    tile.partials[i][0] = -__builtin_inff();
    Visible& visible = view.visible[i];
    visible = visible_to(arguments, arguments.first_position + token);
    if (visible.end <= visible.first) {
      visible = {begin, begin};
    } else {
      view.blocks.first = lesser(view.blocks.first, visible.first);
      view.blocks.end = greater(view.blocks.end, visible.end);
    }
    view.shared.first = greater(view.shared.first, visible.first);
    view.shared.end = lesser(view.shared.end, visible.end);
  }
  return view;
}

template <CacheType Type, int Queries>
void attend_tile(const AttentionArguments& arguments, uint32_t query) {
  Tile<Queries> tile;
  View<Queries> view = begin_tile(arguments, query, tile);
  const uint32_t end = view.blocks.end;
  if (end <= view.blocks.first) return;
  view.blocks = {view.blocks.first / lanes * lanes, (end + lanes - 1) / lanes * lanes};
  if constexpr (Type == CacheType::f32) {
    score_floats<Queries>(arguments, view.blocks, tile);
    for (int i = 0; i < Queries; ++i) {
      if (view.visible[i].end > view.visible[i].first) {
        weigh(arguments, view.blocks, view.visible[i], tile.weights[i], tile.partials[i]);
      } else {
        for (uint32_t at = 0; at < span_positions; ++at) tile.weights[i][at] = 0.0f;
      }
    }
    gather_floats<Queries>(arguments, view.blocks, end, tile);
  } else {
    const Reading reading = {arguments, query == 0};
    score_bytes<Queries>(arguments, view.blocks, reading, tile);
    gather_bytes<Queries>(arguments, view, reading, tile);
  }
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
  attend_all<CacheType::u8>(arguments);
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
