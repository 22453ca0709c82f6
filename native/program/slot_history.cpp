#include "program/slot_history.h"

namespace cidery::program {

const std::vector<std::span<const uint32_t>>& SlotHistory::apply(const StepPlan& plan) {
  for (const uint32_t slot : plan.retired) slots_[slot] = Slot{};
  for (const SlotCopy& copy : plan.copies) {
    const auto& from = slots_[copy.from].tokens;
    if (copy.from == copy.to) {
      slots_[copy.to].tokens.resize(copy.positions);
    } else {
      slots_[copy.to].tokens.assign(from.begin(), from.begin() + copy.positions);
    }
    slots_[copy.to].last_sample.reset();
  }
  news_.clear();
  for (const PlannedSequence& sequence : plan.sequences) {
    Slot& slot = slots_[sequence.slot];
    slot.tokens.resize(sequence.first_position);
    if (sequence.source == TokenSource::last_sample) {
      slot.tokens.push_back(slot.last_sample.value_or(0));
    } else {
      slot.tokens.insert(slot.tokens.end(), sequence.tokens.begin(), sequence.tokens.end());
    }
    slot.last_sample.reset();
    news_.push_back(std::span(slot.tokens).subspan(sequence.first_position));
  }
  return news_;
}

}  // namespace cidery::program
