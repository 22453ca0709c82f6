#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"

/// Where the bytes of a parameter lie on disk, and how they are read: by range, never whole files.
namespace cidery::load {

/// Element layouts of src/model/manifest.ts: plain ones, then the block formats of
/// program::BlockFormat.
enum class Format : uint32_t {
  f64, f32, f16, bf16, i64, i32, i16, i8, u64, u32, u16, u8, boolean, f8_e4m3, f8_e5m2, f8_e8m0,
  q4_0, q4_1, q5_0, q5_1, q8_0, q2_k, q3_k, q4_k, q5_k, q6_k, iq4_nl, mxfp4
};

/// Rows of bytes: row r is [offset + r * row_stride, + row_bytes) of a file.
struct Piece {
  uint32_t file = 0;
  uint64_t offset = 0;
  uint64_t row_bytes = 0, row_stride = 0, row_count = 1;
};

/// Undoing llama.cpp's q and k row order (heads > 0), and a constant to add to each value (0:
/// nothing).
struct Transforms {
  uint32_t unpermute_heads = 0;
  float add = 0;
};

/// A tensor in the file: `weight` alone for dense and block storage; MLX's quantized storages add
/// scales and biases.
enum class Role : uint32_t { weight = 0, scales = 1, biases = 2 };
struct Part {
  Role role = Role::weight;
  Format format = Format::f32;
  std::vector<uint32_t> shape;  // as stored: packed words for MLX, logical for blocks
  Transforms transforms;
  std::vector<Piece> pieces;    // in order; together they are the whole of `shape`
};

/// One parameter to load.
struct ParameterSource {
  uint32_t parameter = 0;
  std::vector<Part> parts;
};

/// The files of a model, opened once for reading. Throws Error `model_file_missing`.
class FileSet {
 public:
  explicit FileSet(std::vector<std::string> paths);
  ~FileSet();
  FileSet(const FileSet&) = delete;
  FileSet& operator=(const FileSet&) = delete;

  /// Bytes of a part as it lies in its pieces. Throws Error `model_file_broken` where its size
  /// overflows.
  static uint64_t size_bytes(const Part& part);
  /// Fills `out` (size_bytes long) by pread, undoing the row order where the part says so (in whole
  /// rows of bytes). Throws Error `model_file_broken` when the file ends early,
  /// `model_file_unreadable` on an input error.
  void read(const Part& part, std::span<std::byte> out) const;
  /// Fills `out` from byte `from` of the part on, in the file's row order; any number of threads
  /// may read at once. Throws as `read` does.
  void read_some(const Part& part, uint64_t from, std::span<std::byte> out) const;

 private:
  std::vector<std::string> paths_;
  std::vector<int> descriptors_;
};

}  // namespace cidery::load
