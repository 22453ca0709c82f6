#pragma once

#include "load/tensor_source.h"
#include "program/program.h"

namespace cidery::program {

/// The parts of a parameter that its storage has; null where it has none.
struct ParameterParts {
  const load::Part* weight = nullptr;
  const load::Part* scales = nullptr;
  const load::Part* biases = nullptr;
};

/// Finds the parts that the parameter's storage needs and checks their formats and shapes against
/// it: F32, F16 or BF16 for dense values and affine factors, U32 for packed words, U8 or F8_E8M0
/// for mxfp4's scales, the declared block format. Sizes on disk are FileSet's business. Throws
/// Error `parameter_mismatch` that names the parameter.
ParameterParts check_parts(const Parameter& parameter, const load::ParameterSource& source);

/// That error.
[[noreturn]] void parameter_mismatch(const Parameter& parameter, const std::string& what);

}  // namespace cidery::program
