#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "load/tensor_source.h"
#include "program/program.h"
#include "test/oracle.h"

/// Tiny random models, made by hand, for tests of executors.
namespace cidery::test {

/// How a matrix is stored.
struct MatrixStorage {
  program::StorageKind kind = program::StorageKind::dense;
  load::Format format = load::Format::f32;  // dense: of the values; affine: of scales and biases
  uint32_t bits = 4, group = 32;            // affine
};

inline program::Rope make_rope(uint32_t width, bool traditional = false, float pre_scale = 1) {
  program::Rope rope;
  rope.width = width;
  rope.traditional = traditional;
  rope.base = 100;
  rope.pre_scale = pre_scale;
  return rope;
}

/// What a tiny model is like; the default is llama's shape.
struct Traits {
  uint32_t layers = 2, hidden = 256, heads = 16, key_heads = 4, head_width = 16, value_width = 16;
  uint32_t group_heads = 0, first_in_group = 0;  // 0: every key head has as many heads
  uint32_t inner = 256, vocabulary = 96;
  MatrixStorage matrices;
  bool biases = false;
  bool fused = false;       // q, k, v out of one matrix; gate and up too
  bool scattered = false;   // the head's input is written in two parts
  uint32_t norm_kind = 0, head_norm_kind = 0, activation = 0;
  float norm_offset = 0, embed_scale = 1, residual_scale = 1;
  float logit_scale = 1, logit_softcap = 0;
  float softcap = 0;
  uint32_t window = 0;
  bool sinks = false, ropes = true;
  program::Rope rope = make_rope(16);
  float query_scale_beta = 0;
  uint32_t query_scale_original = 0;
};

/// A model whose parameters lie in a file of their own, which goes with it.
class TinyModel {
 public:
  explicit TinyModel(const Traits& traits, uint64_t seed = 1);
  ~TinyModel();
  TinyModel(const TinyModel&) = delete;
  TinyModel& operator=(const TinyModel&) = delete;

  program::Program program;
  ParameterValues values;  // what the stored bytes stand for
  std::vector<load::ParameterSource> sources;
  const std::string& path() const { return path_; }

 private:
  uint32_t matrix(const std::string& path, uint32_t rows, uint32_t columns);
  uint32_t vector(const std::string& path, uint32_t width, float mean, float deviation);
  void layer(uint32_t index);
  void attention(uint32_t index);
  void feed_forward(uint32_t index);
  void norm(const std::string& path, program::Columns out, program::Columns in);
  uint32_t optional_bias(const std::string& path, uint32_t width);
  void fill_dense(uint32_t rows, uint32_t columns);
  void fill_blocks(uint32_t rows, uint32_t columns);
  void fill_affine(uint32_t rows, uint32_t columns);
  /// Adds a part to the source of the parameter that was begun last.
  void append(load::Role role, load::Format format, std::vector<uint32_t> shape,
              const std::string& bytes);
  uint32_t buffer(const std::string& name, uint32_t width, program::Domain domain);
  float gaussian();
  std::string random_blocks(load::Format format, size_t blocks);

  Traits traits_;
  uint64_t state_;
  std::string path_, bytes_;
  uint32_t x_ = 0, normed_ = 0, joined_ = 0, attended_ = 0, gates_ = 0, delta_ = 0;
};

}  // namespace cidery::test
