#include "test/tiny_model.h"

#include <unistd.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <numbers>
#include <stdexcept>

#include "load/dequantize.h"
#include "load/format.h"

namespace cidery::test {
namespace {

using program::Columns;
using program::none;
using program::StorageKind;

/// f32 to the bits of f16 or bf16 by dropping what does not fit: any value will do for a test.
uint16_t cut(float value, load::Format format) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if (format == load::Format::bf16) return static_cast<uint16_t>(bits >> 16);
  const uint32_t exponent = (bits >> 23) & 255;
  if (exponent <= 112) return static_cast<uint16_t>(bits >> 16 & 0x8000);
  const uint32_t sign = bits >> 16 & 0x8000, mantissa = bits >> 13 & 1023;
  return static_cast<uint16_t>(sign | (exponent - 112) << 10 | mantissa);
}

float widen(uint16_t bits, load::Format format) {
  if (format == load::Format::bf16) return std::bit_cast<float>(uint32_t{bits} << 16);
  return load::half_to_float(bits);
}

void append_float(std::string& bytes, float value, load::Format format, double& stored) {
  if (format == load::Format::f32) {
    bytes.append(reinterpret_cast<const char*>(&value), 4);
    stored = value;
    return;
  }
  const uint16_t half = cut(value, format);
  bytes.append(reinterpret_cast<const char*>(&half), 2);
  stored = widen(half, format);
}

}  // namespace

TinyModel::TinyModel(const Traits& traits, uint64_t seed) : traits_(traits), state_(seed) {
  using program::Domain;
  const Traits& t = traits_;
  const uint32_t joined = (t.heads + t.key_heads) * t.head_width + t.key_heads * t.value_width;
  x_ = buffer("x", t.hidden, Domain::tokens);
  normed_ = buffer("normed", t.hidden, Domain::tokens);
  joined_ = buffer("qkv", joined, Domain::tokens);
  attended_ = buffer("attended", t.heads * t.value_width, Domain::tokens);
  gates_ = buffer("gates", 2 * t.inner, Domain::tokens);
  delta_ = buffer("delta", t.hidden, Domain::tokens);
  const uint32_t last = buffer("last", t.hidden, Domain::selected);
  program.vocabulary = t.vocabulary;
  program.context_length = 4096;
  program.ropes.push_back(t.rope);
  const uint32_t table = matrix("embed.weight", t.vocabulary, t.hidden);
  program.operations.push_back(program::Embed{{x_, 0, t.hidden}, table, t.embed_scale, 0});
  for (uint32_t i = 0; i < t.layers; ++i) layer(i);
  program.operations.push_back(program::Select{{last, 0, t.hidden}, {x_, 0, t.hidden}});
  norm("norm", {last, 0, t.hidden}, {last, 0, t.hidden});
  program.operations.push_back(program::Head{
      {last, 0, t.hidden}, table, none, t.logit_scale, t.logit_softcap, 0});
  std::string name = std::string(P_tmpdir) + "/cidery-test-XXXXXX";
  const int descriptor = ::mkstemp(name.data());
  if (descriptor < 0) throw std::runtime_error("no temporary file");
  ::close(descriptor);
  path_ = name;
  std::ofstream(path_, std::ios::binary) << bytes_;
}

TinyModel::~TinyModel() { ::unlink(path_.c_str()); }

uint32_t TinyModel::buffer(const std::string& name, uint32_t width, program::Domain domain) {
  program.buffers.push_back({name, width, domain});
  return static_cast<uint32_t>(program.buffers.size() - 1);
}

float TinyModel::gaussian() {
  const auto next = [this] {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return (static_cast<double>(state_ >> 40) + 0.5) / 16777216.0;
  };
  const double radius = std::sqrt(-2 * std::log(next()));
  return static_cast<float>(radius * std::cos(2 * std::numbers::pi * next()));
}

void TinyModel::append(load::Role role, load::Format format, std::vector<uint32_t> shape,
                       const std::string& bytes) {
  load::Part& part = sources.back().parts.emplace_back();
  part.role = role;
  part.format = format;
  part.shape = std::move(shape);
  part.pieces.push_back({0, bytes_.size(), bytes.size(), bytes.size(), 1});
  bytes_ += bytes;
}

