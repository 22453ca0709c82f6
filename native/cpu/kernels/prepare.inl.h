// Rows of activations before a matmul: int8 codes in groups of 32, or sums of groups alone.

/// NaN where a value is not finite, else zero.
ALWAYS_INLINE float poison_of(F low, F high) {
  return hsum(fma(high, set(0.0f), mul(low, set(0.0f))));
}

/// Codes and record of 32 values. Their range is cut at zero, so that the middle of it is no more
/// than 127 scales away. A group whose range is below 2^-100 counts as zeros: 1 / scale would
/// overflow.
ALWAYS_INLINE void quantize_group(F low, F high, int8_t* codes, GroupRecord& record) {
  const F zero = set(0.0f);
  const float most = hmax(max(max(low, high), zero));
  const float least = -hmax(max(sub(zero, min(low, high)), zero));
  const float range = most - least;
  const bool usable = range > 0x1p-100f && range < __builtin_inff();
  const float inverse = usable ? 254.0f / range : 0.0f;
  const I middle = to_i32(set(usable ? 0.5f * (most + least) * inverse : 0.0f));
  // A NaN is dropped by min and max, whose first operand it is.
  const auto code = [&](F v) ALWAYS_INLINE_LAMBDA {
    const F scaled = sub(mul(v, set(inverse)), to_f32(middle));
    return to_i32(min(max(scaled, set(-127.0f)), set(127.0f)));
  };
  const I low_codes = code(low), high_codes = code(high);
  store_i8(codes, low_codes);
  store_i8(codes + 16, high_codes);
  const F low_whole = to_f32(add_i(low_codes, middle));
  const F high_whole = to_f32(add_i(high_codes, middle));
  const float sums[2] = {hsum(low_whole), hsum(high_whole)};
  record.scale = usable ? range / 254.0f : range * 0.0f;
  record.sum = record.scale * (sums[0] + sums[1]);
  for (int half = 0; half < 2; ++half) {
    record.half_sums[half] = record.scale * sums[half];
    record.code_sums[half] = static_cast<int32_t>(sums[half]);
  }
  record.middle = static_cast<int32_t>(first(to_f32(middle)));
}

void quantize_rows(const PrepareArguments& arguments) {
  const uint32_t groups = arguments.inputs / activation_group;
  for (uint32_t row = 0; row < arguments.rows; ++row) {
    const float* in = arguments.in + row * arguments.in_stride;
    int8_t* codes = arguments.codes + size_t{row} * arguments.inputs;
    GroupRecord* records = arguments.groups + size_t{row} * groups;
    const F zero = set(0.0f);
    F poison = zero;
    for (uint32_t group = 0; group < groups; ++group) {
      const size_t at = size_t{group} * activation_group;
      const F low = load(in + at), high = load(in + at + 16);
      poison = fma(high, zero, fma(low, zero, poison));
      quantize_group(low, high, codes + at, records[group]);
    }
    // A value that is not finite makes the row's products NaN, whichever group it is in.
    records[0].scale += hsum(poison);
  }
}

void sum_groups(const PrepareArguments& arguments) {
  const uint32_t groups = arguments.inputs / activation_group;
  for (uint32_t row = 0; row < arguments.rows; ++row) {
    const float* in = arguments.in + row * arguments.in_stride;
    GroupRecord* records = arguments.groups + size_t{row} * groups;
    for (uint32_t group = 0; group < groups; ++group, in += activation_group) {
      const float low = hsum(load(in)), high = hsum(load(in + 16));
      records[group] = {0.0f, low + high, {low, high}, {0, 0}, 0};
    }
  }
}
