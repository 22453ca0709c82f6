#include "program/executor.h"

namespace cidery::program {

void Executor::join(std::unique_ptr<group::Group>) {
  throw Error("unsupported", "this executor runs programs of one rank only");
}

Status Executor::begin(StepPlan) noexcept {
  return {"unsupported", "this executor has one step under way at a time"};
}

Status Executor::finish(StepResult&) noexcept {
  return {"unsupported", "this executor has one step under way at a time"};
}

}  // namespace cidery::program
