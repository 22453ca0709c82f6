#include "base/slab.h"

#include <sys/mman.h>

#include <limits>
#include <string>
#include <utility>

#include "base/error.h"

namespace cidery {
namespace {

constexpr uint64_t huge_page = uint64_t{2} << 20;
constexpr uint64_t readable_behind = 64;
constexpr uint64_t piece_alignment = 64;

uint64_t round_up(uint64_t value, uint64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

[[noreturn]] void no_memory(uint64_t size) {
  throw Error("out_of_memory", "no memory for " + std::to_string(size) + " bytes");
}

}  // namespace

Slab::Slab(uint64_t size_bytes) : size_(size_bytes) {
  if (size_bytes > std::numeric_limits<uint64_t>::max() / 4) no_memory(size_bytes);
  const uint64_t wanted = round_up(size_bytes + readable_behind, huge_page);
  const uint64_t reserved = wanted + huge_page;
  int flags = MAP_PRIVATE | MAP_ANONYMOUS;
#ifdef MAP_NORESERVE
  flags |= MAP_NORESERVE;
#endif
  void* mapping = ::mmap(nullptr, reserved, PROT_READ | PROT_WRITE, flags, -1, 0);
  if (mapping == MAP_FAILED) no_memory(size_bytes);
  auto* begin = static_cast<std::byte*>(mapping);
  const uint64_t skipped = (huge_page - reinterpret_cast<uintptr_t>(begin) % huge_page) % huge_page;
  if (skipped > 0) ::munmap(begin, skipped);
  data_ = begin + skipped;
  mapped_ = wanted;
  if (const uint64_t rest = reserved - skipped - wanted; rest > 0) ::munmap(data_ + wanted, rest);
#ifdef MADV_HUGEPAGE
  // Refused where the kernel has none: then pages are small.
  ::madvise(data_, mapped_, MADV_HUGEPAGE);
#endif
}

Slab::~Slab() {
  if (data_ != nullptr) ::munmap(data_, mapped_);
}

Slab::Slab(Slab&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      mapped_(std::exchange(other.mapped_, 0)) {}

Slab& Slab::operator=(Slab&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(mapped_, other.mapped_);
  return *this;
}

std::byte* Arena::allocate(uint64_t size_bytes) {
  if (size_bytes > std::numeric_limits<uint64_t>::max() / 4) no_memory(size_bytes);
  const uint64_t size = round_up(size_bytes, piece_alignment);
  used_ += size;
  if (size > slab_bytes_) return slabs_.emplace_back(size).data();
  if (at_ + size > slab_bytes_) {
    current_ = slabs_.size();
    slabs_.emplace_back(slab_bytes_);
    at_ = 0;
  }
  std::byte* piece = slabs_[current_].data() + at_;
  at_ += size;
  return piece;
}

}  // namespace cidery
