#include <algorithm>
#include <cstdlib>

#include "group/frame.h"
#include "group/handshake.h"
#include "test/fuzz_main.h"

/// Any bytes on a connection, in pieces of any size: nothing but what the other end sealed opens,
/// and a hello of any bytes proves nothing.
namespace {

using namespace cidery::group;

constexpr Header expected{48, tag_of(Kind::gather), 48};

void require(bool condition) {
  if (!condition) std::abort();
}

/// Two frames as they are sent, the second with another header.
cidery::test::Input sealed_frames() {
  Cipher cipher({}, true);
  const std::array<std::byte, 48> text{};
  cidery::test::Input out(2 * (text.size() + frame_overhead));
  require(seal_frame(cipher, expected, text.data(), out.data()));
  require(seal_frame(cipher, {48, tag_of(Kind::message), 48}, text.data(),
                     out.data() + out.size() / 2));
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (!crypto_available()) return 0;
  static const cidery::test::Input genuine = sealed_frames();
  Inbox inbox(Cipher({}, false));
  std::array<std::byte, 48> out;
  size_t at = 0, opened = 0;
  while (at < size) {
    const auto room = inbox.room(size % 2 == 0 ? expected : Header{});
    const size_t now = std::min({room.size(), size - at, 1 + size % 37});
    if (now > 0) std::memcpy(room.data(), data + at, now);
    inbox.arrived(now);
    at += now;
    const Inbox::Outcome outcome = inbox.next(expected, out.data());
    if (outcome == Inbox::Outcome::more && now == 0) break;
    if (outcome == Inbox::Outcome::corrupt) break;
    if (outcome == Inbox::Outcome::more) continue;
    // What opens is what was sent, bit for bit, in its order.
    const size_t frame = genuine.size() / 2;
    require(opened < 2 && size >= (opened + 1) * frame);
    require(std::memcmp(data + opened * frame, genuine.data() + opened * frame, frame) == 0);
    require((outcome == Inbox::Outcome::opened) == (opened == 0));
    ++opened;
  }
  if (size >= hello_bytes) {
    Hello hello;
    std::memcpy(hello.data(), data, hello.size());
    static_cast<void>(claimed_by(hello));
    require(!hello_is_proved({}, hello));
  }
  return 0;
}

#ifndef CIDERY_LIBFUZZER
int main(int count, char** arguments) {
  if (!crypto_available()) {
    std::printf("fuzz_frame: 0 passed, 0 failed, skipped: libcrypto is not on this machine\n");
    return 0;
  }
  return cidery::test::fuzz_main(count, arguments, sealed_frames());
}
#endif
