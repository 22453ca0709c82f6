#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

#include "load/format.h"
#include "load/tensor_source.h"

namespace cidery::load {
namespace {

// macOS refuses larger single reads; Linux cuts them.
constexpr uint64_t largest_read = uint64_t{1} << 30;

[[noreturn]] void broken(const std::string& message) {
  throw Error("model_file_broken", message);
}

uint64_t product(uint64_t a, uint64_t b) {
  uint64_t out = 0;
  if (__builtin_mul_overflow(a, b, &out)) broken("a tensor's size overflows");
  return out;
}

uint64_t sum(uint64_t a, uint64_t b) {
  uint64_t out = 0;
  if (__builtin_add_overflow(a, b, &out)) broken("a tensor's size overflows");
  return out;
}

/// Bytes that the part's shape takes in its format.
uint64_t shape_bytes(const Part& part) {
  uint64_t elements = 1;
  for (const uint32_t size : part.shape) elements = product(elements, size);
  const FormatLayout layout = layout_of(part.format);
  const uint64_t last = part.shape.empty() ? 1 : part.shape.back();
  if (last % layout.values != 0) broken("a tensor's rows are no whole blocks of its format");
  return product(elements / layout.values, layout.bytes);
}

int open_file(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    throw Error("model_file_missing", "cannot open '" + path + "': " + std::strerror(errno));
  }
  struct stat facts {};
  if (::fstat(descriptor, &facts) != 0 || !S_ISREG(facts.st_mode)) {
    ::close(descriptor);
    throw Error("model_file_missing", "'" + path + "' is no regular file");
  }
  return descriptor;
}

/// Fills `out` from `offset`, however many reads it takes.
void read_range(int descriptor, const std::string& path, uint64_t offset,
                std::span<std::byte> out) {
  while (!out.empty()) {
    const size_t wanted = std::min<uint64_t>(out.size(), largest_read);
    const ssize_t got = ::pread(descriptor, out.data(), wanted, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      throw Error("model_file_unreadable", "reading '" + path + "': " + std::strerror(errno));
    }
    if (got == 0) {
      broken("'" + path + "' ends at byte " + std::to_string(offset) + ", within a tensor");
    }
    offset += static_cast<uint64_t>(got);
    out = out.subspan(static_cast<size_t>(got));
  }
}

/// Whether all of a piece lies at offsets that a file can have.
void check_piece(const Piece& piece, size_t files) {
  if (piece.file >= files) broken("a tensor names a file that is not there");
  if (piece.row_bytes == 0 || piece.row_count == 0) broken("a piece of a tensor is empty");
  const uint64_t end =
      sum(sum(piece.offset, product(piece.row_count - 1, piece.row_stride)), piece.row_bytes);
  if (end > static_cast<uint64_t>(std::numeric_limits<off_t>::max())) {
    broken("a tensor lies beyond any file");
  }
}

/// Puts rows back in Hugging Face's order. llama.cpp stores those of q and k as reshape(heads, 2,
/// width / 2, …).swapaxes(1, 2): its row (h, j, i) of [heads, width / 2, 2] is row (h, i, j) of
/// [heads, 2, width / 2].
void unpermute(const Part& part, std::span<std::byte> bytes) {
  const uint64_t heads = part.transforms.unpermute_heads;
  const uint64_t rows = part.shape.empty() ? 0 : part.shape[0];
  if (rows == 0 || rows % (heads * 2) != 0 || bytes.size() % rows != 0) {
    broken("a tensor of " + std::to_string(rows) + " rows cannot be put in the order of " +
           std::to_string(heads) + " heads");
  }
  const size_t width = rows / heads, half = width / 2, row_bytes = bytes.size() / rows;
  std::vector<std::byte> head(width * row_bytes);
  for (size_t h = 0; h < heads; ++h) {
    std::byte* rows_of_head = bytes.data() + h * width * row_bytes;
    std::memcpy(head.data(), rows_of_head, head.size());
    for (size_t i = 0; i < 2; ++i) {
      for (size_t j = 0; j < half; ++j) {
        std::memcpy(rows_of_head + (i * half + j) * row_bytes,
                    head.data() + (j * 2 + i) * row_bytes, row_bytes);
      }
    }
  }
}

}  // namespace

FileSet::FileSet(std::vector<std::string> paths) : paths_(std::move(paths)) {
  descriptors_.reserve(paths_.size());
  try {
    for (const std::string& path : paths_) descriptors_.push_back(open_file(path));
  } catch (...) {
    for (const int descriptor : descriptors_) ::close(descriptor);
    throw;
  }
}

FileSet::~FileSet() {
  for (const int descriptor : descriptors_) ::close(descriptor);
}

uint64_t FileSet::size_bytes(const Part& part) {
  uint64_t total = 0;
  for (const Piece& piece : part.pieces) {
    total = sum(total, product(piece.row_bytes, piece.row_count));
  }
  const uint64_t needed = shape_bytes(part);
  if (total != needed) {
    broken("a tensor's pieces hold " + std::to_string(total) + " bytes but its shape needs " +
           std::to_string(needed));
  }
  return total;
}

void FileSet::read(const Part& part, std::span<std::byte> out) const {
  if (out.size() != size_bytes(part)) broken("a tensor is read into room of another size");
  read_some(part, 0, out);
  if (part.transforms.unpermute_heads > 0) unpermute(part, out);
}

void FileSet::read_some(const Part& part, uint64_t from, std::span<std::byte> out) const {
  if (sum(from, out.size()) > size_bytes(part)) broken("a tensor is read beyond its end");
  for (const Piece& piece : part.pieces) {
    check_piece(piece, descriptors_.size());
    const bool whole = piece.row_count == 1 || piece.row_stride == piece.row_bytes;
    const uint64_t size = piece.row_bytes * piece.row_count;
    const uint64_t row_bytes = whole ? size : piece.row_bytes;
    while (from < size && !out.empty()) {
      const uint64_t row = from / row_bytes, skipped = from % row_bytes;
      const size_t length = std::min<uint64_t>(row_bytes - skipped, out.size());
      read_range(descriptors_[piece.file], paths_[piece.file],
                 piece.offset + row * piece.row_stride + skipped, out.first(length));
      out = out.subspan(length);
      from += length;
    }
    from -= std::min(from, size);
  }
}

}  // namespace cidery::load
