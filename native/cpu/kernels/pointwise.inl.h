// What is done to each value by itself, and the largest of many.

/// Calls function(at, count) for 16 values at a time, the last time for fewer.
template <class Function>
ALWAYS_INLINE void each_vector(size_t count, Function function) {
  for (size_t at = 0; at < count; at += lanes) {
    function(at, count - at < lanes ? count - at : size_t{lanes});
  }
}

template <class Function>
ALWAYS_INLINE void activate_with(const ActivateArguments& arguments, Function function) {
  each_vector(arguments.count, [&](size_t at, size_t count) ALWAYS_INLINE_LAMBDA {
    F value = function(load_n(arguments.gate + at, count));
    if (arguments.up != nullptr) value = mul(value, load_n(arguments.up + at, count));
    store_n(arguments.out + at, value, count);
  });
}

void activate(const ActivateArguments& arguments) {
  const auto relu = [](F x) ALWAYS_INLINE_LAMBDA { return max(set(0.0f), x); };
  switch (arguments.kind) {
    case ActivationKind::silu: return activate_with(arguments, [](F x) { return silu(x); });
    case ActivationKind::gelu: return activate_with(arguments, [](F x) { return gelu(x); });
    case ActivationKind::gelu_tanh:
      return activate_with(arguments, [](F x) { return gelu_tanh(x); });
    case ActivationKind::relu: return activate_with(arguments, relu);
    case ActivationKind::relu_squared:
      return activate_with(arguments, [&](F x) { return mul(relu(x), relu(x)); });
  }
}

void add_scaled(const AddArguments& arguments) {
  each_vector(arguments.count, [&](size_t at, size_t count) ALWAYS_INLINE_LAMBDA {
    const F a = load_n(arguments.a + at, count), b = load_n(arguments.b + at, count);
    store_n(arguments.out + at, fma(set(arguments.scale_b), b, a), count);
  });
}

ALWAYS_INLINE F capped(F value, float cap) {
  return mul(set(cap), tanh(div(value, set(cap))));
}

void softcap(const SoftcapArguments& arguments) {
  each_vector(arguments.count, [&](size_t at, size_t count) ALWAYS_INLINE_LAMBDA {
    F value = mul(load_n(arguments.values + at, count), set(arguments.scale));
    if (arguments.cap != 0.0f) value = capped(value, arguments.cap);
    store_n(arguments.values + at, value, count);
  });
}

void round_all(const RoundArguments& arguments) {
  each_vector(arguments.count, [&](size_t at, size_t count) ALWAYS_INLINE_LAMBDA {
    const F value = load_n(arguments.values + at, count);
    if (count == lanes) return store_bf16(arguments.halves + at, value);
    uint16_t last[lanes];
    store_bf16(last, value);
    for (size_t i = 0; i < count; ++i) arguments.halves[at + i] = last[i];
  });
}

void widen_all(const WidenArguments& arguments) {
  each_vector(arguments.count, [&](size_t at, size_t count) ALWAYS_INLINE_LAMBDA {
    if (count == lanes) return store(arguments.values + at, load_bf16(arguments.halves + at));
    uint16_t last[lanes] = {};
    for (size_t i = 0; i < count; ++i) last[i] = arguments.halves[at + i];
    store_n(arguments.values + at, load_bf16(last), count);
  });
}

/// Each lane keeps the first largest of its own values; indexes are exact as floats below 2^24, so
/// they are those of vectors.
Largest largest(const float* values, size_t count) {
  F best = set(-__builtin_inff()), where = set(0.0f), poison = set(0.0f);
  each_vector(count, [&](size_t at, size_t some) ALWAYS_INLINE_LAMBDA {
    const F value = load_n(values + at, some);
    poison = fma(value, set(0.0f), poison);
    F usable = value;
    if (some < lanes) {
      usable = select_less(iota(), set(static_cast<float>(some)), value, set(-__builtin_inff()));
    }
    where = select_less(best, usable, set(static_cast<float>(at / lanes)), where);
    best = max(usable, best);
  });
  float candidates[lanes], vectors[lanes];
  store(candidates, best);
  store(vectors, where);
  Largest out = {candidates[0], static_cast<uint32_t>(vectors[0]) * lanes, hsum(poison) == 0.0f};
  for (uint32_t lane = 1; lane < lanes; ++lane) {
    const uint32_t index = static_cast<uint32_t>(vectors[lane]) * lanes + lane;
    const bool earlier = candidates[lane] == out.value && index < out.index;
    if (candidates[lane] > out.value || earlier) {
      out.value = candidates[lane];
      out.index = index;
    }
  }
  return out;
}
