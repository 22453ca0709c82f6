#include <algorithm>

#include "mlx/executor.h"
#include "sampling/sampler.h"

/// How MlxExecutor turns the logits of a step into its result.
namespace cidery::mlx {

uint32_t MlxExecutor::wanted_rows(const program::PlannedSequence& sequence) noexcept {
  return sequence.want == program::Want::nothing ? 0
                                                 : std::min(sequence.count, sequence.logit_rows);
}

/// Turns rows of logits into what their sequences asked for. Ranks above 0 have no results.
void MlxExecutor::collect(const Begun& step, program::StepResult& result) {
  const size_t vocabulary = program_.vocabulary, count = step.stream.selected.size();
  std::vector<float> joined;
  std::vector<LargestLogit> largest;
  std::optional<mx::array> host;
  std::span<float> rows;
  if (step.graph.logits) {
    host = host_values(*step.graph.logits);
    rows = floats(*host);
  }
  if (split_head_ && count > 0) {
    mx::array in = host_values(*step.graph.head_in);
    HeadRows head{{}, floats(in), rows};
    for (const program::PlannedSequence& sequence : step.plan.sequences) {
      head.sequences.insert(head.sequences.end(), wanted_rows(sequence), &sequence);
    }
    if (program_.rank > 0) return split_head_->report(head);
    joined.resize(count * vocabulary);
    largest.resize(count);
    split_head_->collect(head, joined, largest);
    rows = joined;
  }
  if (program_.rank > 0) return;
  size_t row = 0;
  for (const program::PlannedSequence& sequence : step.plan.sequences) {
    const size_t wanted = wanted_rows(sequence);
    const bool known = !largest.empty() && program::wants_largest(sequence);
    collect_rows(sequence, rows.subspan(row * vocabulary, wanted * vocabulary),
                 known ? &largest[row] : nullptr, result.sequences.emplace_back());
    row += wanted;
  }
}

/// `known`: of the row, where that is all that the sequence wants.
void MlxExecutor::collect_rows(const program::PlannedSequence& sequence, std::span<float> rows,
                               const LargestLogit* known, program::SequenceResult& entry) {
  if (known != nullptr) {
    entry.finite = entry.sampled = known->finite != 0;
    entry.token = entry.sampled ? known->token : 0;
  } else if (sequence.want == program::Want::sample) {
    // A later step may have been begun: what it added is no history of this one.
    const uint32_t position = sequence.first_position + sequence.count;
    const std::span<const uint32_t> tokens = history_.tokens(sequence.slot);
    entry = sampling::sample(rows, sequence.sampler,
                             tokens.first(std::min<size_t>(position, tokens.size())), position);
  } else if (sequence.want == program::Want::logits) {
    entry.logits.assign(rows.begin(), rows.end());
  }
  entry.slot = sequence.slot;
  if (entry.sampled && !group_) history_.record(sequence.slot, entry.token);
}

}  // namespace cidery::mlx
