// The head that finds the largest logit from upper bits, against the whole product: the same token
// and value bits for one row and many, with ties, with what is not finite, with flat logits, and
// most panels left out where logits are as a language model's.
#include <algorithm>
#include <cmath>

#include "check.h"
#include "cpu/dispatch.h"
#include "cpu/ops/greedy_head.h"
#include "kernels_matrices.h"

namespace cidery::test {
namespace {

constexpr uint32_t inputs = 256, most_rows = cpu::GreedyHead::most_rows;

/// A head alone, with memory for its rows.
struct Head {
  cpu::Pool pool;
  Arena arena{1 << 20};
  cpu::BlockCache cache;
  cpu::Pass pass;
  cpu::MatmulRegion region;
  const cpu::Kernels& kernels;

  Head(const cpu::PackedWeight& weight, uint32_t threads, const cpu::Kernels& set)
      : pool(threads), cache({}, {cpu::CacheType::u8, 1, 16, 16}), kernels(set) {
    region.in = {arena.allocate_array<float>(most_rows * inputs), inputs, inputs};
    region.prepared = {arena.allocate_array<int8_t>(most_rows * inputs),
                       arena.allocate_array<cpu::GroupRecord>(most_rows * inputs / 32)};
    const uint32_t stride = (weight.outputs + 15) / 16 * 16;
    region.parts.push_back({&weight, nullptr,
                            {arena.allocate_array<float>(uint64_t{most_rows} * stride), stride,
                             weight.outputs},
                            true});
    region.segments.push_back({0, 0, cpu::panel_count(weight.outputs)});
  }

  cpu::Tools tools() { return {kernels, pool, cache, pass}; }
  cpu::View& out() { return region.parts[0].out; }