std::string TinyModel::random_blocks(load::Format format, size_t blocks) {
  const load::FormatLayout& layout = load::layout_of(format);
  std::string bytes;
  for (size_t i = 0; i < blocks; ++i) {
    std::string block;
    for (uint32_t j = 0; j < layout.bytes; ++j) {
      block += static_cast<char>(std::lround(gaussian() * 80) & 255);
    }
    const auto put_half = [&](size_t at, float value) {
      const uint16_t half = cut(value, load::Format::f16);
      std::memcpy(block.data() + at, &half, 2);
    };
    const float scale = 0.01f + 0.002f * gaussian();
    using enum load::Format;
    if (format == mxfp4) block[0] = static_cast<char>(120 + (i % 3));
    else if (format == q2_k) put_half(80, scale), put_half(82, scale);
    else if (format == q3_k) put_half(108, scale / 16);
    else if (format == q6_k) put_half(208, scale / 64);
    else if (format == q4_k || format == q5_k) put_half(0, scale / 64), put_half(2, scale / 32);
    else put_half(0, format == q8_0 || format == iq4_nl ? scale / 16 : scale);
    if (format == q4_1 || format == q5_1) put_half(2, -scale * 8);
    bytes += block;
  }
  return bytes;
}

uint32_t TinyModel::matrix(const std::string& path, uint32_t rows, uint32_t columns) {
  const MatrixStorage& how = traits_.matrices;
  const auto index = static_cast<uint32_t>(program.parameters.size());
  program.parameters.push_back({path, {rows, columns}, {how.kind, 0, 0, {}}});
  values.emplace_back(size_t{rows} * columns);
  sources.push_back({index, {}});
  if (how.kind == StorageKind::dense) fill_dense(rows, columns);
  else if (how.kind == StorageKind::block) fill_blocks(rows, columns);
  else fill_affine(rows, columns);
  return index;
}

void TinyModel::fill_dense(uint32_t rows, uint32_t columns) {
  const load::Format format = traits_.matrices.format;
  const float deviation = 1 / std::sqrt(static_cast<float>(columns));
  std::string bytes;
  for (double& value : values.back()) append_float(bytes, gaussian() * deviation, format, value);
  append(load::Role::weight, format, {rows, columns}, bytes);
}

void TinyModel::fill_blocks(uint32_t rows, uint32_t columns) {
  const load::Format format = traits_.matrices.format;
  std::vector<float> floats(values.back().size());
  const std::string bytes = random_blocks(format, floats.size() / load::layout_of(format).values);
  load::dequantize(format, std::as_bytes(std::span(bytes)), floats);
  values.back().assign(floats.begin(), floats.end());
  program.parameters.back().storage.format = static_cast<program::BlockFormat>(
      static_cast<uint32_t>(format) - static_cast<uint32_t>(load::Format::q4_0));
  append(load::Role::weight, format, {rows, columns}, bytes);
}

void TinyModel::fill_affine(uint32_t rows, uint32_t columns) {
  const auto [kind, format, bits, group] = traits_.matrices;
  program.parameters.back().storage.bits = bits;
  program.parameters.back().storage.group = group;
  const auto levels = static_cast<float>(1u << bits);
  const float step = 4 / std::sqrt(static_cast<float>(columns)) / levels;
  std::string words, scales, biases;
  double scale = 0, bias = 0;
  uint32_t pending = 0, count = 0;
  for (size_t i = 0; i < values.back().size(); ++i) {
    if (i % group == 0) {
      append_float(scales, step * (1 + 0.1f * gaussian()), format, scale);
      append_float(biases, -step * levels / 2, format, bias);
    }
    const uint32_t word = static_cast<uint32_t>(std::lround(gaussian() * 100)) & ((1u << bits) - 1);
    values.back()[i] = scale * word + bias;
    pending |= word << count;
    for (count += bits; count >= 8; count -= 8, pending >>= 8) {
      words += static_cast<char>(pending & 255);
    }
  }
  append(load::Role::weight, load::Format::u32, {rows, columns * bits / 32}, words);
  append(load::Role::scales, format, {rows, columns / group}, scales);
  append(load::Role::biases, format, {rows, columns / group}, biases);
}

uint32_t TinyModel::vector(const std::string& path, uint32_t width, float mean, float deviation) {
  const auto index = static_cast<uint32_t>(program.parameters.size());
  std::string bytes;
  std::vector<double> stored(width);
  for (double& value : stored) {
    append_float(bytes, mean + deviation * gaussian(), load::Format::f32, value);
  }
  program.parameters.push_back({path, {width}, {}});
  values.push_back(stored);
  sources.push_back({index, {}});
  append(load::Role::weight, load::Format::f32, {width}, bytes);
  return index;
}

uint32_t TinyModel::optional_bias(const std::string& path, uint32_t width) {
  return traits_.biases ? vector(path, width, 0, 0.2f) : none;
}

