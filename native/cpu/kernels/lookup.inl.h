// Rows out of a packed matrix: embeddings.

inline float lane_of(F v, uint32_t lane) {
  float all[lanes];
  store(all, v);
  return all[lane];
}

void lookup_dense(const LookupArguments& arguments) {
  const PackedWeight& weight = *arguments.weight;
  const uint8_t* at = panel_at(weight, arguments.row / lanes);
  with_dense_format(weight.format, [&]<PackedFormat Format>() {
    for (uint32_t i = 0; i < weight.inputs; ++i, at += dense_step<Format>) {
      const float value = lane_of(load_dense<Format>(at), arguments.row % lanes);
      arguments.out[i] = value * arguments.scale;
    }
  });
}

/// Four inputs of one output. Two roundings where there is a bias, as load::dequantize.
template <class Format>
ALWAYS_INLINE void lookup_quad(I four, float scale, float bias, uint32_t lane, float factor,
                               float* out) {
  uint32_t words[lanes];
  store_i(words, four);
  for (int byte = 0; byte < 4; ++byte) {
    const auto code = static_cast<int32_t>((words[lane] >> (8 * byte)) & 255);
    float value = scale * static_cast<float>(code - Format::zero);
    if constexpr (Format::has_bias) value = value + bias;
    out[byte] = value * factor;
  }
}

void lookup(const LookupArguments& arguments) {
  const PackedWeight& weight = *arguments.weight;
  if (is_dense(weight.format)) return lookup_dense(arguments);
  const uint32_t lane = arguments.row % lanes;
  with_format(weight.format, [&]<class Format>() {
    each_group<Format>(
        weight, panel_at(weight, arguments.row / lanes),
        [&](auto codes, uint32_t group, const Factors<Format::halves>& factors) {
          float* out = arguments.out + size_t{group} * activation_group;
          repeat<0, 8>([&]<int Quad>() {
            constexpr int half = Quad * Format::halves / 8;
            float bias = 0.0f;
            if constexpr (Format::has_bias) bias = lane_of(factors.bias[half], lane);
            lookup_quad<Format>(Format::template codes<Quad>(codes),
                                lane_of(factors.scale[half], lane), bias, lane, arguments.scale,
                                out + 4 * Quad);
          });
        });
  });
}
