#pragma once

#include <concepts>
#include <type_traits>

#include "program/program.h"

/// What ops.def says, as functions: the name of an operation, its code, and a visit of its fields.
namespace cidery::program {

#define OPERATION(type, name, code, fields) \
  inline const char* operation_name(const type&) noexcept { return #name; }
#define OUTPUT(field)
#define INPUT(field)
#define OPTIONAL_INPUT(field)
#define PARAMETER(field)
#define OPTIONAL_PARAMETER(field)
#define OPTIONAL_ROPE(field)
#define U32(field)
#define F32(field)
#include "program/ops.def"

/// Calls visit.output(name, columns), visit.input, visit.optional_input, visit.parameter,
/// visit.optional_parameter, visit.optional_rope, visit.u32, visit.f32 for each field, in encoding
/// order. `Op` is an operation, const or not.
#define OPERATION(type, name, code, fields)                                       \
  template <typename Op, typename Visitor>                                        \
    requires std::same_as<std::remove_const_t<Op>, type>                          \
  void visit_fields(Op& op, Visitor& visit) {                                     \
    fields                                                                        \
  }
#define OUTPUT(field) visit.output(#field, op.field);
#define INPUT(field) visit.input(#field, op.field);
#define OPTIONAL_INPUT(field) visit.optional_input(#field, op.field);
#define PARAMETER(field) visit.parameter(#field, op.field);
#define OPTIONAL_PARAMETER(field) visit.optional_parameter(#field, op.field);
#define OPTIONAL_ROPE(field) visit.optional_rope(#field, op.field);
#define U32(field) visit.u32(#field, op.field);
#define F32(field) visit.f32(#field, op.field);
#include "program/ops.def"

}  // namespace cidery::program
