#pragma once

#include <vector>

#include "load/tensor_source.h"
#include "program/program.h"
#include "test/tiny_model.h"

/// A tiny model's programs for several ranks, cut by hand.
namespace cidery::test {

/// One rank's part; its sources name bytes of the whole model's file.
struct RankModel {
  program::Program program;
  std::vector<load::ParameterSource> sources;
};

/// Units [first, first + count) of `total` for a rank; earlier ranks take what does not divide.
struct UnitRange {
  uint32_t first, count;
};
UnitRange units_of(uint32_t total, uint32_t rank, uint32_t ranks);

/// Every rank a part of each layer, query heads as evenly as can be. `precise`: matrices by output
/// columns, gathered; else o and down by input columns, summed. The model must be neither fused nor
/// scattered, its head norms of heads.
RankModel split_by_columns(const TinyModel& model, uint32_t rank, uint32_t ranks, bool precise);

/// Consecutive layers a rank.
RankModel split_by_layers(const TinyModel& model, uint32_t rank, uint32_t ranks);

}  // namespace cidery::test
