#include "cpu/ops/sampling.h"

#include <cstring>

#include "sampling/sampler.h"

namespace cidery::cpu {
namespace {

void sample_row(const Tools& tools, const program::PlannedSequence& sequence,
                const program::SlotHistory& history, std::span<float> row,
                program::SequenceResult& entry) {
  if (is_greedy(sequence.sampler)) {
    const Largest largest = tools.kernels.largest(row.data(), row.size());
    entry.finite = largest.finite;
    entry.sampled = largest.finite;
    entry.token = largest.finite ? largest.index : 0;
    return;
  }
  entry = sampling::sample(row, sequence.sampler, history.tokens(sequence.slot),
                           history.held(sequence.slot));
  entry.slot = sequence.slot;
}

}  // namespace

void collect_logits(const Tools& tools, const program::StepPlan& plan,
                    const program::SlotHistory& history, std::span<const WantedRow> wanted,
                    const View& logits, program::StepResult& result) noexcept {
  tools.pool.parallel_for(static_cast<uint32_t>(wanted.size()), [&](uint32_t i,
                                                                    uint32_t) noexcept {
    const WantedRow& row = wanted[i];
    const program::PlannedSequence& sequence = plan.sequences[row.sequence];
    program::SequenceResult& entry = result.sequences[row.sequence];
    if (sequence.want == program::Want::sample) {
      sample_row(tools, sequence, history, {logits.row(i), logits.width}, entry);
    } else {
      std::memcpy(entry.logits.data() + size_t{row.logit_row} * logits.width, logits.row(i),
                  logits.width * sizeof(float));
    }
  });
}

}  // namespace cidery::cpu
