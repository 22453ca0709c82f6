#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"

namespace cidery {

static_assert(std::endian::native == std::endian::little, "words are read as they lie in memory");

/// Reads little-endian 32-bit words, never beyond their end. Throws Error with the code it was made
/// with.
class WordReader {
 public:
  WordReader(std::span<const std::byte> bytes, const char* code) : bytes_(bytes), code_(code) {
    if (bytes.size() % 4 != 0) fail("its length is no multiple of 4 bytes");
  }

  uint32_t u32() {
    if (remaining() == 0) fail("it ends early, at byte " + std::to_string(at_));
    uint32_t word = 0;
    std::memcpy(&word, bytes_.data() + at_, sizeof word);
    at_ += sizeof word;
    return word;
  }

  float f32() { return std::bit_cast<float>(u32()); }

  /// Words that are left.
  size_t remaining() const noexcept { return (bytes_.size() - at_) / 4; }

  /// A list's length, refused when that many items of `item_words` or more cannot follow.
  uint32_t count(const char* what, uint32_t item_words) {
    const uint32_t length = u32();
    if (length > remaining() / item_words) {
      fail("it counts " + std::to_string(length) + " " + what + " but ends before them");
    }
    return length;
  }

  /// `length` words, checked before anything is reserved.
  std::vector<uint32_t> words(uint32_t length, const char* what) {
    if (length > remaining()) {
      fail("it counts " + std::to_string(length) + " " + what + " but ends before them");
    }
    std::vector<uint32_t> out(length);
    if (length > 0) std::memcpy(out.data(), bytes_.data() + at_, size_t{length} * 4);
    at_ += size_t{length} * 4;
    return out;
  }

  /// A byte length and as many bytes, padded with zeros to whole words.
  std::string text(const char* what, uint32_t most_bytes) {
    const uint32_t length = u32();
    if (length > most_bytes) fail(std::string(what) + " is longer than a name may be");
    const size_t padded = (size_t{length} + 3) / 4 * 4;
    if (padded > remaining() * 4) fail("it ends within " + std::string(what));
    std::string out(length, '\0');
    if (length > 0) std::memcpy(out.data(), bytes_.data() + at_, length);
    at_ += padded;
    return out;
  }

  void expect_end() const {
    if (remaining() != 0) fail(std::to_string(remaining()) + " words follow its end");
  }

  [[noreturn]] void fail(const std::string& message) const { throw Error(code_, message); }

 private:
  std::span<const std::byte> bytes_;
  const char* code_;
  size_t at_ = 0;
};

/// The other direction; grows as needed.
class WordWriter {
 public:
  void u32(uint32_t word) { append(&word, sizeof word); }
  void f32(float value) { u32(std::bit_cast<uint32_t>(value)); }
  void f32s(std::span<const float> values) { append(values.data(), values.size_bytes()); }
  std::vector<std::byte> take() { return std::move(bytes_); }
  void reserve_words(size_t words) { bytes_.reserve(words * 4); }

 private:
  void append(const void* data, size_t size) {
    const auto* bytes = static_cast<const std::byte*>(data);
    bytes_.insert(bytes_.end(), bytes, bytes + size);
  }
  std::vector<std::byte> bytes_;
};

}  // namespace cidery
