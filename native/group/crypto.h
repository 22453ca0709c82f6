#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

/// AES-128-GCM, HMAC-SHA256 and random bytes by the OpenSSL that the process holds already: Node
/// exports its own. A plain program has libcrypto loaded for it where the system has one.
namespace cidery::group {

using Key = std::array<std::byte, 32>;
using Mac = std::array<std::byte, 32>;
using Bytes = std::span<const std::byte>;
constexpr size_t tag_bytes = 16;

/// Whether the calls below can be made.
bool crypto_available() noexcept;

/// HMAC-SHA256 of the pieces one behind the other (RFC 2104). Throws Error `group_crypto_missing`.
Mac authenticate(const Key& key, std::string_view label, std::initializer_list<Bytes> pieces);
/// Compares without telling by its time where they differ.
bool same(const Mac& a, const Mac& b) noexcept;
/// Fresh bytes of the system. Throws Error `group_crypto_missing`.
Key random_key();

/// One direction of a connection: AES-128-GCM (NIST SP 800-38D) whose nonce is 4 bytes of the
/// secret and a counter that only grows.
class Cipher {
 public:
  /// `secret`: 16 bytes key, 4 bytes of nonce. Throws Error `group_crypto_missing`.
  Cipher(const Mac& secret, bool sealing);
  ~Cipher();
  Cipher(Cipher&& other) noexcept;
  Cipher(const Cipher&) = delete;
  Cipher& operator=(const Cipher&) = delete;
  Cipher& operator=(Cipher&&) = delete;

  /// `out` holds as many bytes as `plain`, then the tag. False when the library fails.
  bool seal(Bytes header, Bytes plain, std::byte* out) noexcept;
  /// `sealed` ends with the tag. False when it is not what the next `seal` of the other end made;
  /// `out` is then not to be used.
  bool open(Bytes header, Bytes sealed, std::byte* out) noexcept;

 private:
  bool next_nonce(int sealing) noexcept;

  void* context_ = nullptr;
  std::array<std::byte, 12> nonce_{};
  uint64_t counter_ = 0;
};

}  // namespace cidery::group
