#include "mlx/activations.h"

#include <algorithm>
#include <stdexcept>

namespace cidery::mlx {

mx::array Activations::cut(const Piece& piece, uint32_t begin, uint32_t end) {
  if (begin == piece.column && end == piece.end()) return piece.values;
  const auto from = static_cast<int>(begin - piece.column);
  const auto to = static_cast<int>(end - piece.column);
  return mx::slice(piece.values, {0, from}, {piece.values.shape(0), to});
}

mx::array Activations::read(const program::Columns& columns) const {
  std::vector<mx::array> parts;
  uint32_t at = columns.column;
  const uint32_t end = columns.column + columns.width;
  for (const Piece& piece : buffers_[columns.buffer]) {
    if (piece.end() <= at || piece.column >= end) continue;
    if (piece.column > at) break;
    const uint32_t stop = std::min(end, piece.end());
    parts.push_back(cut(piece, at, stop));
    at = stop;
  }
  if (at != end) throw std::logic_error("columns are read that were never written");
  return parts.size() == 1 ? parts.front() : mx::concatenate(parts, 1);
}

void Activations::write(const program::Columns& columns, mx::array values) {
  Pieces& pieces = buffers_[columns.buffer];
  const uint32_t begin = columns.column, end = columns.column + columns.width;
  Pieces kept;
  for (const Piece& piece : pieces) {
    if (piece.column < begin) {
      kept.push_back({piece.column, cut(piece, piece.column, std::min(begin, piece.end()))});
    }
    if (piece.end() > end) {
      const uint32_t from = std::max(end, piece.column);
      kept.push_back({from, cut(piece, from, piece.end())});
    }
  }
  kept.push_back({begin, std::move(values)});
  std::ranges::sort(kept, {}, &Piece::column);
  pieces = std::move(kept);
}

}  // namespace cidery::mlx
