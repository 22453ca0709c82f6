#pragma once

#include <span>
#include <vector>

#include "group/group.h"
#include "program/ranks.h"
#include "program/step_plan.h"

namespace cidery::mlx {

/// The largest of a row of logits: the lowest token that has it, and whether all are finite.
struct LargestLogit {
  float value = 0;
  uint32_t token = 0, finite = 0;
};

/// Rows whose logits each rank has computed for its part of the vocabulary.
struct HeadRows {
  std::vector<const program::PlannedSequence*> sequences;  // of each row
  std::span<const float> in;      // [rows, width]: the head's input, the same on every rank
  std::span<const float> logits;  // [rows, own part]
};

/// Brings the logits of a head that is split over ranks together on rank 0, in one message a rank:
/// for each row a digest of the head's input, then the largest logit where that is all that counts,
/// or all logits of the part. GPUs of different make round differently, so that digests are
/// compared with a tolerance, which ranks that have gone apart do not meet. Throws Error
/// `rank_disagrees`, or a group's code.
class SplitHead {
 public:
  /// `parts`: of each rank, in order and without gaps the whole vocabulary.
  SplitHead(group::Group& group, std::vector<program::VocabularyPart> parts)
      : group_(group), parts_(std::move(parts)) {}

  /// Ranks above 0.
  void report(const HeadRows& rows);
  /// Rank 0: `logits` [rows, vocabulary] and `largest` [rows] get what is wanted of each row.
  void collect(const HeadRows& rows, std::span<float> logits, std::span<LargestLogit> largest);

 private:
  size_t size_messages(const HeadRows& rows);
  void take(const HeadRows& rows, uint32_t rank, const std::byte* message, std::span<float> logits,
            std::span<LargestLogit> largest);

  group::Group& group_;
  const std::vector<program::VocabularyPart> parts_;
  std::vector<size_t> sizes_;        // of each rank's message; rank 0 has none
  std::vector<std::byte> messages_;  // on rank 0 all, one behind the other, else the own one
};

}  // namespace cidery::mlx
