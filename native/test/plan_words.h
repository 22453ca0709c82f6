#pragma once

#include <vector>

#include "base/bytes.h"
#include "program/step_plan.h"

/// Encodes plans for tests, as src/engine/step-plan.ts does.
namespace cidery::test {

inline void write_words(WordWriter& words, const std::vector<uint32_t>& values) {
  words.u32(static_cast<uint32_t>(values.size()));
  for (const uint32_t value : values) words.u32(value);
}

inline void write_sampler(WordWriter& words, const program::Sampler& sampler) {
  words.f32(sampler.temperature);
  words.f32(sampler.top_p);
  words.f32(sampler.min_p);
  words.u32(sampler.top_k);
  words.f32(sampler.repetition);
  words.f32(sampler.presence);
  words.f32(sampler.frequency);
  words.u32(static_cast<uint32_t>(sampler.seed));
  words.u32(static_cast<uint32_t>(sampler.seed >> 32));
  words.u32(sampler.choice);
  words.u32(sampler.prompt_length);
  words.u32(sampler.logprobs);
  words.u32(static_cast<uint32_t>(sampler.biases.size()));
  for (const auto& bias : sampler.biases) {
    words.u32(bias.token);
    words.f32(bias.value);
  }
  write_words(words, sampler.mask);
}

inline std::vector<std::byte> encode_plan(const program::StepPlan& plan) {
  WordWriter words;
  for (const uint32_t word : {0x53444943u, 1u, plan.number}) words.u32(word);
  write_words(words, plan.retired);
  words.u32(static_cast<uint32_t>(plan.copies.size()));
  for (const auto& copy : plan.copies) {
    for (const uint32_t word : {copy.from, copy.to, copy.positions}) words.u32(word);
  }
  words.u32(static_cast<uint32_t>(plan.sequences.size()));
  for (const auto& sequence : plan.sequences) {
    for (const uint32_t word : {sequence.slot, sequence.first_position, sequence.count,
                                static_cast<uint32_t>(sequence.source)}) {
      words.u32(word);
    }
    for (const uint32_t token : sequence.tokens) words.u32(token);
    words.u32(static_cast<uint32_t>(sequence.want));
    words.u32(sequence.logit_rows);
    if (sequence.want == program::Want::sample) write_sampler(words, sequence.sampler);
  }
  return words.take();
}

/// A sequence of literals.
inline program::PlannedSequence tokens_at(uint32_t slot, uint32_t first,
                                          std::vector<uint32_t> tokens,
                                          program::Want want = program::Want::sample) {
  program::PlannedSequence sequence;
  sequence.slot = slot;
  sequence.first_position = first;
  sequence.count = static_cast<uint32_t>(tokens.size());
  sequence.tokens = std::move(tokens);
  sequence.want = want;
  sequence.logit_rows = want == program::Want::nothing ? 0 : 1;
  return sequence;
}

/// A sequence that goes on with the token its slot's last step drew.
inline program::PlannedSequence drawn_at(uint32_t slot, uint32_t first) {
  program::PlannedSequence sequence = tokens_at(slot, first, {0});
  sequence.source = program::TokenSource::last_sample;
  sequence.tokens.clear();
  return sequence;
}

}  // namespace cidery::test
