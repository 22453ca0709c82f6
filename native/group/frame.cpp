#include "group/frame.h"

#include <algorithm>
#include <new>

namespace cidery::group {

bool seal_frame(Cipher& cipher, const Header& header, const std::byte* plain,
                std::byte* out) noexcept {
  std::memcpy(out, &header, header_bytes);
  return cipher.seal({out, header_bytes}, {plain, header.bytes}, out + header_bytes);
}

bool Inbox::make_room(size_t bytes) noexcept {
  if (begin_ == end_) begin_ = end_ = 0;
  if (buffer_.size() - end_ >= bytes) return true;
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (buffer_.size() - end_ >= bytes) return true;
  if (end_ + bytes > most_kept_bytes) return false;
  try {
    buffer_.resize(std::max(buffer_.size() * 2, end_ + bytes));
  } catch (const std::bad_alloc&) {
    return false;
  }
  return true;
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
  const size_t wanted = whole - kept();
  if (!make_room(wanted)) return {};
  return {buffer_.data() + end_, wanted};
}

std::span<std::byte> Inbox::spare_room() noexcept {
  if (!make_room(first_bytes)) return {};
  return {buffer_.data() + end_, buffer_.size() - end_};
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
