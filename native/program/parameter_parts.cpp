#include "program/parameter_parts.h"

#include <algorithm>

#include "load/format.h"

namespace cidery::program {
namespace {

using load::Format;
using load::Part;
using load::Role;

const Part& need(const Parameter& parameter, const load::ParameterSource& source, Role role) {
  const auto found = std::ranges::find(source.parts, role, &Part::role);
  if (found != source.parts.end()) return *found;
  parameter_mismatch(parameter, role == Role::weight   ? "its weight is missing"
                                : role == Role::scales ? "its scales are missing"
                                                       : "its biases are missing");
}

/// The part must have the parameter's shape but for its last dimension.
void check_shape(const Parameter& parameter, const Part& part, uint64_t columns,
                 const char* what) {
  std::vector<uint32_t> shape = parameter.shape;
  shape.back() = static_cast<uint32_t>(columns);
  if (part.shape != shape) parameter_mismatch(parameter, what);
}

bool is_float(Format format) {
  return format == Format::f32 || format == Format::f16 || format == Format::bf16;
}

ParameterParts check_dense(const Parameter& parameter, const load::ParameterSource& source) {
  const Part& weight = need(parameter, source, Role::weight);
  check_shape(parameter, weight, parameter.shape.back(),
              "the shape of its tensor is not the declared one");
  if (!is_float(weight.format)) {
    parameter_mismatch(parameter, "its tensor is not F32, F16 or BF16");
  }
  return {&weight, nullptr, nullptr};
}

ParameterParts check_affine(const Parameter& parameter, const load::ParameterSource& source) {
  const auto [kind, bits, group, format] = parameter.storage;
  const bool known_bits = bits >= 2 && bits <= 8 && bits != 7;
  if (!known_bits || (group != 32 && group != 64 && group != 128)) {
    parameter_mismatch(parameter, "there is no affine storage of these bits and this group");
  }
  const uint32_t columns = parameter.shape.back();
  if (columns % group != 0) parameter_mismatch(parameter, "its columns are not whole groups");
  const Part& weight = need(parameter, source, Role::weight);
  check_shape(parameter, weight, uint64_t{columns} * bits / 32,
              "the shape of its packed words does not fit its bits");
  if (weight.format != Format::u32) parameter_mismatch(parameter, "its packed words are not U32");
  const Part& scales = need(parameter, source, Role::scales);
  const Part& biases = need(parameter, source, Role::biases);
  for (const Part* factors : {&scales, &biases}) {
    check_shape(parameter, *factors, columns / group,
                "the shape of its scales or biases does not fit its groups");
    if (!is_float(factors->format)) {
      parameter_mismatch(parameter, "its scales or biases are not F32, F16 or BF16");
    }
  }
  return {&weight, &scales, &biases};
}

ParameterParts check_mxfp4(const Parameter& parameter, const load::ParameterSource& source) {
  const uint32_t columns = parameter.shape.back();
  if (columns % 32 != 0) parameter_mismatch(parameter, "its columns are not whole groups");
  const Part& weight = need(parameter, source, Role::weight);
  check_shape(parameter, weight, columns / 8,
              "the shape of its packed words is not that of mxfp4");
  if (weight.format != Format::u32) parameter_mismatch(parameter, "its packed words are not U32");
  const Part& scales = need(parameter, source, Role::scales);
  check_shape(parameter, scales, columns / 32, "the shape of its scales is not that of mxfp4");
  if (scales.format != Format::u8 && scales.format != Format::f8_e8m0) {
    parameter_mismatch(parameter, "its scales are not U8");
  }
  return {&weight, &scales, nullptr};
}

ParameterParts check_block(const Parameter& parameter, const load::ParameterSource& source) {
  const Part& weight = need(parameter, source, Role::weight);
  check_shape(parameter, weight, parameter.shape.back(),
              "the shape of its tensor is not the declared one");
  const auto declared =
      static_cast<uint32_t>(Format::q4_0) + static_cast<uint32_t>(parameter.storage.format);
  if (static_cast<uint32_t>(weight.format) != declared) {
    parameter_mismatch(parameter, "its block format is not the declared one");
  }
  if (parameter.shape.back() % load::layout_of(weight.format).values != 0) {
    parameter_mismatch(parameter, "its columns are not whole blocks");
  }
  return {&weight, nullptr, nullptr};
}

ParameterParts check_storage(const Parameter& parameter, const load::ParameterSource& source) {
  switch (parameter.storage.kind) {
    case StorageKind::dense: return check_dense(parameter, source);
    case StorageKind::affine: return check_affine(parameter, source);
    case StorageKind::mxfp4: return check_mxfp4(parameter, source);
    case StorageKind::block: return check_block(parameter, source);
  }
  parameter_mismatch(parameter, "its storage is unknown");
}

}  // namespace

void parameter_mismatch(const Parameter& parameter, const std::string& what) {
  throw Error("parameter_mismatch", parameter.path + ": " + what);
}

ParameterParts check_parts(const Parameter& parameter, const load::ParameterSource& source) {
  if (parameter.shape.empty()) parameter_mismatch(parameter, "it has no dimension");
  const ParameterParts parts = check_storage(parameter, source);
  const bool one_part = parts.scales == nullptr;
  for (const Part* part : {parts.weight, parts.scales, parts.biases}) {
    if (part != nullptr && part->transforms.add != 0 && !one_part) {
      parameter_mismatch(parameter, "a constant cannot be added to this storage");
    }
  }
  return parts;
}

}  // namespace cidery::program
