#include "cpu/ops/split_head.h"

#include <atomic>
#include <bit>
#include <cstring>
#include <string>

namespace cidery::cpu {
namespace {

/// The largest logit of a part, as it travels.
struct LargestEntry {
  float value;
  uint32_t token, finite;
};

/// Of the bits of a row; all that are no numbers count as one, since processors make different
/// ones.
uint64_t checksum(const float* row, uint32_t width) {
  uint64_t sum = 0x9e3779b97f4a7c15;
  for (uint32_t i = 0; i < width; ++i) {
    const uint32_t bits = row[i] == row[i] ? std::bit_cast<uint32_t>(row[i]) : 0x7fc00000u;
    sum = std::rotl(sum ^ bits, 27) * 0xff51afd7ed558ccd;
  }
  return sum ^ sum >> 32;
}

bool needs_largest(const HeadRows& rows, size_t row) {
  return program::wants_largest(rows.draws.plan.sequences[rows.wanted[row].sequence]);
}

/// The largest of this rank's logits of a row.
Largest largest_of(const Tools& tools, const HeadRows& rows, uint32_t row, uint32_t width) {
  return rows.known.empty() ? tools.kernels.largest(rows.logits.row(row), width)
                            : rows.known[row];
}

/// Calls function(row) on the pool.
template <class Function>
void each_row(const Tools& tools, const HeadRows& rows, Function&& function) {
  tools.pool.parallel_for(static_cast<uint32_t>(rows.wanted.size()),
                          [&](uint32_t row, uint32_t) noexcept { function(row); });
}

}  // namespace

/// Finds the places in the message of `rank`. Returns its bytes.
size_t SplitHead::lay_out(const HeadRows& rows, uint32_t rank) {
  size_t end = 0;
  at_.clear();
  for (size_t row = 0; row < rows.wanted.size(); ++row) {
    at_.push_back(end);
    end += sizeof(uint64_t) + (needs_largest(rows, row) ? sizeof(LargestEntry)
                                                        : parts_[rank].rows * sizeof(float));
  }
  return end;
}

/// Returns the bytes of all messages.
size_t SplitHead::size_messages(const HeadRows& rows) {
  size_t all = 0;
  sizes_.assign(parts_.size(), 0);
  for (uint32_t rank = 1; rank < parts_.size(); ++rank) {
    sizes_[rank] = lay_out(rows, rank);
    all += sizes_[rank];
  }
  return all;
}

Status SplitHead::report(const Tools& tools, const HeadRows& rows) {
  const uint32_t rank = group_.rank();
  size_messages(rows);
  messages_.resize(lay_out(rows, rank));
  each_row(tools, rows, [&](uint32_t row) {
    std::byte* entry = messages_.data() + at_[row];
    const uint64_t sum = checksum(rows.in.row(row), rows.in.width);
    std::memcpy(entry, &sum, sizeof sum);
    if (needs_largest(rows, row)) {
      const Largest largest = largest_of(tools, rows, row, rows.logits.width);
      const LargestEntry own{largest.value, parts_[rank].first + largest.index,
                             largest.finite ? 1u : 0u};
      std::memcpy(entry + sizeof sum, &own, sizeof own);
    } else {
      std::memcpy(entry + sizeof sum, rows.logits.row(row), rows.logits.width * sizeof(float));
    }
  });
  return group_.gather(messages_.data(), nullptr, sizes_, 0);
}

Status SplitHead::collect(const Tools& tools, const HeadRows& rows, program::StepResult& result) {
  checksums_.resize(rows.wanted.size());
  largest_.resize(rows.wanted.size());
  each_row(tools, rows, [&](uint32_t row) {
    checksums_[row] = checksum(rows.in.row(row), rows.in.width);
    if (needs_largest(rows, row)) {
      largest_[row] = largest_of(tools, rows, row, parts_[0].rows);
    }
  });
  messages_.resize(size_messages(rows));
  Status status = group_.gather(nullptr, messages_.data(), sizes_, 0);
  if (!status.ok()) return status;
  const std::byte* message = messages_.data();
  for (uint32_t rank = 1; rank < parts_.size(); message += sizes_[rank++]) {
    status = take(tools, rows, rank, message);
    if (!status.ok()) return status;
  }
  collect_logits(tools, rows.draws, rows.wanted, rows.logits, largest_, result);
  return {};
}

/// Joins what `rank` reports with what there is of the ranks before it.
Status SplitHead::take(const Tools& tools, const HeadRows& rows, uint32_t rank,
                       const std::byte* message) {
  lay_out(rows, rank);
  std::atomic<bool> same = true;
  each_row(tools, rows, [&](uint32_t row) {
    const std::byte* entry = message + at_[row];
    uint64_t sum = 0;
    std::memcpy(&sum, entry, sizeof sum);
    if (sum != checksums_[row]) same.store(false, std::memory_order_relaxed);
    const program::VocabularyPart& part = parts_[rank];
    if (!needs_largest(rows, row)) {
      std::memcpy(rows.logits.row(row) + part.first, entry + sizeof sum,
                  part.rows * sizeof(float));
      return;
    }
    LargestEntry other{};
    std::memcpy(&other, entry + sizeof sum, sizeof other);
    Largest& largest = largest_[row];
    largest.finite = largest.finite && other.finite != 0;
    // Ranks come in the order of their tokens: a tie stays with the lowest.
    if (other.value > largest.value) {
      largest.value = other.value;
      largest.index = other.token;
    }
  });
  if (same) return {};
  return {"rank_disagrees", "rank " + std::to_string(rank) +
                                " has computed with other activations than rank 0, in step " +
                                std::to_string(rows.draws.plan.number)};
}

}  // namespace cidery::cpu
