#include "group/handshake.h"

#include <algorithm>
#include <cstring>

namespace cidery::group {
namespace {

constexpr std::array<char, 8> magic = {'c', 'i', 'd', 'r', 'a', 'n', 'k', '1'};

Bytes fields_of(const Hello& hello) { return Bytes(hello).first(hello_fields_bytes); }

template <size_t whole>
Mac last_mac(const std::array<std::byte, whole>& message) {
  Mac mac;
  std::memcpy(mac.data(), message.data() + whole - mac.size(), mac.size());
  return mac;
}

}  // namespace

Hello make_hello(const Key& key, const Parties& parties, const Key& nonce) {
  Hello hello{};
  std::memcpy(hello.data(), magic.data(), magic.size());
  const std::array<uint32_t, 4> words = {parties.ranks, parties.from, parties.to, parties.channel};
  std::memcpy(hello.data() + 8, words.data(), sizeof words);
  std::memcpy(hello.data() + 24, nonce.data(), nonce.size());
  const Mac mac = authenticate(key, "hello", {fields_of(hello)});
  std::memcpy(hello.data() + hello_fields_bytes, mac.data(), mac.size());
  return hello;
}

std::optional<Parties> claimed_by(const Hello& hello) noexcept {
  if (std::memcmp(hello.data(), magic.data(), magic.size()) != 0) return std::nullopt;
  std::array<uint32_t, 4> words;
  std::memcpy(words.data(), hello.data() + 8, sizeof words);
  return Parties{words[0], words[1], words[2], words[3]};
}

bool hello_is_proved(const Key& key, const Hello& hello) {
  return same(last_mac(hello), authenticate(key, "hello", {fields_of(hello)}));
}

Answer make_answer(const Key& key, const Hello& hello, const Key& nonce) {
  const Mac mac = authenticate(key, "answer", {hello, nonce});
  Answer answer;
  std::memcpy(answer.data(), nonce.data(), nonce.size());
  std::memcpy(answer.data() + nonce.size(), mac.data(), mac.size());
  return answer;
}

bool answer_is_proved(const Key& key, const Hello& hello, const Answer& answer) {
  return same(last_mac(answer), authenticate(key, "answer", {hello, Bytes(answer).first(32)}));
}

Mac make_proof(const Key& key, const Hello& hello, const Answer& answer) {
  return authenticate(key, "proof", {hello, answer});
}

Secrets make_secrets(const Key& key, const Hello& hello, const Answer& answer) {
  const Key base = authenticate(key, "secrets", {hello, answer});
  return {authenticate(base, "caller to called", {}), authenticate(base, "called to caller", {})};
}

}  // namespace cidery::group
