#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "program/program.h"

/// A program run in double by plain loops over one whole sequence: what executors are compared
/// with.
namespace cidery::test {

/// Values of every parameter, row by row, as dequantization gives them.
using ParameterValues = std::vector<std::vector<double>>;

/// Logits of every position [tokens.size()][vocabulary] of a sequence that starts at position 0.
std::vector<std::vector<double>> run_plainly(const program::Program& program,
                                             const ParameterValues& parameters,
                                             std::span<const uint32_t> tokens);

}  // namespace cidery::test
