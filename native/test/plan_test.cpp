#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

#include "program/plan_encoding.h"
#include "program/slot_history.h"
#include "test/check.h"
#include "test/plan_words.h"

/// decode_plan over a run of plans, what other ranks get of one, encode_result, and the history of
/// slots.
using namespace cidery;
using namespace cidery::program;
using cidery::test::check;
using cidery::test::drawn_at;
using cidery::test::encode_plan;
using cidery::test::tokens_at;

namespace {

constexpr PlanLimits limits{4, 16, 40};

StepPlan plan_of(std::vector<PlannedSequence> sequences) {
  StepPlan plan;
  plan.sequences = std::move(sequences);
  return plan;
}

std::vector<SlotState> run(std::vector<SlotState> slots, const StepPlan& plan) {
  decode_plan(encode_plan(plan), limits, slots);
  return slots;
}

bool equal(const std::vector<SlotState>& slots, const std::vector<SlotState>& expected) {
  return std::equal(slots.begin(), slots.end(), expected.begin(), expected.end(),
                    [](const SlotState& a, const SlotState& b) {
                      return a.held == b.held && a.drawn == b.drawn;
                    });
}

const std::vector<SlotState> fresh(4);

/// Slot 0 holds 5 positions and has drawn, slot 1 holds 3 and has not.
std::vector<SlotState> busy() {
  return run(fresh, plan_of({tokens_at(0, 0, {1, 2, 3, 4, 5}),
                             tokens_at(1, 0, {6, 7, 8}, Want::nothing)}));
}

void refused(const std::string& expected, const StepPlan& plan) {
  std::vector<SlotState> slots = busy();
  try {
    decode_plan(encode_plan(plan), limits, slots);
    check(false, "refused with '" + expected + "'");
  } catch (const Error& error) {
    const std::string message = error.what();
    check(error.code() == "plan_invalid" && message.find(expected) != std::string::npos,
          "refused with '" + expected + "', not '" + message + "'");
    check(equal(slots, busy()), "a refused plan leaves the slots as they were");
  }
}

void sampler_refused(const std::string& expected, const std::function<void(Sampler&)>& change) {
  PlannedSequence sequence = tokens_at(2, 0, {1});
  change(sequence.sampler);
  refused(expected, plan_of({sequence}));
}

void states() {
  check(equal(busy(), {{5, true}, {3, false}, {}, {}}), "what a first step leaves");
  const auto next = run(busy(), plan_of({drawn_at(0, 5), tokens_at(1, 2, {9})}));
  check(equal(next, {{6, true}, {3, true}, {}, {}}), "a last sample, and a step back");
  StepPlan plan = plan_of({tokens_at(3, 4, {1}, Want::logits)});
  plan.retired = {1};
  plan.copies = {{0, 2, 5}, {2, 3, 4}};
  check(equal(run(busy(), plan), {{5, true}, {}, {5, false}, {5, false}}),
        "retirements, then copies in order, then sequences");
  check(equal(run(busy(), plan_of({})), busy()), "a plan of nothing");
}

void round_trip() {
  StepPlan plan = plan_of({tokens_at(1, 3, {1, 2}), drawn_at(0, 5)});
  plan.number = 77;
  plan.retired = {3};
  plan.copies = {{0, 2, 4}};
  Sampler& sampler = plan.sequences[0].sampler;
  sampler = Sampler{0.5f, 0.9f, 0.1f, 7, 1.1f, 0.2f, -0.3f, 0x123456789abcdef0u, 3, 4, 6,
                    {{8, -2.5f}}, {0xffffffffu, 0xf0u}};
  plan.sequences[1].want = Want::logits;
  std::vector<SlotState> slots = busy();
  const auto bytes = encode_plan(plan);
  check(encode_plan(decode_plan(bytes, limits, slots)) == bytes, "a plan decodes as encoded");
  for (size_t size = 0; size < bytes.size(); ++size) {
    slots = busy();
    bool threw = false;
    try {
      decode_plan(std::span(bytes).first(size), limits, slots);
    } catch (const Error&) {
      threw = true;
    }
    if (!threw) check(false, "a plan cut to " + std::to_string(size) + " bytes is refused");
  }
}

void positions() {
  refused("slot 4 is out of range", plan_of({tokens_at(4, 0, {1})}));
  refused("another sequence", plan_of({tokens_at(2, 0, {1}), tokens_at(2, 1, {1})}));
  refused("it has no tokens", plan_of({tokens_at(2, 0, {})}));
  refused("begins at position 4 but its slot holds 3", plan_of({tokens_at(1, 4, {1})}));
  refused("beyond the 16 positions",
          plan_of({tokens_at(2, 0, std::vector<uint32_t>(17, 1), Want::nothing)}));
  refused("beyond the 16 positions",
          plan_of({tokens_at(0, 5, std::vector<uint32_t>(12, 1), Want::nothing)}));
  refused("token 40 is outside", plan_of({tokens_at(2, 0, {1, 40})}));
  refused("drew no token for this position", plan_of({drawn_at(1, 3)}));
  refused("drew no token for this position", plan_of({drawn_at(0, 4)}));
  refused("drew no token for this position", plan_of({drawn_at(2, 0)}));
  PlannedSequence two = drawn_at(0, 5);
  two.count = 2;
  refused("a last sample is one token", plan_of({two}));
  PlannedSequence rows = tokens_at(2, 0, {1, 2}, Want::logits);
  rows.logit_rows = 3;
  refused("count of logit rows", plan_of({rows}));
  rows.logit_rows = 0;
  refused("count of logit rows", plan_of({rows}));
  refused("more sequences than", plan_of(std::vector(5, tokens_at(0, 0, {1}))));
}

void retired_and_copies() {
  StepPlan plan;
  plan.retired = {4};
  refused("retired slot is out of range", plan);
  plan.retired = {1, 1};
  refused("retired twice", plan);
  plan.retired = {0};
  plan.copies = {{0, 2, 1}};
  refused("copies more than the slot holds", plan);
  plan.retired = {};
  plan.copies = {{0, 2, 6}};
  refused("copies more than the slot holds", plan);
  plan.copies = {{0, 0, 2}};
  refused("copied to itself", plan);
  plan.copies = {{0, 4, 2}};
  refused("slot 4 is out of range", plan);
}

void samplers() {
  sampler_refused("temperature", [](Sampler& s) { s.temperature = -0.5f; });
  sampler_refused("temperature", [](Sampler& s) { s.temperature = NAN; });
  sampler_refused("top_p", [](Sampler& s) { s.top_p = 1.5f; });
  sampler_refused("min_p", [](Sampler& s) { s.min_p = -1; });
  sampler_refused("repetition", [](Sampler& s) { s.repetition = 0; });
  sampler_refused("presence", [](Sampler& s) { s.presence = INFINITY; });
  sampler_refused("frequency", [](Sampler& s) { s.frequency = NAN; });
  sampler_refused("more logprobs than tokens", [](Sampler& s) { s.logprobs = 42; });
  sampler_refused("a token outside", [](Sampler& s) { s.biases = {{40, 1}}; });
  sampler_refused("a bias is out of range", [](Sampler& s) { s.biases = {{1, NAN}}; });
  sampler_refused("not a bit a token", [](Sampler& s) { s.mask = {1}; });
  sampler_refused("not a bit a token", [](Sampler& s) { s.mask = {1, 1, 1}; });
  sampler_refused("allows no token", [](Sampler& s) { s.mask = {0, 0xffffff00u}; });
}

void followers() {
  StepPlan plan = plan_of({tokens_at(1, 3, {1, 2}), tokens_at(0, 5, {3}),
                           tokens_at(2, 0, {4, 5}, Want::logits),
                           tokens_at(3, 0, {6}, Want::nothing)});
  plan.number = 77;
  plan.copies = {{0, 2, 4}};
  plan.sequences[0].sampler.temperature = 0.5f;
  plan.sequences[2].logit_rows = 2;
  std::vector<SlotState> slots = busy();
  const StepPlan heard = decode_plan(encode_follower_plan(plan), limits, slots);
  plan.sequences[0].want = Want::logits;
  plan.sequences[0].sampler = {};
  check(encode_plan(heard) == encode_plan(plan), "followers get a plan without samplers");
  check(equal(slots, {{6, true}, {5, false}, {2, false}, {1, false}}), "and keep the same slots");
}

void largest() {
  const auto is_enough = [](auto change) {
    Sampler sampler;
    change(sampler);
    return is_greedy(sampler);
  };
  check(is_enough([](Sampler& s) { s = {0, 0.5f, 0.5f, 3, 1, 0, 0, 7, 2, 5, 0, {}, {}}; }),
        "greedy: filters, seed and choice change nothing");
  check(!is_enough([](Sampler& s) { s.temperature = 0.1f; }), "temperature");
  check(!is_enough([](Sampler& s) { s.repetition = 1.1f; }), "repetition");
  check(!is_enough([](Sampler& s) { s.presence = 0.1f; }), "presence");
  check(!is_enough([](Sampler& s) { s.frequency = -0.1f; }), "frequency");
  check(!is_enough([](Sampler& s) { s.logprobs = 1; }), "logprobs");
  check(!is_enough([](Sampler& s) { s.biases = {{1, 0}}; }), "biases");
  check(!is_enough([](Sampler& s) { s.mask = {~0u, ~0u}; }), "a mask");
}

void results() {
  StepResult result;
  result.number = 9;
  SequenceResult sequence;
  sequence.slot = 2;
  sequence.sampled = true;
  sequence.token = 3;
  sequence.logprob = -0.5f;
  sequence.alternatives = {{3, -0.5f}};
  sequence.logits = {1, 2, 3, 4};
  result.sequences = {sequence};
  const auto bytes = encode_result(result, 2);
  WordReader reader(bytes, "broken");
  std::vector<uint32_t> read;
  while (reader.remaining() > 0) read.push_back(reader.u32());
  const auto bits = [](float value) { return std::bit_cast<uint32_t>(value); };
  check(read == std::vector<uint32_t>{0x52444943, 1, 9, 2, 1, 2, 3, 3, bits(-0.5f), 1, 3,
                                      bits(-0.5f), 2, bits(1), bits(2), bits(3), bits(4)},
        "a result's words");
}

void history() {
  SlotHistory slots(4);
  const auto text = [](std::span<const uint32_t> tokens) {
    return std::vector<uint32_t>(tokens.begin(), tokens.end());
  };
  slots.apply(plan_of({tokens_at(0, 0, {1, 2, 3}), tokens_at(1, 0, {7})}));
  slots.record(0, 9);
  StepPlan plan = plan_of({drawn_at(0, 3), tokens_at(1, 0, {4, 5})});
  plan.copies = {{0, 2, 2}};
  const auto news = slots.apply(plan);
  check(text(news[0]) == std::vector<uint32_t>{9}, "a last sample is the token that was drawn");
  check(text(news[1]) == std::vector<uint32_t>{4, 5}, "literals are themselves");
  check(text(slots.tokens(0)) == std::vector<uint32_t>{1, 2, 3, 9}, "a slot goes on");
  check(text(slots.tokens(1)) == std::vector<uint32_t>{4, 5}, "a slot begins again");
  check(text(slots.tokens(2)) == std::vector<uint32_t>{1, 2}, "a copy holds the first positions");
  const auto lost = slots.apply(plan_of({drawn_at(0, 4)}));
  check(text(lost[0]) == std::vector<uint32_t>{0}, "what was not drawn is token 0");
  plan = {};
  plan.retired = {0};
  slots.apply(plan);
  check(slots.held(0) == 0 && slots.held(2) == 2, "a retired slot is empty");
}

}  // namespace

int main() {
  states();
  round_trip();
  positions();
  retired_and_copies();
  samplers();
  followers();
  largest();
  results();
  history();
  return test::summary("plan");
}