void TinyModel::norm(const std::string& path, Columns out, Columns in) {
  const uint32_t weight = vector(path + ".weight", in.width, 1 - traits_.norm_offset, 0.1f);
  const uint32_t bias = traits_.norm_kind == 1 ? optional_bias(path + ".bias", in.width) : none;
  program.operations.push_back(
      program::Norm{out, in, weight, bias, 1e-5f, traits_.norm_offset, traits_.norm_kind});
}

void TinyModel::layer(uint32_t index) {
  const Traits& t = traits_;
  const std::string path = "layers." + std::to_string(index);
  const Columns x{x_, 0, t.hidden}, normed{normed_, 0, t.hidden}, delta{delta_, 0, t.hidden};
  norm(path + ".input_norm", normed, x);
  attention(index);
  program.operations.push_back(program::Add{x, x, delta, t.residual_scale});
  norm(path + ".post_norm", normed, x);
  feed_forward(index);
  if (!t.scattered) {
    program.operations.push_back(program::Add{x, x, delta, t.residual_scale});
    return;
  }
  const uint32_t part = t.hidden / 4;
  const Columns left{x_, 0, part}, right{x_, part, t.hidden - part};
  program.operations.push_back(program::Add{left, left, {delta_, 0, part}, t.residual_scale});
  program.operations.push_back(
      program::Add{right, right, {delta_, part, t.hidden - part}, t.residual_scale});
}

void TinyModel::attention(uint32_t index) {
  const Traits& t = traits_;
  const std::string path = "layers." + std::to_string(index) + ".self_attn.";
  const Columns normed{normed_, 0, t.hidden};
  const Columns q{joined_, 0, t.heads * t.head_width};
  const Columns k{joined_, q.width, t.key_heads * t.head_width};
  const Columns v{joined_, q.width + k.width, t.key_heads * t.value_width};
  const auto linear = [&](const std::string& name, Columns out, Columns in) {
    const uint32_t weight = matrix(path + name + ".weight", out.width, in.width);
    program.operations.push_back(
        program::Linear{out, in, weight, optional_bias(path + name + ".bias", out.width)});
  };
  if (t.fused) {
    linear("qkv_proj", {joined_, 0, q.width + k.width + v.width}, normed);
  } else {
    linear("q_proj", q, normed);
    linear("k_proj", k, normed);
    linear("v_proj", v, normed);
  }
  program::Attention op{};
  op.out = {attended_, 0, t.heads * t.value_width};
  op.q = q, op.k = k, op.v = v;
  op.cache = index;
  op.heads = t.heads, op.key_heads = t.key_heads;
  op.group_heads = t.group_heads == 0 ? t.heads / t.key_heads : t.group_heads;
  op.first_in_group = t.first_in_group;
  op.head_width = t.head_width, op.value_width = t.value_width;
  op.scale = 1 / std::sqrt(static_cast<float>(t.head_width));
  op.softcap = t.softcap;
  op.window = t.window;
  op.q_norm = op.k_norm = op.sinks = none;
  op.norm_kind = t.head_norm_kind;
  if (t.head_norm_kind != 0) {
    op.q_norm = vector(path + "q_norm.weight", t.head_width, 1, 0.1f);
    op.k_norm = vector(path + "k_norm.weight", t.head_width, 1, 0.1f);
  }
  op.norm_epsilon = 1e-5f;
  op.rope = t.ropes ? 0 : none;
  op.query_scale_beta = t.query_scale_beta;
  op.query_scale_original = t.query_scale_original;
  if (t.sinks) op.sinks = vector(path + "sinks", t.heads, 0, 1);
  program.caches.push_back({t.key_heads, t.head_width, t.value_width, t.window});
  program.operations.push_back(op);
  linear("o_proj", {delta_, 0, t.hidden}, op.out);
}

void TinyModel::feed_forward(uint32_t index) {
  const Traits& t = traits_;
  const std::string path = "layers." + std::to_string(index) + ".mlp.";
  const Columns normed{normed_, 0, t.hidden};
  const Columns gate{gates_, 0, t.inner}, up{gates_, t.inner, t.inner};
  const auto linear = [&](const std::string& name, Columns out, Columns in) {
    const uint32_t weight = matrix(path + name + ".weight", out.width, in.width);
    program.operations.push_back(
        program::Linear{out, in, weight, optional_bias(path + name + ".bias", out.width)});
  };
  if (t.fused) {
    linear("gate_up_proj", {gates_, 0, 2 * t.inner}, normed);
  } else {
    linear("gate_proj", gate, normed);
    linear("up_proj", up, normed);
  }
  program.operations.push_back(program::Activate{gate, gate, up, t.activation});
  linear("down_proj", {delta_, 0, t.hidden}, gate);
}

}  // namespace cidery::test
