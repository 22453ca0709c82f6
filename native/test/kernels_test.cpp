// Matrix kernels: one list of (format, kernel, set). Every set is compared with the plain one bit
// by bit, the plain one with double arithmetic, and a row beside others with the row alone. --set
// NAME: that set only; --seed N.
#include <algorithm>
#include <cmath>

#include "check.h"
#include "cpu/dispatch.h"
#include "cpu/self_check.h"
#include "kernels_matrices.h"
#include "load/dequantize.h"

namespace cidery::test {
namespace {

using cpu::Kernels;

struct Shape {
  uint32_t rows, outputs, inputs;
};

/// Rows of activations, quantized and summed by one set.
struct Activations {
  Guarded<float> values;
  Guarded<int8_t> codes;
  Guarded<cpu::GroupRecord> fast, precise;

  Activations(const Kernels& kernels, const std::vector<float>& in, Shape shape)
      : values(in),
        codes(size_t{shape.rows} * shape.inputs),
        fast(size_t{shape.rows} * (shape.inputs / 32)),
        precise(size_t{shape.rows} * (shape.inputs / 32)) {
    if (shape.inputs % 32 != 0) return;
    const cpu::PrepareArguments arguments = {values.data(), shape.inputs, shape.rows, shape.inputs,
                                             codes.data(), fast.data()};
    kernels.quantize_rows(arguments);
    cpu::PrepareArguments sums = arguments;
    sums.codes = nullptr;
    sums.groups = precise.data();
    kernels.sum_groups(sums);
  }
};

/// Outputs of all panels, and 3 columns more between rows that no kernel may touch.
Guarded<float> multiply(const Kernels& kernels, bool fast, const PackedMatrix& matrix,
                        const Activations& in, uint32_t first_row, uint32_t rows,
                        const float* bias) {
  const uint32_t inputs = matrix.weight.inputs, outputs = matrix.weight.outputs;
  const size_t stride = outputs + 3, groups = inputs / 32;
  Guarded<float> out(rows * stride - 3);
  for (size_t i = 0; i < out.size(); ++i) out[i] = -77.0f;
  cpu::MatmulArguments arguments = {};
  arguments.weight = &matrix.weight;
  arguments.rows = rows;
  arguments.in = in.values.data() + size_t{first_row} * inputs;
  arguments.in_stride = inputs;
  arguments.codes = in.codes.data() + size_t{first_row} * inputs;
  arguments.groups = (fast ? in.fast : in.precise).data() + first_row * groups;
  arguments.bias = bias;
  arguments.out = out.data();
  arguments.out_stride = stride;
  // In two calls, as two threads would.
  const uint32_t panels = cpu::panel_count(outputs), half = panels / 2;
  arguments.panel_count = half;
  (fast ? kernels.matmul_fast : kernels.matmul_precise)(arguments);
  arguments.first_panel = half;
  arguments.panel_count = panels - half;
  (fast ? kernels.matmul_fast : kernels.matmul_precise)(arguments);
  return out;
}

/// Largest error of a product in units of 2^-24 of the sum of its terms' magnitudes.
double error_of(const Guarded<float>& out, const std::vector<float>& weights,
                const std::vector<double>& in, const std::vector<float>& bias, Shape shape) {
  double worst = 0;
  for (uint32_t row = 0; row < shape.rows; ++row) {
    for (uint32_t o = 0; o < shape.outputs; ++o) {
      double sum = bias[o], magnitude = std::fabs(bias[o]);
      for (uint32_t i = 0; i < shape.inputs; ++i) {
        const double term = in[size_t{row} * shape.inputs + i] *
                            static_cast<double>(weights[size_t{o} * shape.inputs + i]);
        sum += term;
        magnitude += std::fabs(term);
      }
      const double error = std::fabs(sum - out[row * (shape.outputs + 3) + o]);
      worst = std::max(worst, error / (magnitude * 0x1p-24));
    }
  }
  return worst;
}

std::vector<double> as_double(const Activations& in, bool fast, Shape shape) {
  std::vector<double> out(size_t{shape.rows} * shape.inputs);
  for (size_t i = 0; i < out.size(); ++i) {
    const cpu::GroupRecord& group = in.fast[i / 32];
    out[i] = fast ? static_cast<double>(group.scale) * (in.codes[i] + group.middle) : in.values[i];
  }
  return out;
}

void check_untouched(const Guarded<float>& out, Shape shape, const std::string& what) {
  bool untouched = true;
  for (uint32_t row = 0; row + 1 < shape.rows; ++row) {
    for (uint32_t i = 0; i < 3; ++i) {
      untouched &= out[row * (shape.outputs + 3) + shape.outputs + i] == -77.0f;
    }
  }
  check(untouched, what + ": columns behind the outputs were written");
}

void check_product(const std::vector<const Kernels*>& sets, bool fast, const FileFormat& format,
                   Shape shape, Random& random) {
  const RawMatrix raw = random_matrix(format, shape.outputs, shape.inputs, random);
  const PackedMatrix matrix(raw);
  const std::vector<float> values = random_values(size_t{shape.rows} * shape.inputs, random);
  const std::vector<float> bias = random_values(shape.outputs, random);
  const Guarded<float> bias_memory(bias);
  const Kernels& plain = cpu::choose_kernels("plain");
  const Activations activations(plain, values, shape);
  const Guarded<float> expected =
      multiply(plain, fast, matrix, activations, 0, shape.rows, bias_memory.data());
  const std::string what = format.name + (fast ? " fast " : " precise ") +
                           std::to_string(shape.rows) + "x" + std::to_string(shape.outputs) + "x" +
                           std::to_string(shape.inputs);
  check_untouched(expected, shape, what);
  const double error =
      error_of(expected, raw.values(), as_double(activations, fast, shape), bias, shape);
  // An affine product is the difference of two sums, each larger than what remains.
  check(error < 40, what + ": error " + std::to_string(error) + " units");
  for (const Kernels* set : sets) {
    const Activations own(*set, values, shape);
    check(own.codes.same_bits(activations.codes) && own.fast.same_bits(activations.fast) &&
              own.precise.same_bits(activations.precise),
          what + ": " + set->name + " prepares other activations than plain");
    const Guarded<float> out =
        multiply(*set, fast, matrix, own, 0, shape.rows, bias_memory.data());
    check(out.same_bits(expected), what + ": " + set->name + " gives other bits than plain");
    for (uint32_t row = 0; row < shape.rows; ++row) {
      const Guarded<float> alone = multiply(*set, fast, matrix, own, row, 1, bias_memory.data());
      check(std::memcmp(alone.data(), out.data() + row * (shape.outputs + 3), shape.outputs * 4) ==
                0,
            what + ": " + set->name + " gives row " + std::to_string(row) + " other bits alone");
    }
  }
}

void check_lookup(const std::vector<const Kernels*>& sets, const FileFormat& format,
                  Random& random) {
  const uint32_t outputs = 21, inputs = format.together * 3;
  const RawMatrix raw = random_matrix(format, outputs, inputs, random);
  const PackedMatrix matrix(raw);
  const std::vector<float> values = raw.values();
  for (const Kernels* set : sets) {
    for (const uint32_t row : {0u, 15u, 16u, 20u}) {
      Guarded<float> out(inputs);
      set->lookup({&matrix.weight, row, 0.5f, out.data()});
      bool same = true;
      for (uint32_t i = 0; i < inputs; ++i) same &= out[i] == values[row * inputs + i] * 0.5f;
      check(same, format.name + " lookup: " + set->name + " gives other values than the file");
    }
  }
}

void check_packing(const FileFormat& format, Random& random) {
  const uint32_t outputs = 53, inputs = format.together * 3;
  const RawMatrix raw = random_matrix(format, outputs, inputs, random);
  const PackedMatrix whole(raw);
  Guarded<std::byte> parts(whole.slab.size());
  for (uint32_t panel = 4; panel-- > 0;) {
    const uint32_t rows = std::min(16u, outputs - 16 * panel);
    cpu::pack_panels(whole.weight, raw.layout, raw.rows(16 * panel, rows), panel, 1,
                     {parts.data(), parts.size()});
  }
  check(parts.same_bits(whole.slab), format.name + ": packed in parts it has other bytes");
  check_throws("parameter_mismatch", format.name + " with a row missing", [&] {
    cpu::pack_panels(whole.weight, raw.layout, raw.rows(0, outputs - 1), 0, 4,
                     {parts.data(), parts.size()});
  });
  check_throws("parameter_mismatch", format.name + " into too little memory", [&] {
    cpu::pack_panels(whole.weight, raw.layout, raw.rows(), 0, 4, {parts.data(), parts.size() - 1});
  });
}

void check_refusals() {
  cpu::RawLayout layout;
  layout.outputs = layout.inputs = 96;
  layout.storage = {program::StorageKind::affine, 7, 32, program::BlockFormat::q4_0};
  check_throws("parameter_mismatch", "7 bits", [&] { cpu::plan_packing(layout); });
  layout.storage.bits = 4;
  layout.storage.group = 48;
  check_throws("parameter_mismatch", "groups of 48", [&] { cpu::plan_packing(layout); });
  layout.storage.group = 64;
  check_throws("parameter_mismatch", "half a group", [&] { cpu::plan_packing(layout); });
  layout.storage.group = 32;
  layout.factors = load::Format::i32;
  check_throws("parameter_mismatch", "integer scales", [&] { cpu::plan_packing(layout); });
  check_throws("isa_unsupported", "an unknown set", [] { cpu::choose_kernels("sse9"); });
  const std::vector<std::string_view> possible = cpu::possible_sets();
  for (const char* name : {"avx512vnni", "avx512", "avx2", "i8mm", "dotprod", "neon", "plain"}) {
    if (std::ranges::find(possible, name) != possible.end()) {
      check(cpu::choose_kernels(name).name == std::string_view(name), name);
    } else {
      check_throws("isa_unsupported", name, [&] { cpu::choose_kernels(name); });
    }
  }
  for (const std::string_view name : possible) {
    check(cpu::agrees(cpu::choose_kernels(name), cpu::choose_kernels("plain")), "a set agrees");
  }
  check(cpu::choose_kernels("").name == possible.front(), "the best set is chosen");
  cpu::Kernels wrong = cpu::choose_kernels("");
  wrong.add = [](const cpu::AddArguments& arguments) {
    cpu::choose_kernels("plain").add(arguments);
    arguments.out[arguments.count - 1] += 1e-6f;
  };
  check(!cpu::agrees(wrong, cpu::choose_kernels("plain")), "a wrong set is found out");
}

/// Activations that are no ordinary numbers: zeros, the smallest, infinities and NaN.
void check_special_activations(const std::vector<const Kernels*>& sets) {
  const float infinity = INFINITY;
  for (const float value : {0.0f, -0.0f, 1e-45f, 1e-38f, 3e38f, infinity, -infinity, NAN}) {
    std::vector<float> in(64, 0.0f);
    for (size_t i = 32; i < 64; ++i) in[i] = static_cast<float>(i) - 40.0f;
    in[5] = value;
    const Activations expected(cpu::choose_kernels("plain"), in, {1, 16, 64});
    const bool finite = std::isfinite(value);
    check(std::isfinite(expected.fast[0].scale) == finite, "a group that is not finite is marked");
    check(std::isfinite(expected.fast[1].scale), "its neighbour is not");
    for (const Kernels* set : sets) {
      const Activations own(*set, in, {1, 16, 64});
      bool same = own.codes.same_bits(expected.codes);
      same &= std::isnan(own.fast[0].scale) == std::isnan(expected.fast[0].scale);
      if (finite) same &= own.fast.same_bits(expected.fast);
      check(same, std::string(set->name) + " quantizes " + std::to_string(value) + " otherwise");
    }
  }
}

void run(const std::vector<const Kernels*>& sets, uint64_t seed) {
  Random random(seed);
  check_refusals();
  check_special_activations(sets);
  for (const FileFormat& format : file_formats()) {
    check_packing(format, random);
    check_lookup(sets, format, random);
    const bool quantized = format.together > 1;
    for (const uint32_t rows : {1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u, 9u, 31u, 33u}) {
      const auto outputs = static_cast<uint32_t>(1 + random() % 70);
      const uint32_t inputs =
          quantized ? format.together * static_cast<uint32_t>(1 + random() % 5)
                    : static_cast<uint32_t>(1 + random() % 150);
      const Shape shape = {rows, outputs, inputs};
      check_product(sets, false, format, shape, random);
      if (quantized && format.layout.add == 0) check_product(sets, true, format, shape, random);
    }
  }
}

}  // namespace
}  // namespace cidery::test

int main(int count, char** arguments) {
  using namespace cidery::test;
  return run_kernel_test(count, arguments, "kernels_test", run);
}
