#include "cpu/ops/sampling.h"

#include <algorithm>
#include <cstring>

#include "sampling/sampler.h"

namespace cidery::cpu {
namespace {

void sample_row(const Tools& tools, const program::PlannedSequence& sequence,
                const program::SlotHistory& history, std::span<float> row, const Largest* known,
                program::SequenceResult& entry) {
  if (program::is_greedy(sequence.sampler)) {
    const Largest largest =
        known != nullptr ? *known : tools.kernels.largest(row.data(), row.size());
    entry.finite = largest.finite;
    entry.sampled = largest.finite;
    entry.token = largest.finite ? largest.index : 0;
    return;
  }
  // A later step may have been begun: what it added is no history of this one.
  const std::span<const uint32_t> tokens = history.tokens(sequence.slot);
  const uint32_t position = sequence.first_position + sequence.count;
  entry = sampling::sample(row, sequence.sampler,
                           tokens.first(std::min<size_t>(position, tokens.size())), position);
  entry.slot = sequence.slot;
}

}  // namespace

void collect_logits(const Tools& tools, const program::StepPlan& plan,
                    const program::SlotHistory& history, std::span<const WantedRow> wanted,
                    const View& logits, std::span<const Largest> known,
                    program::StepResult& result) noexcept {
  tools.pool.parallel_for(static_cast<uint32_t>(wanted.size()), [&](uint32_t i,
                                                                    uint32_t) noexcept {
    const WantedRow& row = wanted[i];
    const program::PlannedSequence& sequence = plan.sequences[row.sequence];
    program::SequenceResult& entry = result.sequences[row.sequence];
    if (sequence.want == program::Want::sample) {
      sample_row(tools, sequence, history, {logits.row(i), logits.width},
                 known.empty() ? nullptr : &known[i], entry);
    } else {
      std::memcpy(entry.logits.data() + size_t{row.logit_row} * logits.width, logits.row(i),
                  logits.width * sizeof(float));
    }
  });
}

}  // namespace cidery::cpu
