#pragma once

#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "group/crypto.h"

/// What goes over a connection once its ends have proved themselves: header, sealed bytes, tag. The
/// header is readable and authenticated; what counts the frames is the cipher's nonce, so that one
/// that is missing, repeated or out of order does not open.
namespace cidery::group {

enum class Kind : uint32_t {
  sum_whole = 1,  // a small sum: the whole part
  sum_share,      // a large sum: the part of the receiver's share
  sum_done,       // a large sum: the sender's share, added up
  gather,
  broadcast,
  message,  // send and receive
  ready,    // of the liveness connection: the sender is connected to all
  beat,
  leaving,
  failed,  // `total`: the number of the code
};

struct Header {
  uint32_t bytes = 0;   // of this frame, without header and tag
  uint32_t kind = 0;    // of the call, and what else has to agree: see tag_of
  uint64_t total = 0;   // bytes of the whole message
  bool operator==(const Header&) const = default;
};

constexpr size_t header_bytes = 16;
constexpr size_t frame_overhead = header_bytes + tag_bytes;
/// Larger messages are cut: a frame and its ciphertext stay in the second cache.
constexpr size_t most_frame_bytes = 64 << 10;
static_assert(sizeof(Header) == header_bytes);

constexpr uint32_t tag_of(Kind kind, uint32_t detail = 0) noexcept {
  return static_cast<uint32_t>(kind) | detail << 8;
}

/// `out` has room for the bytes and `frame_overhead`. False when the library fails.
bool seal_frame(Cipher& cipher, const Header& header, const std::byte* plain,
                std::byte* out) noexcept;

/// What arrives on one connection, cut into frames.
class Inbox {
 public:
  enum class Outcome {
    more,      // needs bytes
    opened,    // as expected; its bytes are where they were wanted
    other,     // authentic, but not what was expected: see `header`
    corrupt,   // altered, cut, repeated, out of order or too long
  };

  explicit Inbox(Cipher cipher)
      : cipher_(std::move(cipher)), buffer_(most_frame_bytes + frame_overhead) {}

  /// Where what arrives next goes: never more than what is left of the frame that is due, so that
  /// nothing has to be moved.
  std::span<std::byte> room(const Header& expected) noexcept;
  void arrived(size_t bytes) noexcept { end_ += bytes; }

  /// Opens the next frame; `out` has room for `expected.bytes`.
  Outcome next(const Header& expected, std::byte* out) noexcept;
  /// The header of the last frame that was `other`.
  const Header& header() const noexcept { return header_; }
  size_t kept() const noexcept { return end_ - begin_; }

 private:
  Cipher cipher_;
  std::vector<std::byte> buffer_;
  size_t begin_ = 0, end_ = 0;
  Header header_;
};

}  // namespace cidery::group
