#include "kernels_matrices.h"

#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "check.h"
#include "cpu/dispatch.h"
#include "load/dequantize.h"
#include "load/format.h"

namespace cidery::test {
namespace {

using load::Format;
using program::BlockFormat;
using program::StorageKind;

/// A half of magnitude 2^-8 to 2^-4, positive or negative.
uint16_t random_half(Random& random) {
  const auto bits = static_cast<uint16_t>(random());
  return static_cast<uint16_t>((bits & 0x83ff) | ((7 + (bits >> 10) % 4) << 10));
}

void put_float(std::byte* at, Format format, float value) {
  if (format == Format::f32) {
    std::memcpy(at, &value, 4);
    return;
  }
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  // Truncated, for normal halves: any value serves.
  const auto half = static_cast<uint16_t>(
      format == Format::bf16
          ? bits >> 16
          : (bits >> 16 & 0x8000) | ((bits >> 23 & 255) - 112) << 10 | (bits >> 13 & 1023));
  std::memcpy(at, &half, 2);
}

float get_float(const std::byte* at, Format format) {
  if (format == Format::f32) {
    float value;
    std::memcpy(&value, at, 4);
    return value;
  }
  uint16_t half;
  std::memcpy(&half, at, 2);
  return format == Format::f16 ? load::half_to_float(half)
                               : std::bit_cast<float>(uint32_t{half} << 16);
}

/// Where a block holds its 16-bit scales.
std::vector<uint32_t> scale_offsets(Format format) {
  switch (format) {
    case Format::q2_k: return {80, 82};
    case Format::q3_k: return {108};
    case Format::q6_k: return {208};
    case Format::q4_1:
    case Format::q5_1:
    case Format::q4_k:
    case Format::q5_k: return {0, 2};
    case Format::mxfp4: return {};
    default: return {0};
  }
}

Format format_of(const cpu::RawLayout& layout) {
  return static_cast<Format>(static_cast<uint32_t>(Format::q4_0) +
                             static_cast<uint32_t>(layout.storage.format));
}

void fill_floats(std::vector<std::byte>& bytes, Format format, float size, Random& random) {
  const size_t step = load::layout_of(format).bytes;
  std::uniform_real_distribution<float> uniform(0.1f, 1.0f);
  for (size_t at = 0; at < bytes.size(); at += step) {
    const float sign = random() % 2 == 0 ? 1.0f : -1.0f;
    put_float(bytes.data() + at, format, uniform(random) * size * sign);
  }
}

void fill_blocks(std::vector<std::byte>& bytes, Format format, Random& random) {
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  const size_t step = load::layout_of(format).bytes;
  for (size_t block = 0; block < bytes.size(); block += step) {
    for (const uint32_t offset : scale_offsets(format)) {
      const uint16_t half = random_half(random);
      std::memcpy(bytes.data() + block + offset, &half, 2);
    }
    if (format == Format::mxfp4) bytes[block] = static_cast<std::byte>(120 + random() % 8);
  }
}

uint32_t code_at(const std::byte* row, uint32_t bits, uint32_t index) {
  uint32_t code = 0;
  for (uint32_t bit = 0; bit < bits; ++bit) {
    const uint32_t at = index * bits + bit;
    code |= (static_cast<uint32_t>(row[at / 8]) >> (at % 8) & 1) << bit;
  }
  return code;
}

constexpr float float4[16] = {0,  0.5f,  1,  1.5f,  2,  3,  4,  6,
                              -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6};

float word_value(const RawMatrix& raw, uint32_t output, uint32_t input) {
  const cpu::RawLayout& layout = raw.layout;
  const cpu::RawRowBytes bytes = cpu::raw_row_bytes(layout);
  const std::byte* row = raw.weight.data() + output * bytes.weight;
  const std::byte* scales = raw.scales.data() + output * bytes.scales;
  if (layout.storage.kind == StorageKind::mxfp4) {
    const auto exponent = static_cast<int>(scales[input / 32]);
    return float4[code_at(row, 4, input)] * std::ldexp(1.0f, exponent - 127);
  }
  const uint32_t group = input / layout.storage.group;
  const size_t step = load::layout_of(layout.factors).bytes;
  const float scale = get_float(scales + group * step, layout.factors);
  const float bias =
      get_float(raw.biases.data() + output * bytes.biases + group * step, layout.factors);
  return scale * static_cast<float>(code_at(row, layout.storage.bits, input)) + bias;
}

FileFormat affine(uint32_t bits, uint32_t group, Format factors) {
  cpu::RawLayout layout;
  layout.storage = {StorageKind::affine, bits, group, BlockFormat::q4_0};
  layout.weight = Format::u32;
  layout.factors = factors;
  return {"affine" + std::to_string(bits) + "_g" + std::to_string(group) + "_" +
              std::string(load::layout_of(factors).name),
          layout, group};
}

}  // namespace

int run_kernel_test(int count, char** arguments, const char* name,
                    void (*run)(const std::vector<const cpu::Kernels*>& sets, uint64_t seed)) {
  std::string only;
  uint64_t seed = 1;
  for (int i = 1; i + 1 < count; i += 2) {
    const std::string_view option = arguments[i];
    if (option == "--seed") seed = std::strtoull(arguments[i + 1], nullptr, 10);
    if (option == "--set") only = arguments[i + 1];
  }
  std::vector<const cpu::Kernels*> sets;
  try {
    if (!only.empty()) sets.push_back(&cpu::choose_kernels(only));
  } catch (const Error& error) {
    std::printf("%s\n", error.what());
    return 2;
  }
  for (const std::string_view possible : cpu::possible_sets()) {
    if (only.empty()) sets.push_back(&cpu::choose_kernels(possible));
  }
  for (const cpu::Kernels* set : sets) std::printf("set %s\n", set->name);
  run(sets, seed);
  return summary(name);
}

std::vector<float> random_values(size_t count, Random& random) {
  std::normal_distribution<float> normal;
  std::vector<float> out(count);
  for (float& value : out) value = normal(random);
  return out;
}

std::vector<FileFormat> file_formats() {
  std::vector<FileFormat> out;
  for (const Format dense : {Format::f32, Format::f16, Format::bf16}) {
    cpu::RawLayout layout;
    layout.weight = dense;
    out.push_back({std::string(load::layout_of(dense).name), layout, 1});
    layout.add = 1;
    out.push_back({std::string(load::layout_of(dense).name) + "_added", layout, 1});
  }
  for (const uint32_t bits : {2u, 3u, 4u, 5u, 6u, 8u}) {
    out.push_back(affine(bits, 32, Format::f16));
    out.push_back(affine(bits, 64, Format::bf16));
    out.push_back(affine(bits, 128, Format::f32));
  }
  cpu::RawLayout words;
  words.storage.kind = StorageKind::mxfp4;
  out.push_back({"mxfp4_words", words, 32});
  for (auto i = static_cast<uint32_t>(BlockFormat::q4_0);
       i <= static_cast<uint32_t>(BlockFormat::mxfp4); ++i) {
    cpu::RawLayout layout;
    layout.storage = {StorageKind::block, 0, 0, static_cast<BlockFormat>(i)};
    const load::FormatLayout& block = load::layout_of(format_of(layout));
    out.push_back({std::string(block.name), layout, block.values});
    if (layout.storage.format != BlockFormat::q8_0) continue;
    layout.split = true;
    out.push_back({std::string(block.name) + "_split", layout, block.values});
  }
  return out;
}

cpu::RawRows RawMatrix::rows(uint32_t first, uint32_t count) const {
  const cpu::RawRowBytes bytes = cpu::raw_row_bytes(layout);
  const auto part = [&](const std::vector<std::byte>& all, uint64_t row) {
    return std::span(all).subspan(first * row, count * row);
  };
  return {part(weight, bytes.weight), part(scales, bytes.scales), part(biases, bytes.biases)};
}

std::vector<float> RawMatrix::values() const {
  std::vector<float> out(size_t{layout.outputs} * layout.inputs);
  if (layout.storage.kind == StorageKind::block) {
    load::dequantize(format_of(layout), weight, out);
  } else if (layout.storage.kind == StorageKind::dense) {
    const size_t step = load::layout_of(layout.weight).bytes;
    for (size_t i = 0; i < out.size(); ++i) {
      out[i] = get_float(weight.data() + i * step, layout.weight);
    }
  } else {
    for (uint32_t o = 0; o < layout.outputs; ++o) {
      for (uint32_t i = 0; i < layout.inputs; ++i) {
        out[size_t{o} * layout.inputs + i] = word_value(*this, o, i);
      }
    }
  }
  if (layout.add != 0) {
    for (float& value : out) value += layout.add;
  }
  return out;
}

RawMatrix random_matrix(const FileFormat& format, uint32_t outputs, uint32_t inputs,
                        Random& random) {
  RawMatrix raw;
  raw.layout = format.layout;
  raw.layout.outputs = outputs;
  raw.layout.inputs = inputs;
  const cpu::RawRowBytes bytes = cpu::raw_row_bytes(raw.layout);
  raw.weight.resize(outputs * bytes.weight);
  raw.scales.resize(outputs * bytes.scales);
  raw.biases.resize(outputs * bytes.biases);
  switch (raw.layout.storage.kind) {
    case StorageKind::dense: fill_floats(raw.weight, raw.layout.weight, 1.0f, random); break;
    case StorageKind::block: fill_blocks(raw.weight, format_of(raw.layout), random); break;
    case StorageKind::mxfp4:
      for (std::byte& byte : raw.weight) byte = static_cast<std::byte>(random());
      for (std::byte& byte : raw.scales) byte = static_cast<std::byte>(random() % 128);
      break;
    case StorageKind::affine: {
      for (std::byte& byte : raw.weight) byte = static_cast<std::byte>(random());
      const float step = 1.0f / static_cast<float>(1u << raw.layout.storage.bits);
      fill_floats(raw.scales, raw.layout.factors, step, random);
      fill_floats(raw.biases, raw.layout.factors, 0.5f, random);
    }
  }
  return raw;
}

PackedMatrix::PackedMatrix(const RawMatrix& raw)
    : weight(cpu::plan_packing(raw.layout)), slab(cpu::packed_bytes(weight)) {
  cpu::pack_panels(weight, raw.layout, raw.rows(), 0, cpu::panel_count(weight.outputs),
                   {slab.data(), slab.size()});
  weight.data = reinterpret_cast<const uint8_t*>(slab.data());
}

}  // namespace cidery::test
