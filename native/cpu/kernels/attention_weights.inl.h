// Scores of a tile become weights, and these, each times its position's scale of values, codes.

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

/// The queries of a tile side by side: while the sums of one wait, those of another go on, and
/// they share what belongs to positions.
template <int Queries>
struct WeightCodes {
  int8_t codes[2 * Queries][span_positions];
  int32_t sums[2 * Queries];
  float scale[Queries];  // of the low parts
  float low[Queries];    // what the positions' lows come to

  ALWAYS_INLINE void take(const AttentionArguments& arguments, const View<Queries>& view,
                          const Reading& reading, Tile<Queries>& tile) {
    mask(arguments, view, tile);
    weigh_values(arguments, view, reading, tile);
    encode(view, reading, tile);
  }

 private:
  /// `values`, which belong to positions from `at` on, where query q sees these, else `other`.
  static ALWAYS_INLINE F seen(const View<Queries>& view, uint32_t q, uint32_t at, F values,
                              F other) {
    // Small numbers: positions may be more than a float holds.
    const uint32_t begin = at / span_positions * span_positions;
    const F place = add(iota(), set(static_cast<float>(at - begin)));
    const F first = set(static_cast<float>(view.visible[q].first - begin));
    const F end = set(static_cast<float>(view.visible[q].end - begin));
    return select_less(place, first, other, select_less(place, end, values, other));
  }

  /// Scales, caps and masks the scores, and finds each query's largest.
  static ALWAYS_INLINE void mask(const AttentionArguments& arguments, const View<Queries>& view,
                                 Tile<Queries>& tile) {
    const F hidden = set(-__builtin_inff());
    F most[Queries];
    EACH_ROW(q, Queries) most[q] = hidden;
    for (uint32_t at = view.blocks.first; at < view.blocks.end; at += lanes) {
      const bool edge = !view.all_see(at);
      EACH_ROW(q, Queries) {
        float* scores = tile.weights[q] + at % span_positions;
        F score = mul(load(scores), set(arguments.scale));
        if (arguments.softcap != 0.0f) score = capped(score, arguments.softcap);
        if (edge) score = seen(view, q, at, score, hidden);
        store(scores, score);
        most[q] = max(most[q], score);
      }
    }
    EACH_ROW(q, Queries) tile.partials[q][0] = hmax(most[q]);
  }

  /// Makes weights of scores, adds them up, and multiplies them with the scales of the values.
  /// What lies at positions that a query does not see may be anything.
  ALWAYS_INLINE void weigh_values(const AttentionArguments& arguments, const View<Queries>& view,
                                  const Reading& reading, Tile<Queries>& tile) {
    const size_t offset = arguments.head.value_offset +
                          size_t{value_stride(arguments.head.value_width)} * lanes;
    const F zero = set(0.0f);
    F most[Queries], sum[Queries], largest[Queries], lows[Queries];
    EACH_ROW(q, Queries) {
      most[q] = set(tile.partials[q][0]);
      sum[q] = largest[q] = lows[q] = zero;
    }
    for (uint32_t at = view.blocks.first; at < view.blocks.end; at += lanes) {
      reading.ask_next(at % span_positions / lanes, 0);
      const bool edge = !view.all_see(at);
      const auto* factors =
          reinterpret_cast<const uint16_t*>(arguments.blocks[at / lanes] + offset);
      const F value_scale = load_bf16(factors), value_low = load_bf16(factors + lanes);
      EACH_ROW(q, Queries) {
        float* weights = tile.weights[q] + at % span_positions;
        F weight = exp_of_negative(sub(load(weights), most[q]));
        F scaled = mul(weight, value_scale), low = fma(weight, value_low, lows[q]);
        if (edge) {
          weight = seen(view, q, at, weight, zero);
          scaled = seen(view, q, at, scaled, zero);
          low = seen(view, q, at, low, lows[q]);
        }
        sum[q] = add(sum[q], weight);
        lows[q] = low;
        largest[q] = max(largest[q], scaled);
        store(weights, scaled);
      }
    }
    EACH_ROW(q, Queries) {
      tile.partials[q][1] = hsum(sum[q]);
      low[q] = hsum(lows[q]);
      scale[q] = hmax(largest[q]);
    }
  }

  ALWAYS_INLINE void encode(const View<Queries>& view, const Reading& reading,
                            Tile<Queries>& tile) {
    float inverse[Queries];
    F high_sum[Queries], low_sum[Queries];
    EACH_ROW(q, Queries) {
      inverse[q] = inverse_of(scale[q]);
      scale[q] /= 127.0f * 128.0f;
      high_sum[q] = low_sum[q] = set(0.0f);
    }
    for (uint32_t at = view.blocks.first; at < view.blocks.end; at += lanes) {
      const uint32_t place = at % span_positions;
      reading.ask_next(place / lanes, 1);
      EACH_ROW(q, Queries) {
        const Parts parts = parts_of(load(tile.weights[q] + place), inverse[q]);
        store_i8(codes[q] + place, parts.high);
        store_i8(codes[Queries + q] + place, parts.low);
        high_sum[q] = add(high_sum[q], to_f32(parts.high));
        low_sum[q] = add(low_sum[q], to_f32(parts.low));
      }
    }
    EACH_ROW(q, Queries) {
      sums[q] = static_cast<int32_t>(hsum(high_sum[q]));
      sums[Queries + q] = static_cast<int32_t>(hsum(low_sum[q]));
    }
  }
};