  void prepare(const std::vector<float>& values) {
    std::copy(values.begin(), values.end(), region.in.data);
    kernels.quantize_rows({region.in.data, inputs, static_cast<uint32_t>(values.size() / inputs),
                           inputs, region.prepared.codes, region.prepared.groups});
  }
  std::vector<cpu::Largest> whole(uint32_t rows) {
    region.run(tools(), 0, rows, 0);
    std::vector<cpu::Largest> all;
    for (uint32_t row = 0; row < rows; ++row) {
      all.push_back(kernels.largest(out().row(row), out().width));
    }
    return all;
  }
};

const FileFormat& split_format() {
  static const std::vector<FileFormat> all = file_formats();
  return *std::ranges::find(all, "Q8_0_split", &FileFormat::name);
}

/// Activations that lie near one output's weights, so that its logit stands out.
std::vector<float> rows_near(const std::vector<float>& weights, uint32_t outputs, uint32_t rows,
                             float nearness, Random& random) {
  std::vector<float> values = random_values(size_t{rows} * inputs, random);
  for (uint32_t row = 0; row < rows; ++row) {
    const float* target = weights.data() + random() % outputs * inputs;
    for (uint32_t i = 0; i < inputs; ++i) values[row * inputs + i] += nearness * target[i];
  }
  return values;
}

void check_same(const std::vector<cpu::Largest>& expected, std::span<const cpu::Largest> found,
                const std::string& what) {
  check(found.size() == expected.size(), what + ": a result for each row");
  for (size_t row = 0; row < expected.size(); ++row) {
    const cpu::Largest &a = expected[row], &b = found[row];
    check(a.finite == b.finite, what + ": finite");
    if (!a.finite) continue;
    check(a.index == b.index && a.value == b.value,
          what + ": row " + std::to_string(row) + " has token " + std::to_string(b.index) +
              ", not " + std::to_string(a.index));
  }
}

void check_random(const cpu::Kernels& kernels, Random& random) {
  for (const uint32_t outputs : {1u, 16u, 700u, 2051u}) {
    const RawMatrix raw = random_matrix(split_format(), outputs, inputs, random);
    const PackedMatrix matrix(raw);
    const std::vector<float> weights = raw.values();
    for (const uint32_t threads : {1u, 3u}) {
      Head head(matrix.weight, threads, kernels);
      check(cpu::GreedyHead::serves(head.region), "it serves a split head");
      cpu::GreedyHead greedy(head.region, head.arena);
      for (const float nearness : {0.0f, 0.5f, 3.0f}) {
        for (const uint32_t rows : {1u, 2u, 7u, most_rows}) {
          head.prepare(rows_near(weights, outputs, rows, nearness, random));
          const std::vector<cpu::Largest> expected = head.whole(rows);
          check_same(expected, greedy.run(head.tools(), 0, rows),
                     std::to_string(outputs) + " outputs, nearness " + std::to_string(nearness));
          check_same({expected.back()}, greedy.run(head.tools(), rows - 1, 1), "a row alone");
        }
      }
    }
  }
}

void check_left_out(const cpu::Kernels& kernels, Random& random) {
  const uint32_t outputs = 4096;
  const RawMatrix raw = random_matrix(split_format(), outputs, inputs, random);
  const PackedMatrix matrix(raw);
  Head head(matrix.weight, 1, kernels);
  cpu::GreedyHead greedy(head.region, head.arena);
  head.prepare(rows_near(raw.values(), outputs, 1, 5, random));
  std::fill_n(head.out().data, outputs, -77.0f);
  greedy.run(head.tools(), 0, 1);
  const auto written = outputs - std::count(head.out().data, head.out().data + outputs, -77.0f);
  check(written >= 16 && written <= outputs / 8,
        std::to_string(written) + " logits of 4096 were computed");
  check(!greedy.resting(), "what leaves so much out goes on");
  head.prepare(std::vector<float>(inputs, 0.0f));  // all logits are equal
  check(greedy.run(head.tools(), 0, 1)[0].index == 0, "of equals the lowest");
  uint32_t rests = 0;
  while (greedy.resting()) ++rests;
  check(rests > 0 && rests < 100, "it rests for a while: " + std::to_string(rests));
}

void check_ties_and_infinities(const cpu::Kernels& kernels, Random& random) {
  const uint32_t outputs = 600;
  RawMatrix raw = random_matrix(split_format(), outputs, inputs, random);
  const cpu::RawRowBytes bytes = cpu::raw_row_bytes(raw.layout);
  const auto row_at = [&](uint32_t row) { return raw.weight.data() + row * bytes.weight; };
  for (const uint32_t copy : {21u, 22u, 599u}) std::memcpy(row_at(copy), row_at(300), bytes.weight);
  std::vector<float> values = random_values(inputs, random);
  const std::vector<float> weights = raw.values();
  for (uint32_t i = 0; i < inputs; ++i) values[i] += 5 * weights[300 * inputs + i];
  {
    const PackedMatrix matrix(raw);
    Head head(matrix.weight, 1, kernels);
    cpu::GreedyHead greedy(head.region, head.arena);
    head.prepare(values);
    check_same(head.whole(1), greedy.run(head.tools(), 0, 1), "a tie");
    check(greedy.run(head.tools(), 0, 1)[0].index == 21, "of equals the lowest");
    values[7] = NAN;
    head.prepare(values);
    check(!greedy.run(head.tools(), 0, 1)[0].finite, "a value that is no number is reported");
    values[7] = 0;
  }
  const uint16_t nan = 0x7e00;
  std::memcpy(row_at(450), &nan, sizeof nan);
  const PackedMatrix matrix(raw);
  Head head(matrix.weight, 2, kernels);
  cpu::GreedyHead greedy(head.region, head.arena);
  head.prepare(values);
  check(!greedy.run(head.tools(), 0, 1)[0].finite, "a weight that is no number is reported");
}

void check_refusals(const cpu::Kernels& kernels, Random& random) {
  const PackedMatrix matrix(random_matrix(split_format(), 40, inputs, random));
  const Head head(matrix.weight, 1, kernels);
  const float bias[40] = {};
  cpu::MatmulRegion other = head.region;
  other.parts[0].bias = bias;
  check(!cpu::GreedyHead::serves(other), "not with a bias");
  other = head.region;
  other.softcap.cap = 30;
  check(!cpu::GreedyHead::serves(other), "not with a soft cap");
  other = head.region;
  other.parts[0].fast = false;
  check(!cpu::GreedyHead::serves(other), "not in f32");
  other.parts.clear();
  check(!cpu::GreedyHead::serves(other), "not where there is no head");
}

void run(const std::vector<const cpu::Kernels*>& sets, uint64_t seed) {
  Random random(seed);
  for (const cpu::Kernels* set : sets) {
    check_random(*set, random);
    check_left_out(*set, random);
    check_ties_and_infinities(*set, random);
    check_refusals(*set, random);
  }
}

}  // namespace
}  // namespace cidery::test

int main(int count, char** arguments) {
  using namespace cidery::test;
  return run_kernel_test(count, arguments, "greedy_head_test", run);
}
