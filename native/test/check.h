#pragma once

#include <cstdio>
#include <exception>
#include <string>

#include "base/error.h"

/// Just enough for plain test executables: checks that count, and a summary that sets the exit
/// status.
namespace cidery::test {

struct Tally {
  int passed = 0, failed = 0;
};
inline Tally tally;

inline void check(bool holds, const std::string& what) {
  (holds ? tally.passed : tally.failed)++;
  if (!holds) std::printf("FAILED %s\n", what.c_str());
}

/// `function` must throw Error with `code`.
template <class Function>
void check_throws(const std::string& code, const std::string& what, Function&& function) {
  try {
    function();
  } catch (const Error& error) {
    check(error.code() == code, what + ": code " + error.code() + ", not " + code);
    return;
  } catch (const std::exception& error) {
    check(false, what + ": threw " + error.what());
    return;
  }
  check(false, what + ": threw nothing");
}

/// Prints the counts; the exit status of a test.
inline int summary(const char* name) {
  std::printf("%s: %d passed, %d failed\n", name, tally.passed, tally.failed);
  return tally.failed == 0 ? 0 : 1;
}

}  // namespace cidery::test
