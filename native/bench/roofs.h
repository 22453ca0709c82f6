#pragma once

#include <string_view>

namespace cidery::bench {

/// Seconds that this thread has had a core: what others take from it does not count.
double thread_seconds();

/// GB/s at which one core reads memory that no cache holds.
double read_roof();

/// Most 10^9 multiply-adds a second that one core does out of registers with the instructions that
/// a set's int8 dot products are made of (codes of 4 bits); 0 where nothing is known of the set.
double dot_roof(std::string_view set);
/// The same for f32.
double fma_roof(std::string_view set);


}  // namespace cidery::bench
