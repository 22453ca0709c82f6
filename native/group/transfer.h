#pragma once

#include <algorithm>
#include <array>

#include "group/meeting.h"

namespace cidery::group {

/// A message on its way between two ranks. Its frames go to the connections in turn, so that both
/// ends know where each frame comes without being told.
class Transfer {
 public:
  Transfer() = default;
  Transfer(uint32_t tag, std::byte* data, size_t bytes) noexcept
      : tag_(tag),
        data_(data),
        bytes_(bytes),
        frames_(std::max<size_t>(1, (bytes + most_frame_bytes - 1) / most_frame_bytes)),
        lanes_(frames_ < two_lanes_from ? 1 : data_channels) {}

  bool done() const noexcept { return moved_ == frames_; }
  /// Whether more frames are to go over this connection.
  bool goes_over(uint32_t lane) const noexcept {
    return lane < lanes_ && frame(lane) < frames_;
  }
  Header header(uint32_t lane) const noexcept {
    const size_t at = frame(lane) * most_frame_bytes;
    return {static_cast<uint32_t>(std::min(most_frame_bytes, bytes_ - at)), tag_, bytes_};
  }
  std::byte* place(uint32_t lane) const noexcept {
    return bytes_ == 0 ? data_ : data_ + frame(lane) * most_frame_bytes;
  }
  void advance(uint32_t lane) noexcept {
    ++gone_[lane];
    ++moved_;
  }
  /// Bytes from the beginning that have all arrived, or been sealed.
  size_t moved() const noexcept {
    size_t first = frames_;
    for (uint32_t lane = 0; lane < lanes_; ++lane) first = std::min(first, frame(lane));
    return std::min(bytes_, first * most_frame_bytes);
  }

 private:
  /// Below, a second connection costs more than it brings.
  static constexpr size_t two_lanes_from = 16;

  size_t frame(uint32_t lane) const noexcept { return gone_[lane] * lanes_ + lane; }

  uint32_t tag_ = 0;
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
  size_t frames_ = 0, moved_ = 0;  // no frames: nothing to do
  uint32_t lanes_ = 0;
  std::array<size_t, data_channels> gone_{};
};

}  // namespace cidery::group
