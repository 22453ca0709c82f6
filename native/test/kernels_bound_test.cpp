// Bounds of split8: over every output of their panel whatever the numbers, no farther from it than
// the lower bits can bring them, the same bits by every set, and a row beside others as alone.
// --set NAME: that set only; --seed N.
#include <algorithm>
#include <cmath>
#include <limits>

#include "check.h"
#include "cpu/dispatch.h"
#include "kernels_matrices.h"

namespace cidery::test {
namespace {

using cpu::Kernels;

const FileFormat& split_format() {
  static const std::vector<FileFormat> all = file_formats();
  return *std::ranges::find(all, "Q8_0_split", &FileFormat::name);
}

struct Rows {
  Guarded<int8_t> codes;
  Guarded<cpu::GroupRecord> groups;
  Guarded<cpu::Margin> margins;

  Rows(const Kernels& kernels, std::vector<float> values, uint32_t rows, uint32_t inputs)
      : codes(values.size()), groups(values.size() / 32), margins(values.size() / 32) {
    kernels.quantize_rows({values.data(), inputs, rows, inputs, codes.data(), groups.data()});
    kernels.find_margins({codes.data(), groups.data(), rows, inputs, margins.data()});
  }
};

Guarded<float> bounds_of(const Kernels& kernels, const PackedMatrix& matrix, const Rows& in,
                         uint32_t first_row, uint32_t rows) {
  const uint32_t panels = cpu::panel_count(matrix.weight.outputs), half = panels / 2;
  const uint32_t inputs = matrix.weight.inputs;
  Guarded<float> out(size_t{rows} * panels);
  const size_t skipped = size_t{first_row} * (inputs / 32);
  const auto bound = [&](uint32_t first, uint32_t count) {
    kernels.bound({&matrix.weight, first, count, rows,
                   in.codes.data() + size_t{first_row} * inputs, in.groups.data() + skipped,
                   in.margins.data() + skipped, out.data(), panels});
  };
  // In two calls, as two threads would.
  bound(0, half);
  bound(half, panels - half);
  return out;
}

std::vector<float> products_of(const Kernels& kernels, const PackedMatrix& matrix, const Rows& in,
                               uint32_t rows) {
  const cpu::PackedWeight& weight = matrix.weight;
  std::vector<float> out(size_t{rows} * weight.outputs);
  cpu::MatmulArguments arguments = {};
  arguments.weight = &weight;
  arguments.panel_count = cpu::panel_count(weight.outputs);
  arguments.rows = rows;
  arguments.codes = in.codes.data();
  arguments.groups = in.groups.data();
  arguments.out = out.data();
  arguments.out_stride = weight.outputs;
  kernels.matmul_fast(arguments);
  return out;
}

/// The most by which a bound may be above the largest of a panel: seven parts of 128 of what the
/// scales make of the values, and nearly as much again as the upper bits are all rounded down.
double slack_of(const RawMatrix& raw, const Rows& in, uint32_t row, uint32_t panel) {
  const uint32_t inputs = raw.layout.inputs, groups = inputs / 32;
  double most = 0;
  for (uint32_t o = panel * 16; o < std::min(panel * 16 + 16, raw.layout.outputs); ++o) {
    double sum = 0;
    for (uint32_t group = 0; group < groups; ++group) {
      uint16_t half;
      std::memcpy(&half, raw.weight.data() + (size_t{o} * groups + group) * 34, 2);
      const auto exponent = static_cast<int>(half >> 10 & 31);
      const double scale = std::ldexp(1.0 + (half & 1023) / 1024.0, exponent - 15);
      for (uint32_t i = 0; i < 32; ++i) {
        const cpu::GroupRecord& record = in.groups[size_t{row} * groups + group];
        const double value =
            record.scale * (in.codes[size_t{row} * inputs + group * 32 + i] + record.middle);
        sum += scale * std::fabs(value);
      }
    }
    most = std::max(most, sum);
  }
  return most * 7.01;
}

void check_matrix(const std::vector<const Kernels*>& sets, uint32_t rows, uint32_t outputs,
                  uint32_t inputs, Random& random) {
  const RawMatrix raw = random_matrix(split_format(), outputs, inputs, random);
  const PackedMatrix matrix(raw);
  std::vector<float> values = random_values(size_t{rows} * inputs, random);
  for (size_t i = 0; i < values.size(); i += 97) values[i] *= 50.0f;  // outliers
  const Kernels& plain = cpu::choose_kernels("plain");
  const Rows by_plain(plain, values, rows, inputs);
  const Guarded<float> expected = bounds_of(plain, matrix, by_plain, 0, rows);
  const uint32_t panels = cpu::panel_count(outputs);
  for (const Kernels* set : sets) {
    const Rows own(*set, values, rows, inputs);
    check(own.margins.same_bits(by_plain.margins), std::string(set->name) + ": other margins");
    const Guarded<float> bounds = bounds_of(*set, matrix, own, 0, rows);
    check(bounds.same_bits(expected), std::string(set->name) + ": other bounds than plain");
    const std::vector<float> products = products_of(*set, matrix, own, rows);
    bool above = true, near = true, alike = true;
    for (uint32_t row = 0; row < rows; ++row) {
      const Guarded<float> alone = bounds_of(*set, matrix, own, row, 1);
      for (uint32_t panel = 0; panel < panels; ++panel) {
        const float bound = bounds[size_t{row} * panels + panel];
        const float* first = products.data() + size_t{row} * outputs + panel * 16;
        const float largest = *std::max_element(first, first + std::min(16u, outputs - panel * 16));
        above &= bound >= largest;
        // Lanes behind the last output count as zeros.
        near &= bound - std::max(largest, 0.0f) <= slack_of(raw, own, row, panel);
        alike &= alone[panel] == bound;
      }
    }
    check(above, std::string(set->name) + ": an output is above its bound");
    check(near, std::string(set->name) + ": a bound is farther off than the lower bits reach");
    check(alike, std::string(set->name) + ": a row alone has other bounds");
  }
}

/// The largest that there can be: all codes at an end, values of one sign, where rounding counts.
void check_extremes(const std::vector<const Kernels*>& sets) {
  const uint32_t inputs = 4096, outputs = 16;
  for (const int code : {-128, -121, 7, 120, 127}) {
    Random random(3);
    RawMatrix raw = random_matrix(split_format(), outputs, inputs, random);
    for (size_t block = 0; block < raw.weight.size(); block += 34) {
      std::fill_n(raw.weight.begin() + static_cast<ptrdiff_t>(block) + 2, 32,
                  static_cast<std::byte>(code));
    }
    const PackedMatrix matrix(raw);
    for (const float sign : {1.0f, -1.0f}) {
      std::vector<float> values = random_values(inputs, random);
      for (float& value : values) value = sign * std::fabs(value);
      for (const Kernels* set : sets) {
        const Rows own(*set, values, 1, inputs);
        const std::vector<float> products = products_of(*set, matrix, own, 1);
        check(bounds_of(*set, matrix, own, 0, 1)[0] >= *std::ranges::max_element(products),
              "codes of " + std::to_string(code) + ": above its bound by " + set->name);
      }
    }
  }
}

/// A weight or a value that is no number: nothing may be left out.
void check_not_finite(const std::vector<const Kernels*>& sets, Random& random) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const Kernels* set : sets) {
    RawMatrix raw = random_matrix(split_format(), 40, 64, random);
    const PackedMatrix sound(raw);
    for (const float value : {NAN, infinity, -infinity}) {
      std::vector<float> values = random_values(64, random);
      values[40] = value;
      const Rows own(*set, values, 1, 64);
      const Guarded<float> bounds = bounds_of(*set, sound, own, 0, 1);
      check(bounds[0] == infinity && bounds[2] == infinity, "a value that is not finite");
    }
    for (const uint16_t half : {uint16_t{0x7e00}, uint16_t{0x7c00}, uint16_t{0xfc00}}) {
      std::memcpy(raw.weight.data() + 17 * 68, &half, 2);
      const PackedMatrix matrix(raw);
      const Rows own(*set, random_values(64, random), 1, 64);
      const Guarded<float> bounds = bounds_of(*set, matrix, own, 0, 1);
      check(bounds[1] == infinity, "a weight that is not finite");
      check(std::isfinite(bounds[0]) && std::isfinite(bounds[2]), "panels beside it are bounded");
    }
  }
}

void run(const std::vector<const Kernels*>& sets, uint64_t seed) {
  Random random(seed);
  for (const uint32_t rows : {1u, 2u, 3u, 7u, 8u, 9u, 17u}) {
    const auto outputs = static_cast<uint32_t>(1 + random() % 90);
    check_matrix(sets, rows, outputs, 32 * static_cast<uint32_t>(1 + random() % 7), random);
  }
  check_extremes(sets);
  check_not_finite(sets, random);
}

}  // namespace
}  // namespace cidery::test

int main(int count, char** arguments) {
  using namespace cidery::test;
  return run_kernel_test(count, arguments, "kernels_bound_test", run);
}
