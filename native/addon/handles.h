#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"

namespace cidery::addon {

/// Integers that stand for native objects: an index and how often it has been given out before, so
/// that a handle that was taken back never reaches what came after it.
template <typename Object>
class Handles {
 public:
  /// `what` they stand for, in errors.
  explicit Handles(std::string what) : what_(std::move(what)) {}

  uint64_t add(std::shared_ptr<Object> object) {
    for (size_t i = 0; i < entries_.size(); ++i) {
      if (!entries_[i].object) return fill(i, std::move(object));
    }
    if (entries_.size() == most) {
      throw Error(what_ + "_limit", "too many of the kind " + what_ + " are open");
    }
    entries_.emplace_back();
    return fill(entries_.size() - 1, std::move(object));
  }

  /// Throws Error `WHAT_closed`.
  Object& get(uint64_t handle) const { return *entries_[index_of(handle)].object; }

  /// As `get`, and takes the handle back.
  std::shared_ptr<Object> take(uint64_t handle) {
    return std::exchange(entries_[index_of(handle)].object, nullptr);
  }

 private:
  struct Entry {
    std::shared_ptr<Object> object;
    uint64_t generation = 0;
  };
  // 256 at once; generations stay far below 2^53 / 256, which JavaScript's numbers hold.
  static constexpr size_t most = 256;

  uint64_t fill(size_t index, std::shared_ptr<Object> object) {
    entries_[index].object = std::move(object);
    return ++entries_[index].generation * most + index;
  }

  size_t index_of(uint64_t handle) const {
    const size_t index = handle % most;
    if (index >= entries_.size() || entries_[index].generation != handle / most ||
        !entries_[index].object) {
      throw Error(what_ + "_closed", "the " + what_ + " was closed, or never opened");
    }
    return index;
  }

  const std::string what_;
  std::vector<Entry> entries_;
};

}  // namespace cidery::addon
