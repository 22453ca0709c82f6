#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace cidery {

/// Anonymous memory that begins at a multiple of 2 MiB, asks for huge pages, is zero, and takes
/// room only where it was touched. 64 more bytes behind its end can be read.
class Slab {
 public:
  Slab() = default;
  /// Throws Error `out_of_memory`.
  explicit Slab(uint64_t size_bytes);
  ~Slab();
  Slab(Slab&& other) noexcept;
  Slab& operator=(Slab&& other) noexcept;
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;

  std::byte* data() const noexcept { return data_; }
  uint64_t size_bytes() const noexcept { return size_; }

 private:
  std::byte* data_ = nullptr;
  uint64_t size_ = 0;
  size_t mapped_ = 0;
};

/// Hands out pieces of slabs, in order, and takes none back.
class Arena {
 public:
  /// `slab_bytes`: what is mapped at a time; a larger piece gets a slab of its own.
  explicit Arena(uint64_t slab_bytes) : slab_bytes_(slab_bytes), at_(slab_bytes) {}

  /// Zeros, at a multiple of 64. Throws Error `out_of_memory`.
  std::byte* allocate(uint64_t size_bytes);

  template <class Value>
  Value* allocate_array(uint64_t count) {
    return reinterpret_cast<Value*>(allocate(count * sizeof(Value)));
  }

  /// What was asked for, rounded up to 64 each.
  uint64_t used_bytes() const noexcept { return used_; }

 private:
  const uint64_t slab_bytes_;
  std::vector<Slab> slabs_;
  uint64_t at_;         // in the slab in use; its end before there is one
  size_t current_ = 0;  // the slab in use
  uint64_t used_ = 0;
};

}  // namespace cidery
