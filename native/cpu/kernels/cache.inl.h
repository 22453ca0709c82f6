// Writing one position of a key head into its block.

/// `count` values as bytes: low + scale * code.
struct ByteCodes {
  float scale, low;
  float inverse;

  /// Of vectors from `smallest` to `largest`, whose `poison` is NaN where one is not finite.
  ALWAYS_INLINE ByteCodes(F smallest, F largest, float poison) {
    uint16_t stored[lanes];
    const float bottom = -hmax(sub(set(0.0f), smallest));
    store_bf16(stored, set(bottom));
    low = lane_of_bf16(stored);
    // What is stored decides the codes, so that its rounding is no error of its own; a scale that
    // was rounded down would cut the largest value off.
    store_bf16(stored, set((hmax(largest) - low) * (257.0f / 256.0f / 255.0f)));
    scale = lane_of_bf16(stored);
    inverse = scale > 0x1p-100f ? 1.0f / scale : 0.0f;
    low += poison;
  }
  /// A NaN is dropped by max, whose first operand it is.
  ALWAYS_INLINE void write(F values, uint8_t (&codes)[lanes]) const {
    const F code = mul(sub(values, set(low)), set(inverse));
    store_i8(reinterpret_cast<int8_t*>(codes), to_i32(min(max(code, set(0.0f)), set(255.0f))));
  }
  /// Into 16 scales and 16 lows.
  ALWAYS_INLINE void write_factors(uint8_t* to, uint32_t place) const {
    uint16_t stored[lanes];
    auto* factors = reinterpret_cast<uint16_t*>(to);
    store_bf16(stored, set(scale));
    factors[place] = stored[0];
    store_bf16(stored, set(low));
    factors[lanes + place] = stored[0];
  }

  static ALWAYS_INLINE float lane_of_bf16(const uint16_t* stored) {
    float all[lanes];
    store(all, load_bf16(stored));
    return all[0];
  }
};

/// 16 values, of which those from `count` on repeat the first.
ALWAYS_INLINE F load_filled(const float* from, size_t count) {
  if (count >= lanes) return load(from);
  return select_less(iota(), set(static_cast<float>(count)), load_n(from, count), set(*from));
}

ALWAYS_INLINE void write_key_bytes(const CacheWriteArguments& arguments) {
  uint8_t* to = arguments.block + arguments.head.key_offset;
  const uint32_t width = arguments.head.key_width;
  for (uint32_t channel = 0; channel < width; channel += key_group) {
    const float* in = arguments.key + channel;
    const uint32_t count = width - channel < key_group ? width - channel : key_group;
    const F low = load_filled(in, count);
    const F high = count > lanes ? load_filled(in + lanes, count - lanes) : low;
    const ByteCodes group(min(low, high), max(low, high), poison_of(low, high));
    uint8_t codes[2][lanes];
    group.write(low, codes[0]);
    group.write(high, codes[1]);
    const uint32_t quads = (count + 3) / 4;
    for (uint32_t quad = 0; quad < quads; ++quad) {
      __builtin_memcpy(to + quad * 64 + arguments.place * 4, codes[0] + 4 * quad, 4);
    }
    group.write_factors(to + 64 * quads, arguments.place);
    to += 64 * quads + cache_factor_bytes;
  }
}

ALWAYS_INLINE void write_value_bytes(const CacheWriteArguments& arguments) {
  uint8_t* to = arguments.block + arguments.head.value_offset;
  const uint32_t width = arguments.head.value_width, place = arguments.place;
  F smallest = load_filled(arguments.value, width), largest = smallest;
  float poison = 0.0f;
  each_vector(width, [&](size_t at, size_t count) ALWAYS_INLINE_LAMBDA {
    const F values = load_filled(arguments.value + at, count);
    smallest = min(smallest, values);
    largest = max(largest, values);
    poison += poison_of(values, values);
  });
  const ByteCodes position(smallest, largest, poison);
  each_vector(width, [&](size_t at, size_t count) ALWAYS_INLINE_LAMBDA {
    uint8_t codes[lanes];
    position.write(load_filled(arguments.value + at, count), codes);
    uint8_t* four = to + at * lanes + place / 4 * 64 + place % 4;
    for (uint32_t lane = 0; lane < lanes; ++lane) four[4 * lane] = codes[lane];
  });
  position.write_factors(to + size_t{value_stride(width)} * lanes, place);
}

ALWAYS_INLINE void write_floats(const CacheWriteArguments& arguments) {
  const CacheHead& head = arguments.head;
  auto* keys = reinterpret_cast<float*>(arguments.block + head.key_offset);
  auto* values = reinterpret_cast<float*>(arguments.block + head.value_offset);
  values += size_t{arguments.place} * value_stride(head.value_width);
  for (uint32_t i = 0; i < head.key_width; ++i) {
    keys[i * lanes + arguments.place] = arguments.key[i];
  }
  each_vector(head.value_width, [&](size_t at, size_t count) ALWAYS_INLINE_LAMBDA {
    store(values + at, load_n(arguments.value + at, count));
  });
}

void write_cache(const CacheWriteArguments& arguments) {
  if (arguments.head.type == CacheType::f32) return write_floats(arguments);
  write_key_bytes(arguments);
  write_value_bytes(arguments);
}
