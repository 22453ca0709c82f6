#pragma once

#include <vector>

#include "cpu/ops/split_head.h"
#include "group/group.h"
#include "program/executor.h"
#include "program/program.h"

namespace cidery::cpu {

/// Tells the other ranks what this one runs and hears the same from them: each rank's part of the
/// head, none (0 rows) on later ranks of a pipeline. Every rank calls it at the same time. Throws
/// Error `rank_disagrees` where the ranks have other settings or their parts are not the
/// vocabulary, a group's code.
std::vector<VocabularyPart> agree(group::Group& group, const program::Program& program,
                                  const program::ExecutorOptions& options);

}  // namespace cidery::cpu
