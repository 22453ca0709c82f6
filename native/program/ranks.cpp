#include "program/ranks.h"

#include "base/error.h"

namespace cidery::program {
namespace {

/// What has to be the same on all ranks.
struct Shared {
  uint32_t vocabulary, slots, positions, precise, pass_rows, head_rows;
  bool operator==(const Shared&) const = default;
};
/// What a rank tells of itself.
struct Introduction {
  Shared shared;
  VocabularyPart part;
};

VocabularyPart part_of(const Program& program) {
  const auto* head = std::get_if<Head>(&program.operations.back());
  if (head == nullptr) return {};
  return {head->first, program.parameters[head->weight].shape[0]};
}

[[noreturn]] void disagree(uint32_t rank, const char* about) {
  throw Error("rank_disagrees", "rank " + std::to_string(rank) + " " + about);
}

}  // namespace

std::vector<VocabularyPart> agree(group::Group& group, const Program& program,
                                  const ExecutorOptions& options, MessageRows rows) {
  const Introduction own{{program.vocabulary, options.slots, options.positions,
                          options.precise ? 1u : 0u, rows.pass, rows.head},
                         part_of(program)};
  std::vector<Introduction> all(program.ranks);
  const std::vector<size_t> bytes(program.ranks, sizeof own);
  const Status status = group.all_gather(&own, all.data(), bytes);
  if (!status.ok()) throw Error(status.code, status.message);
  std::vector<VocabularyPart> parts;
  uint64_t end = 0;
  for (uint32_t rank = 0; rank < program.ranks; ++rank) {
    const VocabularyPart& part = all[rank].part;
    if (all[rank].shared != own.shared) disagree(rank, "runs with other settings");
    if (part.rows > 0 && part.first != end) disagree(rank, "has another part of the vocabulary");
    end += part.rows;
    parts.push_back(part);
  }
  if (end != program.vocabulary) disagree(program.ranks - 1, "does not end the vocabulary");
  return parts;
}

}  // namespace cidery::program
