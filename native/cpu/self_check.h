#pragma once

#include "cpu/kernels.h"

namespace cidery::cpu {

/// Whether every function of `kernels` gives the bits of `trusted` on fixed arguments: all packed
/// formats with several counts of rows, both cache types, odd widths (where both give NaN, its bits
/// do not count). Takes a few milliseconds; makes sure of a set that was tested on no processor.
/// Throws std::bad_alloc.
bool agrees(const Kernels& kernels, const Kernels& trusted);

}  // namespace cidery::cpu
