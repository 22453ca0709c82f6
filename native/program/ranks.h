#pragma once

#include <vector>

#include "group/group.h"
#include "program/executor.h"
#include "program/program.h"

namespace cidery::program {

/// A rank's part of the vocabulary.
struct VocabularyPart {
  uint32_t first = 0, rows = 0;
};

/// How an executor cuts a step into messages: rows of a pass and of a head, 0 where it does not.
/// Executors that differ are no ranks of one model.
struct MessageRows {
  uint32_t pass = 0, head = 0;
};

/// Tells the other ranks what this one runs and hears the same from them: each rank's part of the
/// head, none (0 rows) on later ranks of a pipeline. Every rank calls it at the same time. Throws
/// Error `rank_disagrees` where the ranks have other settings or their parts are not the
/// vocabulary, a group's code.
std::vector<VocabularyPart> agree(group::Group& group, const Program& program,
                                  const ExecutorOptions& options, MessageRows rows);

}  // namespace cidery::program
