// Kernels that work on rows: every set is compared with the plain one bit by bit, the plain one
// with double arithmetic. --set NAME: that set only; --seed N.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <string_view>

#include "check.h"
#include "cpu/dispatch.h"
#include "kernels_matrices.h"

namespace cidery::test {
namespace {

using cpu::Kernels;
using Sets = std::vector<const Kernels*>;

const Kernels& plain() { return cpu::choose_kernels("plain"); }

/// Distance of a float from a double, in units of the float's last place.
double ulps(float value, double expected) {
  if (std::isnan(expected)) return std::isnan(value) ? 0 : 1e9;
  const auto nearest = static_cast<float>(expected);
  if (value == nearest) return 0;
  const double step = std::nextafter(std::fabs(nearest), INFINITY) - std::fabs(nearest);
  return std::fabs(value - expected) / step;
}

/// Runs one kernel in every set: `run` fills its argument. All must agree with plain, which is
/// returned.
Guarded<float> agree(const Sets& sets, size_t count, const std::string& what,
                     const std::function<void(const Kernels&, Guarded<float>&)>& run) {
  Guarded<float> expected(count);
  run(plain(), expected);
  for (const Kernels* set : sets) {
    Guarded<float> out(count);
    run(*set, out);
    check(out.same_bits(expected), what + ": " + set->name + " gives other bits than plain");
  }
  return expected;
}

/// Values of every magnitude that a function is curious about.
std::vector<float> sweep(float first, float last, size_t count) {
  std::vector<float> out;
  for (size_t i = 0; i < count; ++i) {
    const double at = static_cast<double>(i) / static_cast<double>(count - 1);
    out.push_back(static_cast<float>(first + (last - first) * at));
  }
  for (float tiny = 1e-42f; tiny < 1.0f; tiny *= 3.7f) out.insert(out.end(), {tiny, -tiny});
  out.insert(out.end(), {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 3e38f, -3e38f});
  return out;
}

Guarded<float> activated(const Sets& sets, const std::vector<float>& in, cpu::ActivationKind kind,
                         const std::string& what) {
  const Guarded<float> gate(in);
  return agree(sets, in.size(), what, [&](const Kernels& set, Guarded<float>& out) {
    set.activate({gate.data(), nullptr, out.data(), in.size(), kind});
  });
}

void check_activations(const Sets& sets, Random& random) {
  const std::vector<float> in = sweep(-95.0f, 95.0f, 40001);
  const auto silu = activated(sets, in, cpu::ActivationKind::silu, "silu");
  const auto gelu = activated(sets, in, cpu::ActivationKind::gelu, "gelu");
  const auto gelu_tanh = activated(sets, in, cpu::ActivationKind::gelu_tanh, "gelu_tanh");
  const auto relu = activated(sets, in, cpu::ActivationKind::relu, "relu");
  const auto squared = activated(sets, in, cpu::ActivationKind::relu_squared, "relu_squared");
  double worst_silu = 0, worst_gelu = 0, worst_gelu_tanh = 0;
  bool relu_right = true;
  for (size_t i = 0; i < in.size(); ++i) {
    const double x = in[i];
    if (!std::isfinite(x)) continue;
    // Beyond -85 the exponential is near the end of its range and silu near subnormal.
    if (x > -85) worst_silu = std::max(worst_silu, ulps(silu[i], x / (1 + std::exp(-x))));
    const double size = std::fabs(x) + 1e-30;
    const double exact = x * 0.5 * (1 + std::erf(x * M_SQRT1_2));
    const double inner = 0.79788456080286536 * (x + 0.044715 * x * x * x);
    worst_gelu = std::max(worst_gelu, std::fabs(gelu[i] - exact) / size);
    worst_gelu_tanh = std::max(
        worst_gelu_tanh, std::fabs(gelu_tanh[i] - x * 0.5 * (1 + std::tanh(inner))) / size);
    const float positive = in[i] > 0 ? in[i] : 0;
    relu_right &= relu[i] == positive && squared[i] == positive * positive;
  }
  check(worst_silu < 4, "silu is off by " + std::to_string(worst_silu) + " ulp");
  check(worst_gelu < 0x1p-22, "gelu is off by " + std::to_string(worst_gelu * 0x1p24));
  check(worst_gelu_tanh < 0x1p-22, "gelu_tanh is off by " + std::to_string(worst_gelu_tanh));
  check(relu_right, "relu");
  const Guarded<float> gate(random_values(37, random)), up(random_values(37, random));
  const auto both = agree(sets, 37, "silu with up", [&](const Kernels& set, Guarded<float>& out) {
    set.activate({gate.data(), up.data(), out.data(), 37, cpu::ActivationKind::silu});
  });
  bool product = true;
  const auto alone = agree(sets, 37, "silu", [&](const Kernels& set, Guarded<float>& out) {
    set.activate({gate.data(), nullptr, out.data(), 37, cpu::ActivationKind::silu});
  });
  for (size_t i = 0; i < 37; ++i) product &= both[i] == alone[i] * up[i];
  check(product, "silu with up is not silu times up");
}

void check_softcap(const Sets& sets) {
  const std::vector<float> in = sweep(-12.0f, 12.0f, 40001);
  const auto capped = [&](float scale, float cap) {
    return agree(sets, in.size(), "softcap", [&](const Kernels& set, Guarded<float>& out) {
      std::memcpy(out.data(), in.data(), in.size() * 4);
      set.softcap({out.data(), in.size(), scale, cap});
    });
  };
  const auto tanh = capped(1, 1), scaled = capped(0.5f, 0), both = capped(2, 30);
  double worst = 0, worst_both = 0;
  bool same = true;
  for (size_t i = 0; i < in.size(); ++i) {
    if (std::isnan(in[i])) continue;
    worst = std::max(worst, ulps(tanh[i], std::tanh(static_cast<double>(in[i]))));
    // A thirtieth of the smallest values is subnormal.
    if (std::fabs(in[i]) < 1e-35f) continue;
    worst_both = std::max(worst_both, ulps(both[i], 30 * std::tanh(2.0 * in[i] / 30)));
    same &= scaled[i] == in[i] * 0.5f;
  }
  check(worst <= 2, "tanh is off by " + std::to_string(worst) + " ulp");
  check(worst_both <= 4, "softcap is off by " + std::to_string(worst_both) + " ulp");
  check(same, "softcap without a cap is a product");
}

void check_add(const Sets& sets, Random& random) {
  for (const size_t count : {1u, 15u, 16u, 17u, 100u}) {
    const Guarded<float> a(random_values(count, random)), b(random_values(count, random));
    const auto out = agree(sets, count, "add", [&](const Kernels& set, Guarded<float>& to) {
      set.add({a.data(), b.data(), to.data(), count, 0.3f});
    });
    bool right = true;
    for (size_t i = 0; i < count; ++i) right &= out[i] == std::fma(0.3f, b[i], a[i]);
    check(right, "add");
  }
}

void check_norm(const Sets& sets, uint32_t width, bool layer, Random& random) {
  const uint32_t rows = 3;
  const size_t stride = width + 5;
  Guarded<float> in(random_values(rows * stride - 5, random));
  for (size_t i = 0; i < in.size(); ++i) in[i] += 3;
  const Guarded<float> weight(random_values(width, random)), bias(random_values(width, random));
  const std::string what = (layer ? "layer norm " : "rms norm ") + std::to_string(width);
  const auto out = agree(sets, in.size(), what, [&](const Kernels& set, Guarded<float>& to) {
    set.norm({in.data(), stride, to.data(), stride, rows, width, weight.data(), bias.data(), 1e-5f,
              1.0f, layer ? cpu::NormKind::layer : cpu::NormKind::rms});
  });
  double worst = 0;
  for (uint32_t row = 0; row < rows; ++row) {
    double mean = 0, squares = 0;
    for (uint32_t i = 0; layer && i < width; ++i) mean += in[row * stride + i] / double(width);
    for (uint32_t i = 0; i < width; ++i) squares += std::pow(in[row * stride + i] - mean, 2);
    for (uint32_t i = 0; i < width; ++i) {
      const double normal =
          (in[row * stride + i] - mean) / std::sqrt(squares / width + double(1e-5f));
      const double expected = normal * (weight[i] + 1.0) + bias[i];
      worst = std::max(worst, std::fabs(out[row * stride + i] - expected));
    }
  }
  // A single value less its own mean is nothing, and what is nothing has no relative error.
  check(worst < 2e-5, what + " is off by " + std::to_string(worst));
  const auto bare = agree(sets, in.size(), what, [&](const Kernels& set, Guarded<float>& to) {
    std::memcpy(to.data(), in.data(), in.size() * 4);
    set.norm({to.data(), stride, to.data(), stride, rows, width, nullptr, nullptr, 1e-5f, 0.0f,
              layer ? cpu::NormKind::layer : cpu::NormKind::rms});
  });
  check(bare[width - 1] != in[width - 1], what + " in place");
}

void check_rope(const Sets& sets, uint32_t width, bool traditional, Random& random) {
  const uint32_t heads = 3, pairs = width / 2;
  const size_t stride = width + 6;
  const Guarded<float> in(random_values(heads * stride - 6, random));
  std::vector<float> cosines, sines;
  for (uint32_t i = 0; i < pairs; ++i) {
    cosines.push_back(std::cos(static_cast<float>(i + 1)));
    sines.push_back(std::sin(static_cast<float>(i + 1)));
  }
  const Guarded<float> c(cosines), s(sines);
  const auto out = agree(sets, in.size(), "rope", [&](const Kernels& set, Guarded<float>& to) {
    std::memcpy(to.data(), in.data(), in.size() * 4);
    set.rope({to.data(), stride, heads, width, traditional, c.data(), s.data()});
  });
  bool right = true;
  for (uint32_t head = 0; head < heads; ++head) {
    for (uint32_t i = 0; i < pairs; ++i) {
      const size_t first = head * stride + (traditional ? 2 * i : i);
      const size_t second = traditional ? first + 1 : first + pairs;
      const float a = in[first], b = in[second];
      right &= out[first] == a * c[i] - b * s[i] && out[second] == b * c[i] + a * s[i];
    }
    for (size_t i = width; i < stride && head + 1 < heads; ++i) {
      right &= out[head * stride + i] == in[head * stride + i];
    }
  }
  check(right, "rope of " + std::to_string(width));
}

void check_largest(const Sets& sets, Random& random) {
  for (const size_t count : {1u, 5u, 16u, 17u, 50u, 1000u}) {
    for (int turn = 0; turn < 20; ++turn) {
      // Few different values: ties.
      std::vector<float> values = random_values(count, random);
      for (float& value : values) value = std::round(value);
      if (turn == 0) values.assign(count, -3.0f);
      if (turn == 1) values[count - 1] = NAN;
      if (turn == 2) values[count / 2] = -INFINITY;
      const Guarded<float> memory(values);
      const auto first = std::max_element(values.begin(), values.end());
      for (const Kernels* set : sets) {
        const cpu::Largest found = set->largest(memory.data(), count);
        const bool finite = turn != 1 && turn != 2;
        check(found.finite == finite, std::string(set->name) + " largest: finite");
        if (!finite) continue;
        check(found.value == *first &&
                  found.index == static_cast<uint32_t>(first - values.begin()),
              std::string(set->name) + " largest of " + std::to_string(count));
      }
    }
  }
}

/// Halves as the definition of rounding has them, and back.
void check_bf16(const Sets& sets) {
  const std::vector<float> values = sweep(-70000.0f, 70000.0f, 4001);
  for (const size_t count : {size_t{1}, size_t{15}, size_t{16}, size_t{17}, values.size()}) {
    const Guarded<float> in(std::vector<float>(values.end() - count, values.end()));
    const auto through = agree(sets, count, "bf16", [&](const Kernels& set, Guarded<float>& out) {
      Guarded<uint16_t> halves(count);
      set.round({in.data(), halves.data(), count});
      set.widen({halves.data(), out.data(), count});
    });
    for (size_t i = 0; i < count; ++i) {
      const auto bits = std::bit_cast<uint32_t>(in[i]);
      const auto nearest = std::bit_cast<float>((bits + 0x7fffu + (bits >> 16 & 1)) & 0xffff0000u);
      const bool right = std::isnan(in[i]) ? std::isnan(through[i]) : through[i] == nearest;
      check(right, "bf16 of " + std::to_string(in[i]) + " is " + std::to_string(through[i]));
    }
  }
}

void run(const Sets& sets, uint64_t seed) {
  Random random(seed);
  check_activations(sets, random);
  check_softcap(sets);
  check_add(sets, random);
  check_largest(sets, random);
  check_bf16(sets);
  for (const uint32_t width : {1u, 7u, 16u, 31u, 33u, 64u, 100u, 576u}) {
    check_norm(sets, width, false, random);
    check_norm(sets, width, true, random);
  }
  for (const uint32_t width : {2u, 8u, 64u, 80u, 96u, 128u, 256u}) {
    check_rope(sets, width, false, random);
    check_rope(sets, width, true, random);
  }
}

}  // namespace
}  // namespace cidery::test

int main(int count, char** arguments) {
  using namespace cidery::test;
  return run_kernel_test(count, arguments, "kernels_rows_test", run);
}
