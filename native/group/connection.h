#pragma once

#include <deque>

#include "group/frame.h"
#include "group/socket.h"

namespace cidery::group {

/// One connection whose ends have proved themselves.
class Connection {
 public:
  Connection(Socket socket, const Mac& to_seal, const Mac& to_open, size_t frame_bytes)
      : socket_(std::move(socket)),
        sealing_(to_seal, true),
        inbox_(Cipher(to_open, false)),
        out_(frame_bytes + frame_overhead) {}

  const Socket& socket() const noexcept { return socket_; }
  Inbox& inbox() noexcept { return inbox_; }
  const Inbox& inbox() const noexcept { return inbox_; }

  bool flushed() const noexcept { return out_at_ == out_end_ && kept_.empty(); }
  /// Seals a frame to be written, when all before it have been. False when the cipher fails.
  bool seal(const Header& header, const std::byte* plain) noexcept;
  /// Seals a frame to be written behind those that still have to be. False when the cipher fails
  /// or there is no memory.
  bool keep(const Header& header, const std::byte* plain) noexcept;
  /// Writes what the socket takes.
  Moved flush() noexcept;
  /// Bytes of whole frames behind the one that is being written.
  size_t kept_bytes() const noexcept { return kept_bytes_; }

 private:
  Socket socket_;
  Cipher sealing_;
  Inbox inbox_;
  std::vector<std::byte> out_;  // a sealed frame: [out_at_, out_end_) is still to be written
  size_t out_at_ = 0, out_end_ = 0;
  std::deque<std::vector<std::byte>> kept_;  // sealed frames that go after it
  size_t kept_bytes_ = 0, kept_at_ = 0;      // kept_at_: of the first of them, what is written
};

}  // namespace cidery::group
