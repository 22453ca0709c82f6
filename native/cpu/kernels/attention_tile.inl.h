// Attention over one span of positions: what a tile of queries works on, and how scores become
// weights. A query's result depends on its own position alone, not on what else a call computes;
// queries side by side share loads of keys and values.

/// Most queries that share loads of keys and values.
inline constexpr int query_tile = 4;

/// Some queries of a call: consecutive in the order of (token, head).
template <int Queries>
struct Tile {
  const float* queries[Queries];
  float* partials[Queries];
  float weights[Queries][span_positions];  // scores, then their exponentials
};

ALWAYS_INLINE uint32_t lesser(uint32_t a, uint32_t b) { return a < b ? a : b; }
ALWAYS_INLINE uint32_t greater(uint32_t a, uint32_t b) { return a > b ? a : b; }

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

/// What the queries of a tile see.
template <int Queries>
struct View {
  Visible visible[Queries];
  Visible shared;  // by all of them
  Visible blocks;  // whole blocks that any of them sees a part of

  /// Whether the block at position `at` is seen whole by every query.
  ALWAYS_INLINE bool all_see(uint32_t at) const {
    return at >= shared.first && at + lanes <= shared.end;
  }
};

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
