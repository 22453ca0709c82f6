#include "mlx/split_head.h"

#include <cmath>
#include <cstring>
#include <string>

namespace cidery::mlx {
namespace {

/// How far the digests of two ranks may be apart, of what they measure.
constexpr float tolerance = 1e-2f;

/// Of a row of the head's input: its size, and a mean that swaps, signs and shifts would change.
struct Digest {
  float norm = 0, mean = 0;
};

Digest digest(std::span<const float> row) {
  double squares = 0, weighted = 0;
  for (size_t i = 0; i < row.size(); ++i) {
    squares += double{row[i]} * row[i];
    weighted += double{row[i]} * (i % 2 == 0 ? 1 : -0.5);
  }
  return {static_cast<float>(std::sqrt(squares)),
          static_cast<float>(weighted / std::sqrt(static_cast<double>(row.size())))};
}

bool agree(const Digest& a, const Digest& b) {
  if (!std::isfinite(a.norm) || !std::isfinite(b.norm)) {
    return std::isfinite(a.norm) == std::isfinite(b.norm);
  }
  const float bound = tolerance * std::max(a.norm, b.norm);
  return std::abs(a.norm - b.norm) <= bound && std::abs(a.mean - b.mean) <= bound;
}

LargestLogit largest_of(std::span<const float> row, uint32_t first) {
  LargestLogit largest{row[0], first, 1};
  for (size_t i = 0; i < row.size(); ++i) {
    if (!std::isfinite(row[i])) largest.finite = 0;
    if (row[i] <= largest.value) continue;
    largest.value = row[i];
    largest.token = first + static_cast<uint32_t>(i);
  }
  return largest;
}

/// Row `index` of `rows` that lie one behind the other.
template <typename Value>
std::span<Value> row_of(std::span<Value> values, size_t rows, size_t index) {
  const size_t width = values.size() / rows;
  return values.subspan(index * width, width);
}

size_t entry_bytes(const program::PlannedSequence& sequence, const program::VocabularyPart& part) {
  return sizeof(Digest) +
         (program::wants_largest(sequence) ? sizeof(LargestLogit) : part.rows * sizeof(float));
}

size_t message_bytes(const HeadRows& rows, const program::VocabularyPart& part) {
  size_t size = 0;
  for (const program::PlannedSequence* sequence : rows.sequences) {
    size += entry_bytes(*sequence, part);
  }
  return size;
}

void expect(const Status& status) {
  if (!status.ok()) throw Error(status.code, status.message);
}

}  // namespace

/// Returns the bytes of all messages.
size_t SplitHead::size_messages(const HeadRows& rows) {
  size_t all = 0;
  sizes_.assign(parts_.size(), 0);
  for (size_t rank = 1; rank < parts_.size(); ++rank) {
    sizes_[rank] = message_bytes(rows, parts_[rank]);
    all += sizes_[rank];
  }
  return all;
}

void SplitHead::report(const HeadRows& rows) {
  const program::VocabularyPart& part = parts_[group_.rank()];
  size_messages(rows);
  messages_.resize(sizes_[group_.rank()]);
  std::byte* entry = messages_.data();
  const size_t count = rows.sequences.size();
  for (size_t row = 0; row < count; ++row) {
    const program::PlannedSequence& sequence = *rows.sequences[row];
    const Digest own = digest(row_of(rows.in, count, row));
    std::memcpy(entry, &own, sizeof own);
    const auto logits = row_of(rows.logits, count, row);
    if (program::wants_largest(sequence)) {
      const LargestLogit largest = largest_of(logits, part.first);
      std::memcpy(entry + sizeof own, &largest, sizeof largest);
    } else {
      std::memcpy(entry + sizeof own, logits.data(), logits.size_bytes());
    }
    entry += entry_bytes(sequence, part);
  }
  expect(group_.gather(messages_.data(), nullptr, sizes_, 0));
}

void SplitHead::collect(const HeadRows& rows, std::span<float> logits,
                        std::span<LargestLogit> largest) {
  const size_t count = rows.sequences.size();
  for (size_t row = 0; row < count; ++row) {
    const auto own = row_of(rows.logits, count, row);
    if (program::wants_largest(*rows.sequences[row])) largest[row] = largest_of(own, 0);
    else std::memcpy(row_of(logits, count, row).data(), own.data(), own.size_bytes());
  }
  messages_.resize(size_messages(rows));
  expect(group_.gather(nullptr, messages_.data(), sizes_, 0));
  const std::byte* message = messages_.data();
  for (uint32_t rank = 1; rank < parts_.size(); message += sizes_[rank++]) {
    take(rows, rank, message, logits, largest);
  }
}

/// Joins what `rank` reports with what there is of the ranks before it.
void SplitHead::take(const HeadRows& rows, uint32_t rank, const std::byte* message,
                     std::span<float> logits, std::span<LargestLogit> largest) {
  const program::VocabularyPart& part = parts_[rank];
  const std::byte* entry = message;
  const size_t count = rows.sequences.size();
  for (size_t row = 0; row < count; ++row) {
    Digest theirs;
    std::memcpy(&theirs, entry, sizeof theirs);
    if (!agree(digest(row_of(rows.in, count, row)), theirs)) {
      throw Error("rank_disagrees", "rank " + std::to_string(rank) +
                                        " has computed with other activations than rank 0");
    }
    const program::PlannedSequence& sequence = *rows.sequences[row];
    if (program::wants_largest(sequence)) {
      LargestLogit other;
      std::memcpy(&other, entry + sizeof theirs, sizeof other);
      other.finite = other.finite != 0 && largest[row].finite != 0 ? 1 : 0;
      // Ranks come in the order of their tokens: a tie stays with the lowest.
      if (!(other.value > largest[row].value)) {
        other.value = largest[row].value;
        other.token = largest[row].token;
      }
      largest[row] = other;
    } else {
      std::memcpy(row_of(logits, count, row).data() + part.first, entry + sizeof theirs,
                  part.rows * sizeof(float));
    }
    entry += entry_bytes(sequence, part);
  }
}

}  // namespace cidery::mlx
