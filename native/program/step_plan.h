#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/error.h"

/// What one step does: the binary that src/engine/step-plan.ts writes, and the result that goes
/// back.
namespace cidery::program {

inline constexpr uint32_t plan_magic = 0x53444943;  // "CIDS"
inline constexpr uint32_t plan_version = 1;

/// `to` becomes a copy of the first `positions` positions of `from` before the step runs.
struct SlotCopy {
  uint32_t from, to, positions;
};

/// How the next token is drawn from a row of logits; see sampling/sampler.h for the order of the
/// filters.
struct Sampler {
  float temperature = 0;  // 0: the largest logit, ties to the lowest id
  float top_p = 1, min_p = 0;
  uint32_t top_k = 0;  // 0: all
  float repetition = 1, presence = 0, frequency = 0;
  uint64_t seed = 0;
  uint32_t choice = 0;         // which of n choices; part of the random counter
  uint32_t prompt_length = 0;  // positions below it count for `repetition` alone
  uint32_t logprobs = 0;       // 0: none; n + 1: the chosen token's and n alternatives'
  struct Bias { uint32_t token; float value; };
  std::vector<Bias> biases;
  std::vector<uint32_t> mask;  // empty, or a bit a token of the vocabulary: 1 allowed
};

/// Whether the largest logit of a row is all that the sampler looks at.
bool is_greedy(const Sampler& sampler) noexcept;

enum class TokenSource : uint32_t { literals = 0, last_sample = 1 };
enum class Want : uint32_t { nothing = 0, sample = 1, logits = 2 };
/// Stands in an encoded plan for `sample` with a sampler that takes the largest logit, which then
/// is not written.
inline constexpr uint32_t want_largest = 3;

/// `count` consecutive positions of one slot, from `first_position`: whatever the slot held from
/// there on is forgotten.
struct PlannedSequence {
  uint32_t slot = 0, first_position = 0, count = 0;
  TokenSource source = TokenSource::literals;
  std::vector<uint32_t> tokens;  // literals: `count`; last_sample: empty, and count is 1
  Want want = Want::nothing;
  uint32_t logit_rows = 0;  // logits: the last rows; sample: 1
  Sampler sampler;          // sample only
};

/// Whether the largest logit of its row is all that a sequence wants.
bool wants_largest(const PlannedSequence& sequence) noexcept;

struct StepPlan {
  uint32_t number = 0;
  std::vector<uint32_t> retired;  // slots whose memory may go
  std::vector<SlotCopy> copies;   // in order, after `retired`
  std::vector<PlannedSequence> sequences;
};

/// Bounds that a plan is checked against.
struct PlanLimits {
  uint32_t slots, positions, vocabulary;
};

/// What a plan finds in a slot: the positions that it holds, and whether its last step drew a
/// token.
struct SlotState {
  uint32_t held = 0;
  bool drawn = false;
};

/// Decodes and checks a plan. On success `slots` (one a slot) becomes what the plan leaves behind.
/// Throws Error `plan_invalid`, with `slots` as it was: a slot twice or out of range, positions
/// beyond the limit, a gap (first_position beyond what the slot holds), a last sample where none
/// was drawn or that belongs to another position, tokens outside the vocabulary, a mask of the
/// wrong length or one that allows nothing, settings out of range, counts beyond the bytes. A plan
/// without sequences is valid: it retires or copies slots.
StepPlan decode_plan(std::span<const std::byte> bytes, const PlanLimits& limits,
                     std::vector<SlotState>& slots);

struct TokenLogprob {
  uint32_t token;
  float logprob;
};

/// What one sequence of the plan brought, in the plan's order.
struct SequenceResult {
  uint32_t slot = 0;
  bool sampled = false;
  bool finite = true;  // false: the logits held a NaN or an infinity and nothing was drawn
  uint32_t token = 0;
  float logprob = 0;                       // of `token`, when logprobs were asked for
  std::vector<TokenLogprob> alternatives;  // most likely first
  std::vector<float> logits;               // rows * vocabulary
};

struct StepResult {
  uint32_t number = 0;
  std::vector<SequenceResult> sequences;
};

/// The result as src/engine/step-plan.ts reads it.
std::vector<std::byte> encode_result(const StepResult& result, uint32_t vocabulary);

}  // namespace cidery::program
