#pragma once

#include <cstdint>
#include <optional>

#include "group/crypto.h"

/// How two ends of a connection prove to each other that they have the key, as bytes in and bytes
/// out. The caller says who it is and proves it; only then does the called end answer at all:
///
///     caller -> hello:  magic, ranks, from, to, channel, nonce; HMAC(key, "hello", these)
///     called -> answer: nonce;  HMAC(key, "answer", hello, nonce)
///     caller -> proof:          HMAC(key, "proof", hello, nonce)
///
/// Both nonces are fresh, so a hello that is sent again ends at the proof. The secrets of the two
/// directions are HMACs of the hello and the answer under a key that is made of the shared one
/// (as HKDF, RFC 5869, with one block each).
namespace cidery::group {

constexpr size_t hello_fields_bytes = 8 + 4 * 4 + 32;
constexpr size_t hello_bytes = hello_fields_bytes + 32;
constexpr size_t answer_bytes = 64;
constexpr size_t proof_bytes = 32;

struct Parties {
  uint32_t ranks = 0, from = 0, to = 0;
  uint32_t channel = 0;  // of the connections between two ranks
  bool operator==(const Parties&) const = default;
};

using Hello = std::array<std::byte, hello_bytes>;
using Answer = std::array<std::byte, answer_bytes>;

/// Secrets of the two directions.
struct Secrets {
  Mac caller_to_called, called_to_caller;
};

Hello make_hello(const Key& key, const Parties& parties, const Key& nonce);
/// What a hello claims, whoever sent it; nothing when these bytes are no hello.
std::optional<Parties> claimed_by(const Hello& hello) noexcept;
bool hello_is_proved(const Key& key, const Hello& hello);

Answer make_answer(const Key& key, const Hello& hello, const Key& nonce);
bool answer_is_proved(const Key& key, const Hello& hello, const Answer& answer);
Mac make_proof(const Key& key, const Hello& hello, const Answer& answer);
Secrets make_secrets(const Key& key, const Hello& hello, const Answer& answer);

}  // namespace cidery::group
