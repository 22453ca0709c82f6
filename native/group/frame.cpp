#include "group/frame.h"

#include <algorithm>

namespace cidery::group {

bool seal_frame(Cipher& cipher, const Header& header, const std::byte* plain,
                std::byte* out) noexcept {
  std::memcpy(out, &header, header_bytes);
  return cipher.seal({out, header_bytes}, {plain, header.bytes}, out + header_bytes);
}

std::span<std::byte> Inbox::room(const Header& expected) noexcept {
  size_t due = expected.bytes;
  if (kept() >= header_bytes) {
    Header header;
    std::memcpy(&header, buffer_.data() + begin_, header_bytes);
    due = header.bytes;
  }
  // A length that is too large is refused by `next`, whatever is kept.
  const size_t whole = std::min(due, most_frame_bytes) + frame_overhead;
  if (kept() >= whole) return {};
  if (begin_ == end_) begin_ = end_ = 0;
  return {buffer_.data() + end_, whole - kept()};
}

Inbox::Outcome Inbox::next(const Header& expected, std::byte* out) noexcept {
  if (kept() < header_bytes) return Outcome::more;
  std::byte* at = buffer_.data() + begin_;
  std::memcpy(&header_, at, header_bytes);
  if (header_.bytes > most_frame_bytes) return Outcome::corrupt;
  if (kept() < header_.bytes + frame_overhead) return Outcome::more;
  const bool as_expected = header_ == expected;
  std::byte* sealed = at + header_bytes;
  const Bytes body{sealed, header_.bytes + tag_bytes};
  // What was not expected is opened where it lies: whether it is authentic tells a peer that makes
  // another call from one that was tampered with.
  if (!cipher_.open({at, header_bytes}, body, as_expected ? out : sealed)) return Outcome::corrupt;
  begin_ += header_.bytes + frame_overhead;
  return as_expected ? Outcome::opened : Outcome::other;
}

}  // namespace cidery::group
