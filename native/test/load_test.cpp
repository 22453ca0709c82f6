#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "load/format.h"
#include "load/tensor_source.h"
#include "test/check.h"

/// FileSet on real files: pieces, strides, row order, and files and sizes that lie.
using namespace cidery;
using namespace cidery::load;
using cidery::test::check;
using cidery::test::check_throws;

namespace {

/// A new empty file for writing; its path goes to `path`.
int make_file(std::string& path) {
  path = (std::filesystem::temp_directory_path() / "cidery-load-XXXXXX").string();
  return ::mkstemp(path.data());
}

/// A temporary file of bytes 0, 1, 2, … (mod 251), gone at the end.
class ByteFile {
 public:
  explicit ByteFile(size_t size) {
    const int descriptor = make_file(path);
    std::vector<unsigned char> bytes(size);
    for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<unsigned char>(i % 251);
    if (::write(descriptor, bytes.data(), size) != static_cast<ssize_t>(size)) std::abort();
    ::close(descriptor);
  }
  ~ByteFile() { std::remove(path.c_str()); }
  std::string path;
};

Part part_of(std::vector<uint32_t> shape, std::vector<Piece> pieces, Format format = Format::u8) {
  Part part;
  part.format = format;
  part.shape = std::move(shape);
  part.pieces = std::move(pieces);
  return part;
}

std::vector<unsigned> read(const FileSet& files, const Part& part) {
  std::vector<std::byte> bytes(FileSet::size_bytes(part));
  files.read(part, bytes);
  std::vector<unsigned> out;
  for (const std::byte byte : bytes) out.push_back(static_cast<unsigned>(byte));
  return out;
}

void pieces(const FileSet& files) {
  check(read(files, part_of({4}, {{0, 10, 4, 4, 1}})) == std::vector<unsigned>{10, 11, 12, 13},
        "one range");
  check(read(files, part_of({2, 3}, {{0, 5, 3, 10, 2}})) ==
            std::vector<unsigned>{5, 6, 7, 15, 16, 17},
        "rows with a stride");
  check(read(files, part_of({2, 3}, {{0, 5, 3, 3, 2}})) ==
            std::vector<unsigned>{5, 6, 7, 8, 9, 10},
        "rows side by side");
  check(read(files, part_of({5}, {{1, 1, 2, 2, 1}, {0, 20, 3, 3, 1}})) ==
            std::vector<unsigned>{1, 2, 20, 21, 22},
        "pieces of two files in order");
}

/// Any range of a part is that range of the whole.
void ranges(const FileSet& files) {
  const Part part = part_of({19}, {{0, 5, 3, 10, 3}, {1, 1, 2, 2, 2}, {0, 50, 6, 6, 1}});
  const std::vector<unsigned> whole = read(files, part);
  for (size_t from = 0; from <= whole.size(); ++from) {
    for (size_t size = 0; from + size <= whole.size(); ++size) {
      std::vector<std::byte> bytes(size);
      files.read_some(part, from, bytes);
      check(std::equal(bytes.begin(), bytes.end(), whole.begin() + static_cast<ptrdiff_t>(from),
                       [](std::byte a, unsigned b) { return std::to_integer<unsigned>(a) == b; }),
            "bytes " + std::to_string(from) + " and " + std::to_string(size) + " more");
    }
  }
  check_throws("model_file_broken", "a range beyond the part", [&] {
    std::vector<std::byte> bytes(4);
    files.read_some(part, 16, bytes);
  });
}

/// What llama.cpp's converter does to rows of q and k: reshape(heads, 2, width / 2).swapaxes(1, 2).
std::vector<unsigned> permuted(unsigned heads, unsigned width) {
  std::vector<unsigned> out;
  for (unsigned h = 0; h < heads; ++h) {
    for (unsigned j = 0; j < width / 2; ++j) {
      for (unsigned i = 0; i < 2; ++i) out.push_back(h * width + i * (width / 2) + j);
    }
  }
  return out;
}

void row_order() {
  const unsigned heads = 3, width = 8;
  // Row r of the file holds the bytes (s, s) where s is the row that llama.cpp took it from.
  std::string name;
  const int descriptor = make_file(name);
  for (const unsigned row : permuted(heads, width)) {
    const unsigned char bytes[2] = {static_cast<unsigned char>(row),
                                    static_cast<unsigned char>(row)};
    if (::write(descriptor, bytes, 2) != 2) std::abort();
  }
  ::close(descriptor);
  {
    const FileSet files({name});
    Part part = part_of({heads * width, 2}, {{0, 0, heads * width * 2, heads * width * 2, 1}});
    part.transforms.unpermute_heads = heads;
    std::vector<unsigned> expected;
    for (unsigned row = 0; row < heads * width; ++row) expected.insert(expected.end(), 2, row);
    check(read(files, part) == expected, "rows are back in Hugging Face's order");
    part.transforms.unpermute_heads = 5;
    check_throws("model_file_broken", "rows that do not fit the heads", [&] { read(files, part); });
  }
  std::remove(name.c_str());
}

void lies(const FileSet& files) {
  const uint64_t huge = uint64_t{1} << 62;
  const auto broken = [&](const char* what, const Part& part) {
    check_throws("model_file_broken", what, [&] {
      std::vector<std::byte> bytes(std::min<uint64_t>(FileSet::size_bytes(part), 1 << 20));
      files.read(part, bytes);
    });
  };
  broken("beyond the file", part_of({8}, {{0, 1020, 8, 8, 1}}));
  broken("far beyond the file", part_of({8}, {{0, huge * 2 - 8, 8, 8, 1}}));
  broken("an offset that wraps", part_of({8}, {{0, ~uint64_t{0}, 8, 8, 1}}));
  broken("a stride that wraps", part_of({8}, {{0, 0, 4, ~uint64_t{0}, 2}}));
  broken("a size that wraps", part_of({8}, {{0, 0, huge, 1, 8}}));
  broken("sizes whose sum wraps",
         part_of({8}, {{0, 0, huge * 2, 1, 1}, {0, 0, huge * 2 + 8, 1, 1}}));
  broken("a shape that wraps", part_of({0xffffffff, 0xffffffff, 0xffffffff}, {{0, 0, 8, 8, 1}}));
  broken("fewer bytes than the shape", part_of({9}, {{0, 0, 8, 8, 1}}));
  broken("more bytes than the shape", part_of({7}, {{0, 0, 8, 8, 1}}));
  broken("an empty piece", part_of({8}, {{0, 0, 8, 8, 1}, {0, 0, 0, 0, huge}}));
  broken("a file that is not there", part_of({8}, {{2, 0, 8, 8, 1}}));
  broken("half a block", part_of({4, 48}, {{0, 0, 108, 108, 1}}, Format::q4_0));
  check_throws("model_file_missing", "no such file", [] { FileSet({"/nowhere/at/all"}); });
  const std::string folder = std::filesystem::temp_directory_path().string();
  check_throws("model_file_missing", "a folder", [&] { FileSet({folder}); });
}

void sizes() {
  const auto bytes = [](std::vector<uint32_t> shape, Format format, uint64_t size) {
    return FileSet::size_bytes(part_of(std::move(shape), {{0, 0, size, size, 1}}, format)) == size;
  };
  check(bytes({2, 256}, Format::q6_k, 420), "q6_k");
  check(bytes({2, 64}, Format::q8_0, 136), "q8_0");
  check(bytes({3, 5}, Format::bf16, 30), "bf16");
  check(bytes({}, Format::f32, 4), "a scalar");
}

}  // namespace

int main() {
  const ByteFile first(1024), second(64);
  const FileSet files({first.path, second.path});
  pieces(files);
  ranges(files);
  row_order();
  lies(files);
  sizes();
  return test::summary("load");
}
