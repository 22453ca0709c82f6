#include <cstdlib>

#include "program/plan_encoding.h"
#include "program/slot_history.h"
#include "sampling/sampler.h"
#include "test/fuzz_main.h"
#include "test/plan_words.h"

/// Any bytes as a plan of slots in use: decode_plan throws Error `plan_invalid`, or returns a plan
/// whose slots and tokens hold together when it is carried out, samplers included; and what the
/// other ranks get of it is a plan to them, of the same tokens.
namespace {

using namespace cidery;
using namespace cidery::program;

constexpr PlanLimits limits{4, 16, 40};

void require(bool condition) {
  if (!condition) std::abort();
}

std::vector<PlannedSequence> first_sequences() {
  return {test::tokens_at(0, 0, {1, 2, 3, 4, 5}),
          test::tokens_at(1, 0, {6, 7, 8}, Want::nothing)};
}

/// A rank of a group that rank 0 tells what it does.
class Follower {
 public:
  /// `tokens` are those of each sequence.
  void follow(StepPlan plan, const std::vector<std::span<const uint32_t>>& tokens,
              const std::vector<SlotState>& leader) {
    for (size_t i = 0; i < plan.sequences.size(); ++i) {
      plan.sequences[i].source = TokenSource::literals;
      plan.sequences[i].tokens.assign(tokens[i].begin(), tokens[i].end());
    }
    const auto bytes = encode_follower_plan(plan);
    const StepPlan heard = decode_plan(bytes, limits, slots_);
    require(encode_follower_plan(heard) == bytes);
    require(heard.number == plan.number && heard.retired == plan.retired);
    require(heard.copies.size() == plan.copies.size());
    require(heard.sequences.size() == plan.sequences.size());
    for (size_t i = 0; i < plan.sequences.size(); ++i) check_sequence(heard, plan, i);
    for (uint32_t slot = 0; slot < limits.slots; ++slot) {
      require(slots_[slot].held == leader[slot].held);
    }
  }

 private:
  static void check_sequence(const StepPlan& heard, const StepPlan& said, size_t index) {
    const PlannedSequence& a = heard.sequences[index];
    const PlannedSequence& b = said.sequences[index];
    require(a.slot == b.slot && a.first_position == b.first_position && a.tokens == b.tokens);
    require(a.logit_rows == b.logit_rows);
    const bool drawn = b.want == Want::sample && !is_greedy(b.sampler);
    require(a.want == (drawn ? Want::logits : b.want) && is_greedy(a.sampler));
  }

  std::vector<SlotState> slots_ = std::vector<SlotState>(limits.slots);
};

void carry_out(const StepPlan& plan, SlotHistory& history, const std::vector<SlotState>& slots,
               Follower& follower) {
  const auto news = history.apply(plan);
  follower.follow(plan, news, slots);
  require(news.size() == plan.sequences.size());
  for (uint32_t slot = 0; slot < limits.slots; ++slot) {
    require(history.held(slot) == slots[slot].held);
    require(slots[slot].held <= limits.positions);
    for (const uint32_t token : history.tokens(slot)) require(token < limits.vocabulary);
  }
  for (size_t i = 0; i < news.size(); ++i) {
    const PlannedSequence& sequence = plan.sequences[i];
    require(news[i].size() == sequence.count && sequence.logit_rows <= sequence.count);
    if (sequence.want != Want::sample) continue;
    std::vector<float> row(limits.vocabulary);
    for (size_t t = 0; t < row.size(); ++t) row[t] = static_cast<float>(t * 7 % 11) - 5;
    const auto result = sampling::sample(row, sequence.sampler, history.tokens(sequence.slot),
                                         history.held(sequence.slot));
    require(result.sampled && result.token < limits.vocabulary);
    const auto& mask = sequence.sampler.mask;
    require(mask.empty() || (mask[result.token / 32] >> result.token % 32 & 1) != 0);
    history.record(sequence.slot, result.token);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  std::vector<SlotState> slots(limits.slots);
  SlotHistory history(limits.slots);
  Follower follower;
  StepPlan first;
  first.sequences = first_sequences();
  carry_out(decode_plan(test::encode_plan(first), limits, slots), history, slots, follower);
  try {
    const StepPlan plan = decode_plan(bytes, limits, slots);
    carry_out(plan, history, slots, follower);
  } catch (const Error& error) {
    require(error.code() == "plan_invalid");
  }
  return 0;
}

#ifndef CIDERY_LIBFUZZER
int main(int count, char** arguments) {
  StepPlan plan;
  plan.number = 2;
  plan.retired = {3};
  plan.copies = {{0, 2, 4}};
  plan.sequences = {test::drawn_at(0, 5), test::tokens_at(1, 2, {9, 8}),
                    test::tokens_at(2, 3, {7, 6}, Want::logits)};
  plan.sequences[1].sampler =
      Sampler{0.5f, 0.9f, 0.1f, 7, 1.1f, 0.2f, -0.3f, 3, 3, 1, 6, {{8, -2.5f}}, {~0u, 0xf0u}};
  return cidery::test::fuzz_main(count, arguments, cidery::test::encode_plan(plan));
}
#endif
