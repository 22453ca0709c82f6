#include "cpu/self_check.h"

#include <array>
#include <cmath>
#include <cstring>
#include <vector>

namespace cidery::cpu {
namespace {

constexpr uint32_t inputs = 256, outputs = lanes, most_rows = 9;
constexpr uint32_t groups = inputs / activation_group;
/// More than a panel of 256 inputs takes in any format.
constexpr size_t panel_bytes = 32768;

/// Numbers that look random and are the same everywhere (Numerical Recipes' generator).
class Numbers {
 public:
  uint32_t next() { return (state_ = state_ * 1664525u + 1013904223u) >> 8; }
  float value() { return static_cast<float>(next() % 4001) / 1000.0f - 2.0f; }
  std::vector<float> values(size_t count) {
    std::vector<float> all(count);
    for (float& one : all) one = value();
    return all;
  }

 private:
  uint32_t state_ = 1;
};

bool same(const std::vector<float>& a, const std::vector<float>& b) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) && std::isnan(b[i])) continue;
    if (std::memcmp(&a[i], &b[i], sizeof(float)) != 0) return false;
  }
  return true;
}

/// Whether `run(kernels, out)` fills `size` floats alike by both.
template <class Run>
bool same_by(const Kernels& a, const Kernels& b, size_t size, Run run) {
  std::vector<float> by_a(size), by_b(size);
  run(a, by_a);
  run(b, by_b);
  return same(by_a, by_b);
}

/// Activations as one set prepares them.
struct Activations {
  std::vector<int8_t> codes = std::vector<int8_t>(most_rows * inputs);
  std::vector<GroupRecord> fast = std::vector<GroupRecord>(most_rows * groups), precise = fast;

  Activations(const Kernels& kernels, const std::vector<float>& in) {
    kernels.quantize_rows({in.data(), inputs, most_rows, inputs, codes.data(), fast.data()});
    kernels.sum_groups({in.data(), inputs, most_rows, inputs, codes.data(), precise.data()});
  }
};

bool same_bounds(const Kernels& a, const Kernels& b, const PackedWeight& weight,
                 const std::vector<float>& in) {
  return same_by(a, b, most_rows, [&](const Kernels& by, std::vector<float>& out) {
    const Activations prepared(by, in);
    std::vector<Margin> margins(most_rows * groups);
    by.find_margins({prepared.codes.data(), prepared.fast.data(), most_rows, inputs,
                     margins.data()});
    by.bound({&weight, 0, 1, most_rows, prepared.codes.data(), prepared.fast.data(),
              margins.data(), out.data(), 1});
  });
}

bool same_matrix(const Kernels& a, const Kernels& b, const PackedWeight& weight,
                 const std::vector<float>& in) {
  const bool quantized = !is_dense(weight.format);
  for (const bool fast : {false, true}) {
    if (fast && !quantized) continue;
    for (const uint32_t rows : {1u, 2u, 3u, 5u, most_rows}) {
      const auto product = [&](const Kernels& by, std::vector<float>& out) {
        const Activations prepared(by, in);
        const MatmulArguments arguments = {
            &weight, 0, 1, rows, in.data(), inputs, prepared.codes.data(),
            fast ? prepared.fast.data() : prepared.precise.data(), nullptr, out.data(), outputs};
        fast ? by.matmul_fast(arguments) : by.matmul_precise(arguments);
      };
      if (!same_by(a, b, size_t{rows} * outputs, product)) return false;
    }
  }
  if (weight.format == PackedFormat::split8 && !same_bounds(a, b, weight, in)) return false;
  return same_by(a, b, inputs, [&](const Kernels& by, std::vector<float>& out) {
    by.lookup({&weight, 5, 0.5f, out.data()});
  });
}

bool same_matrices(const Kernels& a, const Kernels& b, Numbers& numbers) {
  std::vector<uint8_t> memory(2 * panel_bytes + 64);
  uint8_t* panel = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) % 64;
  for (size_t i = 0; i < 2 * panel_bytes; ++i) {
    // The upper bytes of floats are kept small, so that nearly all are finite.
    panel[i] = static_cast<uint8_t>(numbers.next() % (i % 2 == 0 ? 256 : 60));
  }
  const std::vector<float> in = numbers.values(size_t{most_rows} * inputs);
  for (uint32_t format = 0; format < packed_format_count; ++format) {
    PackedWeight weight;
    weight.format = static_cast<PackedFormat>(format);
    weight.factors = format % 2 == 0 ? FactorType::f16 : FactorType::f32;
    weight.group = is_dense(weight.format) ? 0 : 32;
    weight.outputs = outputs;
    weight.inputs = inputs;
    weight.panel_bytes = panel_bytes;
    weight.lower_bytes = weight.format == PackedFormat::split8 ? panel_bytes : 0;
    weight.data = panel;
    if (!same_matrix(a, b, weight, in)) return false;
  }
  return true;
}

