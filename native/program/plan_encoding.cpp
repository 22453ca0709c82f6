#include "program/plan_encoding.h"

#include "base/bytes.h"

namespace cidery::program {
namespace {

void write_list(WordWriter& words, const std::vector<uint32_t>& values) {
  words.u32(static_cast<uint32_t>(values.size()));
  for (const uint32_t value : values) words.u32(value);
}

size_t words_of(const StepPlan& plan) {
  size_t words = 6 + plan.retired.size() + 3 * plan.copies.size();
  for (const PlannedSequence& sequence : plan.sequences) words += 6 + sequence.tokens.size();
  return words;
}

uint32_t follower_want(const PlannedSequence& sequence) {
  if (sequence.want != Want::sample) return static_cast<uint32_t>(sequence.want);
  return is_greedy(sequence.sampler) ? want_largest : static_cast<uint32_t>(Want::logits);
}

}  // namespace

std::vector<std::byte> encode_follower_plan(const StepPlan& plan) {
  WordWriter words;
  words.reserve_words(words_of(plan));
  words.u32(plan_magic);
  words.u32(plan_version);
  words.u32(plan.number);
  write_list(words, plan.retired);
  words.u32(static_cast<uint32_t>(plan.copies.size()));
  for (const SlotCopy& copy : plan.copies) {
    for (const uint32_t word : {copy.from, copy.to, copy.positions}) words.u32(word);
  }
  words.u32(static_cast<uint32_t>(plan.sequences.size()));
  for (const PlannedSequence& sequence : plan.sequences) {
    for (const uint32_t word : {sequence.slot, sequence.first_position, sequence.count,
                                static_cast<uint32_t>(sequence.source)}) {
      words.u32(word);
    }
    for (const uint32_t token : sequence.tokens) words.u32(token);
    words.u32(follower_want(sequence));
    words.u32(sequence.logit_rows);
  }
  return words.take();
}

}  // namespace cidery::program
