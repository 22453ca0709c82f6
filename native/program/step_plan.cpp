#include "program/step_plan.h"

#include <cmath>

#include "base/bytes.h"

namespace cidery::program {
namespace {

constexpr uint32_t result_magic = 0x52444943;  // "CIDR"
constexpr uint32_t result_version = 1;

// Fewest words of an item of each list.
constexpr uint32_t copy_words = 3, sequence_words = 6, bias_words = 2;

/// Reads a plan and follows what it does to the slots.
class PlanReader {
 public:
  PlanReader(std::span<const std::byte> bytes, const PlanLimits& limits,
             std::vector<SlotState>& slots)
      : words_(bytes, "plan_invalid"), limits_(limits), slots_(slots), seen_(slots.size()) {}

  StepPlan read() {
    if (words_.u32() != plan_magic) words_.fail("these bytes are not a step plan");
    if (words_.u32() != plan_version) {
      words_.fail("the plan's version is not the one this build reads");
    }
    StepPlan plan;
    plan.number = words_.u32();
    read_retired(plan);
    read_copies(plan);
    const uint32_t count = words_.count("sequences", sequence_words);
    if (count > limits_.slots) words_.fail("it has more sequences than there are slots");
    plan.sequences.reserve(count);
    for (uint32_t i = 0; i < count; ++i) {
      where_ = "sequence " + std::to_string(i) + ": ";
      plan.sequences.push_back(read_sequence());
    }
    where_.clear();
    words_.expect_end();
    return plan;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { words_.fail(where_ + what); }

  uint32_t slot(const char* what) {
    const uint32_t slot = words_.u32();
    if (slot >= slots_.size()) {
      fail(std::string(what) + " " + std::to_string(slot) + " is out of range");
    }
    return slot;
  }

  void read_retired(StepPlan& plan) {
    plan.retired = words_.words(words_.u32(), "retired slots");
    for (const uint32_t slot : plan.retired) {
      if (slot >= slots_.size()) fail("a retired slot is out of range");
      if (seen_[slot]) fail("slot " + std::to_string(slot) + " is retired twice");
      seen_[slot] = true;
      slots_[slot] = SlotState{};
    }
    seen_.assign(slots_.size(), false);
  }

  void read_copies(StepPlan& plan) {
    const uint32_t count = words_.count("copies", copy_words);
    plan.copies.reserve(count);
    for (uint32_t i = 0; i < count; ++i) {
      where_ = "copy " + std::to_string(i) + ": ";
      SlotCopy copy{};
      copy.from = slot("slot");
      copy.to = slot("slot");
      copy.positions = words_.u32();
      if (copy.from == copy.to) fail("a slot is copied to itself");
      if (copy.positions > slots_[copy.from].held) fail("it copies more than the slot holds");
      slots_[copy.to] = SlotState{copy.positions, false};
      plan.copies.push_back(copy);
    }
    where_.clear();
  }

  PlannedSequence read_sequence() {
    PlannedSequence sequence;
    sequence.slot = slot("slot");
    if (seen_[sequence.slot]) fail("its slot has another sequence in the same plan");
    seen_[sequence.slot] = true;
    sequence.first_position = words_.u32();
    sequence.count = words_.u32();
    check_positions(sequence);
    read_tokens(sequence);
    read_want(sequence);
    slots_[sequence.slot] =
        SlotState{sequence.first_position + sequence.count, sequence.want == Want::sample};
    return sequence;
  }

  void check_positions(const PlannedSequence& sequence) const {
    if (sequence.count == 0) fail("it has no tokens");
    if (sequence.first_position > slots_[sequence.slot].held) {
      fail("it begins at position " + std::to_string(sequence.first_position) +
           " but its slot holds " + std::to_string(slots_[sequence.slot].held));
    }
    if (sequence.count > limits_.positions ||
        sequence.first_position > limits_.positions - sequence.count) {
      fail("it reaches beyond the " + std::to_string(limits_.positions) + " positions of a slot");
    }
  }

  void read_tokens(PlannedSequence& sequence) {
    const uint32_t source = words_.u32();
    if (source > static_cast<uint32_t>(TokenSource::last_sample)) fail("its source is unknown");
    sequence.source = static_cast<TokenSource>(source);
    if (sequence.source == TokenSource::last_sample) {
      const SlotState& state = slots_[sequence.slot];
      if (sequence.count != 1) fail("a last sample is one token");
      if (!state.drawn || state.held != sequence.first_position) {
        fail("its slot's last step drew no token for this position");
      }
      return;
    }
    sequence.tokens = words_.words(sequence.count, "tokens");
    for (const uint32_t token : sequence.tokens) {
      if (token >= limits_.vocabulary) {
        fail("token " + std::to_string(token) + " is outside the vocabulary");
      }
    }
  }

  void read_want(PlannedSequence& sequence) {
    const uint32_t want = words_.u32();
    if (want > want_largest) fail("what it wants is unknown");
    sequence.want = want == want_largest ? Want::sample : static_cast<Want>(want);
    sequence.logit_rows = words_.u32();
    const uint32_t least = sequence.want == Want::nothing ? 0 : 1;
    const uint32_t most = sequence.want == Want::logits ? sequence.count : least;
    if (sequence.logit_rows < least || sequence.logit_rows > most) {
      fail("its count of logit rows is out of range");
    }
    if (want == static_cast<uint32_t>(Want::sample)) read_sampler(sequence.sampler);
  }

  float setting(const char* what, float least, float most) {
    const float value = words_.f32();
    if (!(value >= least && value <= most)) fail(std::string(what) + " is out of range");
    return value;
  }

  void read_sampler(Sampler& sampler) {
    // Wide enough for every honest request, narrow enough that no sum of them leaves f32.
    constexpr float large = 1e6f;
    sampler.temperature = setting("temperature", 0, large);
    sampler.top_p = setting("top_p", 0, 1);
    sampler.min_p = setting("min_p", 0, 1);
    sampler.top_k = words_.u32();
    sampler.repetition = setting("repetition", 1e-6f, large);
    sampler.presence = setting("presence", -large, large);
    sampler.frequency = setting("frequency", -large, large);
    const uint64_t low = words_.u32();
    const uint64_t high = words_.u32();
    sampler.seed = high << 32 | low;
    sampler.choice = words_.u32();
    sampler.prompt_length = words_.u32();
    sampler.logprobs = words_.u32();
    if (sampler.logprobs > limits_.vocabulary + 1) fail("it wants more logprobs than tokens");
    const uint32_t biases = words_.count("biases", bias_words);
    sampler.biases.reserve(biases);
    for (uint32_t i = 0; i < biases; ++i) {
      const uint32_t token = words_.u32();
      if (token >= limits_.vocabulary) fail("a bias is on a token outside the vocabulary");
      sampler.biases.push_back({token, setting("a bias", -large, large)});
    }
    read_mask(sampler);
  }

  void read_mask(Sampler& sampler) {
    sampler.mask = words_.words(words_.u32(), "words of a mask");
    if (sampler.mask.empty()) return;
    if (sampler.mask.size() != (size_t{limits_.vocabulary} + 31) / 32) {
      fail("its mask has not a bit a token");
    }
    const uint32_t spare = static_cast<uint32_t>(sampler.mask.size()) * 32 - limits_.vocabulary;
    sampler.mask.back() &= 0xffffffffu >> spare;
    for (const uint32_t word : sampler.mask) {
      if (word != 0) return;
    }
    fail("its mask allows no token");
  }

  WordReader words_;
  const PlanLimits& limits_;
  std::vector<SlotState>& slots_;
  std::vector<bool> seen_;
  std::string where_;
};

}  // namespace

bool is_greedy(const Sampler& sampler) noexcept {
  return sampler.temperature == 0 && sampler.repetition == 1 && sampler.presence == 0 &&
         sampler.frequency == 0 && sampler.logprobs == 0 && sampler.biases.empty() &&
         sampler.mask.empty();
}

bool wants_largest(const PlannedSequence& sequence) noexcept {
  return sequence.want == Want::sample && is_greedy(sequence.sampler);
}

StepPlan decode_plan(std::span<const std::byte> bytes, const PlanLimits& limits,
                     std::vector<SlotState>& slots) {
  std::vector<SlotState> after = slots;
  StepPlan plan = PlanReader(bytes, limits, after).read();
  slots = std::move(after);
  return plan;
}

std::vector<std::byte> encode_result(const StepResult& result, uint32_t vocabulary) {
  WordWriter words;
  size_t size = 5;
  for (const SequenceResult& sequence : result.sequences) {
    size += 6 + 2 * sequence.alternatives.size() + sequence.logits.size();
  }
  words.reserve_words(size);
  words.u32(result_magic);
  words.u32(result_version);
  words.u32(result.number);
  words.u32(vocabulary);
  words.u32(static_cast<uint32_t>(result.sequences.size()));
  for (const SequenceResult& sequence : result.sequences) {
    words.u32(sequence.slot);
    words.u32((sequence.sampled ? 1u : 0u) | (sequence.finite ? 2u : 0u));
    words.u32(sequence.token);
    words.f32(sequence.logprob);
    words.u32(static_cast<uint32_t>(sequence.alternatives.size()));
    for (const TokenLogprob& alternative : sequence.alternatives) {
      words.u32(alternative.token);
      words.f32(alternative.logprob);
    }
    words.u32(static_cast<uint32_t>(sequence.logits.size() / vocabulary));
    words.f32s(sequence.logits);
  }
  return words.take();
}

}  // namespace cidery::program
