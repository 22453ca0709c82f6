#include "cpu/ops/sampling.h"

#include <cstring>

#include "sampling/sampler.h"

namespace cidery::cpu {
namespace {

void sample_row(const Tools& tools, const Draws& draws, uint32_t index, std::span<float> row,
                const Largest* known, program::SequenceResult& entry) {
  const program::PlannedSequence& sequence = draws.plan.sequences[index];
  if (program::wants_largest(sequence)) {
    const Largest largest =
        known != nullptr ? *known : tools.kernels.largest(row.data(), row.size());
    entry.finite = largest.finite;
    entry.sampled = largest.finite;
    entry.token = largest.finite ? largest.index : 0;
    return;
  }
  entry = sampling::sample(row, sequence.sampler, draws.tokens(index),
                           sequence.first_position + sequence.count);
  entry.slot = sequence.slot;
}

}  // namespace

bool looks_back(const program::PlannedSequence& sequence) noexcept {
  const program::Sampler& sampler = sequence.sampler;
  return sequence.want == program::Want::sample &&
         (sampler.repetition != 1 || sampler.presence != 0 || sampler.frequency != 0);
}

void collect_logits(const Tools& tools, const Draws& draws, std::span<const WantedRow> wanted,
                    const View& logits, std::span<const Largest> known,
                    program::StepResult& result) noexcept {
  tools.pool.parallel_for(static_cast<uint32_t>(wanted.size()), [&](uint32_t i,
                                                                    uint32_t) noexcept {
    const WantedRow& row = wanted[i];
    program::SequenceResult& entry = result.sequences[row.sequence];
    if (draws.plan.sequences[row.sequence].want == program::Want::sample) {
      sample_row(tools, draws, row.sequence, {logits.row(i), logits.width},
                 known.empty() ? nullptr : &known[i], entry);
    } else {
      std::memcpy(entry.logits.data() + size_t{row.logit_row} * logits.width, logits.row(i),
                  logits.width * sizeof(float));
    }
  });
}

}  // namespace cidery::cpu
