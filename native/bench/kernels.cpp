// The matrix kernels alone, on the starter model's shapes: 10^9 multiply-adds a second, GB of
// weights read a second, and both as a part of what the core could do in this run. Weights lie in
// more copies than caches hold, as they do while decoding; `--warm 1` takes one copy. kernels
// [--set NAME] [--format NAME] [--mode fast|precise] [--rows N] [--rounds N] [--warm 1]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "cpu/dispatch.h"
#include "roofs.h"
#include "test/kernels_matrices.h"

namespace cidery::bench {
namespace {

using cpu::Kernels;

struct Shape {
  uint32_t outputs, inputs;
};
constexpr Shape shapes[] = {{576, 576}, {192, 576}, {1536, 576}, {576, 1536}, {49152, 576}};
constexpr uint32_t row_counts[] = {1, 2, 4, 8, 16, 64, 160};
constexpr uint64_t cold_bytes = uint64_t{192} << 20;
constexpr double least_seconds = 0.03;

struct Options {
  std::string_view set, format, mode;
  int rounds = 7;
  uint32_t rows = 0;  // 0: all of row_counts
  bool warm = false;
};

struct Roofs {
  double read, dot, fma;
};

/// One matrix in as many copies as no cache holds.
struct Matrix {
  cpu::PackedWeight weight;
  std::vector<test::Guarded<std::byte>> copies;

  Matrix(const test::FileFormat& format, Shape shape, bool warm) {
    test::Random random(1);
    const test::RawMatrix raw =
        test::random_matrix(format, shape.outputs, shape.inputs, random);
    test::PackedMatrix first(raw);
    weight = first.weight;
    const uint64_t size = cpu::packed_bytes(weight);
    copies.push_back(std::move(first.slab));
    while (!warm && copies.size() * size < cold_bytes) {
      copies.emplace_back(size);
      std::memcpy(copies.back().data(), copies.front().data(), size);
    }
  }
};

struct Activations {
  std::vector<float> values;
  std::vector<int8_t> codes;
  std::vector<cpu::GroupRecord> groups;

  Activations(const Kernels& kernels, bool fast, uint32_t rows, uint32_t inputs)
      : codes(size_t{rows} * inputs), groups(size_t{rows} * inputs / 32) {
    test::Random random(2);
    values = test::random_values(size_t{rows} * inputs, random);
    (fast ? kernels.quantize_rows : kernels.sum_groups)(
        {values.data(), inputs, rows, inputs, codes.data(), groups.data()});
  }
};

/// Seconds that one product takes.
double time_product(const Kernels& kernels, bool fast, Matrix& matrix, uint32_t rows) {
  const uint32_t inputs = matrix.weight.inputs, outputs = matrix.weight.outputs;
  const Activations in(kernels, fast, rows, inputs);
  std::vector<float> out(size_t{rows} * outputs);
  cpu::PackedWeight weight = matrix.weight;
  cpu::MatmulArguments arguments = {};
  arguments.weight = &weight;
  arguments.panel_count = cpu::panel_count(outputs);
  arguments.rows = rows;
  arguments.in = in.values.data();
  arguments.in_stride = inputs;
  arguments.codes = in.codes.data();
  arguments.groups = in.groups.data();
  arguments.out = out.data();
  arguments.out_stride = outputs;
  const auto multiply = fast ? kernels.matmul_fast : kernels.matmul_precise;
  static size_t next = 0;
  uint32_t runs = 0;
  double taken = 0;
  const double start = thread_seconds();
  do {
    const auto& copy = matrix.copies[next++ % matrix.copies.size()];
    weight.data = reinterpret_cast<const uint8_t*>(copy.data());
    multiply(arguments);
    ++runs;
    taken = thread_seconds() - start;
  } while (taken < least_seconds);
  return taken / runs;
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

void bench_shape(const std::vector<const Kernels*>& sets, const std::vector<Roofs>& roofs,
                 const test::FileFormat& format, Shape shape, const Options& options) {
  Matrix matrix(format, shape, options.warm);
  for (const bool fast : {true, false}) {
    if (fast && (format.together == 1 || format.layout.add != 0)) continue;
    if (!options.mode.empty() && fast != (options.mode == "fast")) continue;
    for (const uint32_t rows : row_counts) {
      if (options.rows != 0 && rows != options.rows) continue;
      std::vector<std::vector<double>> times(sets.size());
      for (int round = 0; round < options.rounds; ++round) {
        for (size_t i = 0; i < sets.size(); ++i) {
          times[i].push_back(time_product(*sets[i], fast, matrix, rows));
        }
      }
      for (size_t i = 0; i < sets.size(); ++i) {
        const double taken = median(times[i]);
        const double gmacs = 1e-9 * rows * shape.outputs * shape.inputs / taken;
        const double gbytes = 1e-9 * static_cast<double>(cpu::packed_bytes(matrix.weight)) / taken;
        const double roof = fast ? roofs[i].dot : roofs[i].fma;
        std::printf("%-11s %-8s %-7s %5u x %4u rows %2u  "
                    "%7.1f GMAC/s %3.0f %%  %6.2f GB/s %3.0f %%\n",
                    sets[i]->name, format.name.c_str(), fast ? "fast" : "precise", shape.outputs,
                    shape.inputs, rows, gmacs, roof > 0 ? 100 * gmacs / roof : 0.0, gbytes,
                    100 * gbytes / roofs[i].read);
      }
    }
  }
}

void run(const Options& options) {
  std::vector<const Kernels*> sets;
  std::vector<Roofs> roofs;
  const double read = read_roof();
  std::printf("read roof %.1f GB/s\n", read);
  for (const std::string_view name : cpu::possible_sets()) {
    if (options.set.empty() ? name == "plain" : name != options.set) continue;
    sets.push_back(&cpu::choose_kernels(name));
    roofs.push_back({read, dot_roof(name), fma_roof(name)});
    std::printf("%s: int8 roof %.1f GMAC/s, f32 roof %.1f GMAC/s\n", sets.back()->name,
                roofs.back().dot, roofs.back().fma);
  }
  for (const test::FileFormat& format : test::file_formats()) {
    const bool wanted = options.format.empty() ? format.name == "Q4_1" || format.name == "Q8_0"
                                            : format.name == options.format;
    if (!wanted) continue;
    for (const Shape shape : shapes) {
      Shape fitting = shape;
      fitting.inputs = std::max(format.together, shape.inputs / format.together * format.together);
      bench_shape(sets, roofs, format, fitting, options);
    }
  }
}

}  // namespace
}  // namespace cidery::bench

int main(int count, char** arguments) {
  cidery::bench::Options options;
  for (int i = 1; i + 1 < count; i += 2) {
    const std::string_view name = arguments[i];
    if (name == "--set") options.set = arguments[i + 1];
    if (name == "--format") options.format = arguments[i + 1];
    if (name == "--mode") options.mode = arguments[i + 1];
    if (name == "--rows") options.rows = static_cast<uint32_t>(std::atoi(arguments[i + 1]));
    if (name == "--rounds") options.rounds = std::max(1, std::atoi(arguments[i + 1]));
    if (name == "--warm") options.warm = std::atoi(arguments[i + 1]) != 0;
  }
  cidery::bench::run(options);
  return 0;
}
