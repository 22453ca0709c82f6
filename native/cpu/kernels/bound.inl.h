// What a panel's outputs cannot exceed, from the upper 5 bits of split8 alone: the product of those
// bits plus the most that the 3 lower ones can add. 5.5 bits a weight are read instead of 8.5.

/// The largest of the lower codes, and of a code's magnitude.
constexpr float most_lower = 7, most_code = 128;

/// Twice over what a sum of so many groups can lose to rounding, in parts of the sum of magnitudes:
/// a product and a sum a group, each off by 2^-24 at most, for both sums that are compared.
inline float rounding_share(uint32_t groups) { return static_cast<float>(groups + 8) * 0x1p-22f; }

void find_margins(const MarginArguments& arguments) {
  const uint32_t groups = arguments.inputs / activation_group;
  const float share = most_code * rounding_share(groups);
  for (size_t at = 0; at < size_t{arguments.rows} * groups; ++at) {
    const GroupRecord& record = arguments.groups[at];
    const int8_t* codes = arguments.codes + at * activation_group;
    int32_t above = 0, below = 0;
    for (uint32_t i = 0; i < activation_group; ++i) {
      const int32_t value = codes[i] + record.middle;
      above += value > 0 ? value : 0;
      below += value < 0 ? -value : 0;
    }
    const float positive = record.scale * static_cast<float>(above);
    const float negative = record.scale * static_cast<float>(below);
    const float lost = share * (positive + negative);
    arguments.margins[at] = {most_lower * positive + lost, most_lower * negative + lost};
  }
}

template <int Rows>
void bound_tile(const BoundArguments& arguments, uint32_t row, uint32_t panel) {
  const PackedWeight& weight = *arguments.weight;
  const size_t groups = weight.inputs / activation_group;
  const RowsAt rows = {arguments.codes + size_t{row} * weight.inputs, nullptr, 0,
                       arguments.groups + row * groups, weight.inputs};
  const Margin* margins = arguments.margins + row * groups;
  F sums[Rows], rest[Rows];
  EACH_ROW(i, Rows) sums[i] = rest[i] = set(0.0f);
  each_scaled_group<Signed<5>>(
      weight, panel_at(weight, panel),
      [&](const uint8_t* codes, uint32_t group, const Factors<1>& factors) ALWAYS_INLINE_LAMBDA {
        fast_group<Signed<5>, Rows>(codes, factors, group, rows, sums);
        EACH_ROW(i, Rows) {
          const Margin& margin = margins[i * groups + group];
          rest[i] = add(rest[i], max(mul(factors.scale[0], set(margin.positive)),
                                     mul(factors.scale[0], set(-margin.negative))));
        }
      });
  EACH_ROW(i, Rows) {
    const F most = fma(sums[i], set(8.0f), rest[i]);
    const bool finite = hsum(mul(most, set(0.0f))) == 0.0f;
    arguments.bounds[(row + i) * arguments.bound_stride + panel] =
        finite ? hmax(most) : __builtin_inff();
  }
}

void bound(const BoundArguments& arguments) {
  for (uint32_t i = 0; i < arguments.panel_count; ++i) {
    each_tile<row_tile>(0, arguments.rows, [&]<int Rows>(uint32_t row) {
      bound_tile<Rows>(arguments, row, arguments.first_panel + i);
    });
  }
}
