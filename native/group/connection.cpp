#include "group/connection.h"

#include <new>

namespace cidery::group {

bool Connection::seal(const Header& header, const std::byte* plain) noexcept {
  out_at_ = 0;
  out_end_ = header.bytes + frame_overhead;
  return seal_frame(sealing_, header, plain, out_.data());
}

bool Connection::keep(const Header& header, const std::byte* plain) noexcept {
  if (flushed()) return seal(header, plain);
  try {
    std::vector<std::byte>& frame = kept_.emplace_back(header.bytes + frame_overhead);
    kept_bytes_ += frame.size();
    return seal_frame(sealing_, header, plain, frame.data());
  } catch (const std::bad_alloc&) {
    return false;
  }
}

Moved Connection::flush() noexcept {
  Moved how = Moved::none;
  while (!flushed()) {
    const bool first = out_at_ < out_end_;
    const std::vector<std::byte>& frame = first ? out_ : kept_.front();
    size_t& at = first ? out_at_ : kept_at_;
    const size_t end = first ? out_end_ : frame.size();
    const Move move = write_some(socket_, {frame.data() + at, end - at});
    at += move.bytes;
    if (move.how == Moved::closed) return Moved::closed;
    if (move.how == Moved::some) how = Moved::some;
    if (at < end) return how;
    if (first) continue;
    kept_bytes_ -= end;
    kept_.pop_front();
    kept_at_ = 0;
  }
  return how;
}

}  // namespace cidery::group
