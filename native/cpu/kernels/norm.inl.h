// Norms of rows and the turning of heads.

/// Sum of function(16 values) over a row: even and odd vectors by themselves, then halves.
template <class Function>
ALWAYS_INLINE float row_sum(const float* in, uint32_t width, Function function) {
  F sums[2] = {set(0.0f), set(0.0f)};
  uint32_t at = 0;
  for (; at + 2 * lanes <= width; at += 2 * lanes) {
    sums[0] = function(load(in + at), sums[0]);
    sums[1] = function(load(in + at + lanes), sums[1]);
  }
  for (int odd = 0; at < width; at += lanes, odd = 1) {
    const size_t count = width - at < lanes ? width - at : lanes;
    sums[odd] = function(load_n(in + at, count), sums[odd]);
  }
  return hsum(add(sums[0], sums[1]));
}

/// Sum of squared distances from the mean. What is behind the row's end would count as zeros, so it
/// is given the mean's own value.
ALWAYS_INLINE float squared_distances(const float* in, uint32_t width, float mean) {
  const F centre = set(mean);
  const uint32_t whole = width / lanes * lanes;
  F sums[2] = {set(0.0f), set(0.0f)};
  for (uint32_t at = 0; at < whole; at += lanes) {
    const F distance = sub(load(in + at), centre);
    F& sum = sums[at / lanes % 2];
    sum = fma(distance, distance, sum);
  }
  if (whole < width) {
    const F rest = load_n(in + whole, width - whole);
    const F inside = set(static_cast<float>(width - whole));
    const F distance = sub(select_less(iota(), inside, rest, centre), centre);
    F& sum = sums[whole / lanes % 2];
    sum = fma(distance, distance, sum);
  }
  return hsum(add(sums[0], sums[1]));
}

void norm_row(const NormArguments& arguments, const float* in, float* out) {
  const auto width = static_cast<float>(arguments.width);
  float mean = 0.0f, squares = 0.0f;
  if (arguments.kind == NormKind::layer) {
    mean = row_sum(in, arguments.width, [](F v, F sum) { return add(sum, v); }) / width;
    squares = squared_distances(in, arguments.width, mean);
  } else {
    squares = row_sum(in, arguments.width, [](F v, F sum) { return fma(v, v, sum); });
  }
  const F inverse = div(set(1.0f), sqrt(set(squares / width + arguments.epsilon)));
  each_vector(arguments.width, [&](size_t at, size_t count) ALWAYS_INLINE_LAMBDA {
    F value = load_n(in + at, count);
    if (arguments.kind == NormKind::layer) value = sub(value, set(mean));
    value = mul(value, inverse);
    if (arguments.weight != nullptr) {
      const F weight = load_n(arguments.weight + at, count);
      value = mul(value, add(weight, set(arguments.weight_offset)));
    }
    if (arguments.bias != nullptr) value = add(value, load_n(arguments.bias + at, count));
    store_n(out + at, value, count);
  });
}

void norm(const NormArguments& arguments) {
  for (uint32_t row = 0; row < arguments.rows; ++row) {
    norm_row(arguments, arguments.in + row * arguments.in_stride,
             arguments.out + row * arguments.out_stride);
  }
}

void rope(const RopeArguments& arguments) {
  const uint32_t pairs = arguments.width / 2;
  for (uint32_t head = 0; head < arguments.heads; ++head) {
    float* values = arguments.values + head * arguments.head_stride;
    if (arguments.traditional) {
      for (uint32_t i = 0; i < pairs; ++i) {
        const float a = values[2 * i], b = values[2 * i + 1];
        values[2 * i] = a * arguments.cosines[i] - b * arguments.sines[i];
        values[2 * i + 1] = b * arguments.cosines[i] + a * arguments.sines[i];
      }
      continue;
    }
    each_vector(pairs, [&](size_t at, size_t count) ALWAYS_INLINE_LAMBDA {
      float *first = values + at, *second = values + pairs + at;
      const F a = load_n(first, count), b = load_n(second, count);
      const F c = load_n(arguments.cosines + at, count), s = load_n(arguments.sines + at, count);
      store_n(first, sub(mul(a, c), mul(b, s)), count);
      store_n(second, add(mul(b, c), mul(a, s)), count);
    });
  }
}
