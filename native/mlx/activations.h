#pragma once

#include <vector>

#include "mlx/loaded_array.h"
#include "program/program.h"

namespace cidery::mlx {

/// The program's buffers during one step. A write keeps the array; columns are cut or joined only
/// where an operation reads other columns than were written.
class Activations {
 public:
  explicit Activations(size_t buffers) : buffers_(buffers) {}

  mx::array read(const program::Columns& columns) const;
  /// `values` [rows, columns.width] take the place of what the columns held.
  void write(const program::Columns& columns, mx::array values);

 private:
  struct Piece {
    uint32_t column;
    mx::array values;  // [rows, width]
    uint32_t width() const { return static_cast<uint32_t>(values.shape(1)); }
    uint32_t end() const { return column + width(); }
  };
  using Pieces = std::vector<Piece>;  // in order of column, apart from one another

  static mx::array cut(const Piece& piece, uint32_t begin, uint32_t end);

  std::vector<Pieces> buffers_;
};

}  // namespace cidery::mlx
