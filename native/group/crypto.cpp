#include "group/crypto.h"

#include <dlfcn.h>
#include <unistd.h>

#include <climits>
#include <cstring>
#include <utility>
#include <vector>

#ifdef __APPLE__
#include <sys/random.h>
#endif

#include "base/error.h"

namespace cidery::group {
namespace {

constexpr int set_nonce_bytes = 0x9, get_tag = 0x10, set_tag = 0x11;  // EVP_CTRL_AEAD_*

using Byte = unsigned char;

/// The functions of OpenSSL 3 (and 1.1) that are used, as its manual pages declare them.
struct OpenSsl {
  void* (*cipher_context_new)() = nullptr;
  void (*cipher_context_free)(void*) = nullptr;
  const void* (*aes_128_gcm)() = nullptr;
  const void* (*sha256)() = nullptr;
  int (*cipher_init)(void*, const void*, void*, const Byte*, const Byte*, int) = nullptr;
  int (*cipher_update)(void*, Byte*, int*, const Byte*, int) = nullptr;
  int (*cipher_final)(void*, Byte*, int*) = nullptr;
  int (*cipher_control)(void*, int, int, void*) = nullptr;
  Byte* (*hmac)(const void*, const void*, int, const Byte*, size_t, Byte*,
                unsigned int*) = nullptr;
  bool complete = false;
};

template <class Function>
bool find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(::dlsym(library, name));
  return function != nullptr;
}

bool fill(OpenSsl& functions, void* library) {
  OpenSsl& f = functions;
  f.complete = find(library, "EVP_CIPHER_CTX_new", f.cipher_context_new) &&
               find(library, "EVP_CIPHER_CTX_free", f.cipher_context_free) &&
               find(library, "EVP_aes_128_gcm", f.aes_128_gcm) &&
               find(library, "EVP_sha256", f.sha256) &&
               find(library, "EVP_CipherInit_ex", f.cipher_init) &&
               find(library, "EVP_CipherUpdate", f.cipher_update) &&
               find(library, "EVP_CipherFinal_ex", f.cipher_final) &&
               find(library, "EVP_CIPHER_CTX_ctrl", f.cipher_control) &&
               find(library, "HMAC", f.hmac);
  return f.complete;
}

const OpenSsl& openssl() {
  static const OpenSsl functions = [] {
    OpenSsl found;
    if (fill(found, RTLD_DEFAULT)) return found;
    for (const char* name : {"libcrypto.so.3", "libcrypto.3.dylib", "libcrypto.so.1.1"}) {
      void* library = ::dlopen(name, RTLD_NOW | RTLD_LOCAL);
      if (library != nullptr && fill(found, library)) return found;
    }
    return OpenSsl{};
  }();
  return functions;
}

[[noreturn]] void missing(const char* what) {
  throw Error("group_crypto_missing",
              std::string(what) + ": ranks need the OpenSSL inside Node, or libcrypto");
}

const Byte* plain(const std::byte* bytes) { return reinterpret_cast<const Byte*>(bytes); }
Byte* plain(std::byte* bytes) { return reinterpret_cast<Byte*>(bytes); }

}  // namespace

bool crypto_available() noexcept { return openssl().complete; }

Mac authenticate(const Key& key, std::string_view label, std::initializer_list<Bytes> pieces) {
  if (!crypto_available()) missing("no HMAC was found");
  std::vector<std::byte> text(label.size());
  std::memcpy(text.data(), label.data(), label.size());
  for (const Bytes piece : pieces) text.insert(text.end(), piece.begin(), piece.end());
  Mac mac{};
  const Byte* done = openssl().hmac(openssl().sha256(), key.data(), static_cast<int>(key.size()),
                                    plain(text.data()), text.size(), plain(mac.data()), nullptr);
  if (done == nullptr) missing("HMAC-SHA256 failed");
  return mac;
}

bool same(const Mac& a, const Mac& b) noexcept {
  std::byte difference{};
  for (size_t i = 0; i < a.size(); ++i) difference |= a[i] ^ b[i];
  return difference == std::byte{};
}

Key random_key() {
  Key key{};
  if (::getentropy(key.data(), key.size()) != 0) missing("the system gives no random bytes");
  return key;
}

Cipher::Cipher(const Mac& secret, bool sealing) {
  if (!crypto_available()) missing("no AES-GCM was found");
  const OpenSsl& f = openssl();
  context_ = f.cipher_context_new();
  std::memcpy(nonce_.data(), secret.data() + 16, 4);
  const bool ready =
      context_ != nullptr &&
      f.cipher_init(context_, f.aes_128_gcm(), nullptr, nullptr, nullptr, sealing) == 1 &&
      f.cipher_control(context_, set_nonce_bytes, static_cast<int>(nonce_.size()), nullptr) == 1 &&
      f.cipher_init(context_, nullptr, nullptr, plain(secret.data()), nullptr, sealing) == 1;
  if (ready) return;
  f.cipher_context_free(context_);
  missing("AES-128-GCM failed");
}

Cipher::~Cipher() {
  if (context_ != nullptr) openssl().cipher_context_free(context_);
}

Cipher::Cipher(Cipher&& other) noexcept
    : context_(std::exchange(other.context_, nullptr)),
      nonce_(other.nonce_),
      counter_(other.counter_) {}

bool Cipher::next_nonce(int sealing) noexcept {
  if (counter_ == UINT64_MAX) return false;
  std::memcpy(nonce_.data() + 4, &counter_, sizeof counter_);
  ++counter_;
  return openssl().cipher_init(context_, nullptr, nullptr, nullptr, plain(nonce_.data()),
                               sealing) == 1;
}

bool Cipher::seal(Bytes header, Bytes text, std::byte* out) noexcept {
  const OpenSsl& f = openssl();
  int written = 0;
  if (text.size() > INT_MAX || !next_nonce(1)) return false;
  if (f.cipher_update(context_, nullptr, &written, plain(header.data()),
                      static_cast<int>(header.size())) != 1) {
    return false;
  }
  if (!text.empty() && f.cipher_update(context_, plain(out), &written, plain(text.data()),
                                       static_cast<int>(text.size())) != 1) {
    return false;
  }
  std::byte* tag = out + text.size();
  return f.cipher_final(context_, plain(tag), &written) == 1 &&
         f.cipher_control(context_, get_tag, tag_bytes, tag) == 1;
}

bool Cipher::open(Bytes header, Bytes sealed, std::byte* out) noexcept {
  const OpenSsl& f = openssl();
  if (sealed.size() < tag_bytes || sealed.size() > INT_MAX || !next_nonce(0)) return false;
  const size_t size = sealed.size() - tag_bytes;
  int written = 0;
  if (f.cipher_update(context_, nullptr, &written, plain(header.data()),
                      static_cast<int>(header.size())) != 1) {
    return false;
  }
  if (size > 0 && f.cipher_update(context_, plain(out), &written, plain(sealed.data()),
                                  static_cast<int>(size)) != 1) {
    return false;
  }
  std::array<std::byte, tag_bytes> tag, rest;
  std::memcpy(tag.data(), sealed.data() + size, tag_bytes);
  return f.cipher_control(context_, set_tag, tag_bytes, tag.data()) == 1 &&
         f.cipher_final(context_, plain(rest.data()), &written) == 1;
}

}  // namespace cidery::group
