#pragma once

#include <span>
#include <vector>

#include "cpu/ops/sampling.h"
#include "cpu/pass.h"
#include "group/group.h"
#include "program/ranks.h"
#include "program/step_plan.h"

namespace cidery::cpu {

/// Rows whose logits each rank has computed for its part of the vocabulary.
struct HeadRows {
  const Draws& draws;
  std::span<const WantedRow> wanted;
  View in;      // the head's input: `wanted` rows from the first on, the same on every rank
  View logits;  // on rank 0 [rows, vocabulary], its own part filled; else [rows, own part]
  std::span<const Largest> known;  // empty, or of each row: logits are then not looked at
};

/// Brings the logits of a head that is split over ranks together on rank 0, one message a rank and
/// call: for each row a checksum of the head's input, then the largest logit where that is all that
/// counts, or all logits of the part. Inputs that differ mean that ranks have computed differently,
/// which no answer must hide.
class SplitHead {
 public:
  /// `parts`: of each rank, in order and without gaps the whole vocabulary.
  SplitHead(group::Group& group, std::vector<program::VocabularyPart> parts)
      : group_(group), parts_(std::move(parts)) {}

  /// Rank 0: turns the rows into results as collect_logits does. Status `rank_disagrees`, or a
  /// group's.
  Status collect(const Tools& tools, const HeadRows& rows, program::StepResult& result);
  /// The other ranks. A group's status.
  Status report(const Tools& tools, const HeadRows& rows);

 private:
  size_t lay_out(const HeadRows& rows, uint32_t rank);
  size_t size_messages(const HeadRows& rows);
  Status take(const Tools& tools, const HeadRows& rows, uint32_t rank, const std::byte* message);

  group::Group& group_;
  const std::vector<program::VocabularyPart> parts_;
  std::vector<size_t> at_;           // where each row's entry of the message begins
  std::vector<uint64_t> checksums_;  // of rank 0's rows
  std::vector<Largest> largest_;     // of the rows where that is all that counts
  std::vector<size_t> sizes_;        // of each rank's message; rank 0 has none
  std::vector<std::byte> messages_;  // on rank 0 all, one behind the other, else the own one
};

}  // namespace cidery::cpu
