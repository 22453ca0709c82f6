#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "cpu/kernels.h"
#include "cpu/pack.h"

/// What the tests and the bench of the kernels share: matrices of every format with random content,
/// and memory that ends where a page does that nobody may touch.
namespace cidery::test {

/// Zeroed elements; the byte behind the last one cannot be read or written.
template <class T>
class Guarded {
 public:
  explicit Guarded(size_t count) : count_(count) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t inner = (count * sizeof(T) + page - 1) / page * page;
    size_ = inner + page;
    base_ = static_cast<std::byte*>(
        mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (base_ == MAP_FAILED) throw std::runtime_error("mmap failed");
    mprotect(base_ + inner, page, PROT_NONE);
    data_ = reinterpret_cast<T*>(base_ + inner - count * sizeof(T));
  }
  explicit Guarded(const std::vector<T>& values) : Guarded(values.size()) {
    if (!values.empty()) std::memcpy(data_, values.data(), values.size() * sizeof(T));
  }
  ~Guarded() {
    if (base_ != nullptr) munmap(base_, size_);
  }
  Guarded(Guarded&& other) noexcept
      : base_(std::exchange(other.base_, nullptr)),
        size_(other.size_),
        count_(other.count_),
        data_(other.data_) {}
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return count_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  bool same_bits(const Guarded& other) const {
    return count_ == other.count_ && std::memcmp(data_, other.data_, count_ * sizeof(T)) == 0;
  }

 private:
  std::byte* base_;
  size_t size_, count_;
  T* data_;
};

using Random = std::mt19937_64;

/// The main function of a kernel test: calls `run` with what the command line asks for, --set NAME
/// (else every set that this processor has) and --seed N. Returns the exit status: 2 where the
/// processor lacks the set.
int run_kernel_test(int count, char** arguments, const char* name,
                    void (*run)(const std::vector<const cpu::Kernels*>& sets, uint64_t seed));

/// Normally distributed values.
std::vector<float> random_values(size_t count, Random& random);

/// A format as a file has it; `inputs` come in multiples of `together`.
struct FileFormat {
  std::string name;
  cpu::RawLayout layout;  // without its shape
  uint32_t together;
};

/// Every format that a matrix may have.
std::vector<FileFormat> file_formats();

/// Random bytes of a matrix, with scales that keep values near 1.
struct RawMatrix {
  cpu::RawLayout layout;
  std::vector<std::byte> weight, scales, biases;

  cpu::RawRows rows() const { return {weight, scales, biases}; }
  /// Rows [first, first + count).
  cpu::RawRows rows(uint32_t first, uint32_t count) const;
  /// What the bytes stand for, in f32 as load::dequantize has it: [outputs, inputs].
  std::vector<float> values() const;
};
RawMatrix random_matrix(const FileFormat& format, uint32_t outputs, uint32_t inputs,
                        Random& random);

/// A packed matrix and its memory.
struct PackedMatrix {
  cpu::PackedWeight weight;
  Guarded<std::byte> slab;

  explicit PackedMatrix(const RawMatrix& raw);
};

}  // namespace cidery::test