bool same_attention(const Kernels& a, const Kernels& b, CacheType type, uint32_t width,
                    Numbers& numbers) {
  constexpr uint32_t positions = 37, blocks = 3, tokens = 3, heads = 3;
  const size_t key_bytes = key_block_bytes(type, width);
  const size_t block_bytes = key_bytes + value_block_bytes(type, width);
  const CacheHead head = {type, 0, key_bytes, width, width};
  const std::vector<float> keys = numbers.values(size_t{positions} * width);
  const std::vector<float> queries = numbers.values(size_t{tokens} * heads * width);
  const float sink = 0.25f;
  const auto attend = [&](const Kernels& by, std::vector<float>& out) {
    std::vector<float> memory(blocks * block_bytes / sizeof(float) + lanes);
    auto* first = reinterpret_cast<uint8_t*>(memory.data());
    first += (64 - reinterpret_cast<uintptr_t>(first) % 64) % 64;
    std::array<uint8_t*, blocks> at{};
    for (uint32_t i = 0; i < blocks; ++i) at[i] = first + i * block_bytes;
    for (uint32_t p = 0; p < positions; ++p) {
      const float* row = keys.data() + size_t{p} * width;
      by.write_cache({head, at[p / lanes], p % lanes, row, row});
    }
    const size_t size = partial_floats(width);
    std::vector<float> partials(tokens * heads * size);
    by.attend({head, at.data(), 0, queries.data(), size_t{heads} * width, width, tokens, heads,
               positions - tokens, 20, 0.125f, 30.0f, partials.data()});
    for (uint32_t i = 0; i < tokens * heads; ++i) {
      by.merge_attention({partials.data() + i * size, 0, 1, width, &sink, out.data() + i * width});
    }
  };
  return same_by(a, b, size_t{tokens} * heads * width, attend);
}

bool same_rows(const Kernels& a, const Kernels& b, Numbers& numbers) {
  constexpr uint32_t width = 70, rows = 2;
  const std::vector<float> x = numbers.values(size_t{rows} * width);
  const std::vector<float> y = numbers.values(size_t{rows} * width);
  const auto alike = [&](auto run) { return same_by(a, b, x.size(), run); };
  bool well = true;
  for (const NormKind kind : {NormKind::rms, NormKind::layer}) {
    well &= alike([&](const Kernels& by, std::vector<float>& out) {
      by.norm({x.data(), width, out.data(), width, rows, width, y.data(), y.data() + width, 1e-5f,
               1.0f, kind});
    });
  }
  for (const bool traditional : {false, true}) {
    well &= alike([&](const Kernels& by, std::vector<float>& out) {
      out = x;
      by.rope({out.data(), width, rows, 48, traditional, y.data(), y.data() + width});
    });
  }
  for (uint32_t kind = 0; kind <= static_cast<uint32_t>(ActivationKind::relu_squared); ++kind) {
    well &= alike([&](const Kernels& by, std::vector<float>& out) {
      by.activate({x.data(), y.data(), out.data(), out.size(), static_cast<ActivationKind>(kind)});
    });
  }
  well &= alike([&](const Kernels& by, std::vector<float>& out) {
    by.add({x.data(), y.data(), out.data(), out.size(), 0.7f});
    by.softcap({out.data(), out.size(), 1.5f, 2.0f});
  });
  const Largest by_a = a.largest(x.data(), x.size()), by_b = b.largest(x.data(), x.size());
  return well && by_a.index == by_b.index && by_a.value == by_b.value &&
         by_a.finite == by_b.finite;
}

}  // namespace

bool agrees(const Kernels& kernels, const Kernels& trusted) {
  Numbers numbers;
  bool well = same_matrices(kernels, trusted, numbers) && same_rows(kernels, trusted, numbers);
  for (const CacheType type : {CacheType::u8, CacheType::f32}) {
    for (const uint32_t width : {64u, 80u, 20u}) {
      well = well && same_attention(kernels, trusted, type, width, numbers);
    }
  }
  return well;
}

}  // namespace cidery::cpu
