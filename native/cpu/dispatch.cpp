#include "cpu/dispatch.h"

#include <cstdlib>

#include "base/error.h"
#include "cpu/processor.h"
#include "cpu/self_check.h"

namespace cidery::cpu {

#define SET(name) \
  namespace name { \
  extern const Kernels kernels; \
  }
#if defined(__x86_64__)
SET(avx512vnni)
SET(avx512)
SET(avx2)
#elif defined(__aarch64__)
SET(i8mm)
SET(dotprod)
SET(neon)
#endif
SET(plain)
#undef SET

namespace {

struct Candidate {
  const Kernels& kernels;
  bool (*runs)(const Processor&);
  /// Its kernels ran on no processor yet, only in an emulator: on the one at hand they are compared
  /// with the plain ones before they are chosen.
  bool emulated = false;
};

/// Best first.
const Candidate candidates[] = {
#if defined(__x86_64__)
    {avx512vnni::kernels, [](const Processor& has) { return has.avx512vnni; }},
    {avx512::kernels, [](const Processor& has) { return has.avx512; }},
    {avx2::kernels, [](const Processor& has) { return has.avx2; }},
#elif defined(__aarch64__)
    {i8mm::kernels, [](const Processor& has) { return has.i8mm; }, true},
    {dotprod::kernels, [](const Processor& has) { return has.dotprod; }, true},
    {neon::kernels, [](const Processor&) { return true; }, true},
#endif
    {plain::kernels, [](const Processor&) { return true; }},
};

bool trusted(const Candidate& candidate) {
  return !candidate.emulated || agrees(candidate.kernels, plain::kernels);
}

const Kernels& best_kernels() {
  const Processor processor = inspect_processor();
  for (const Candidate& candidate : candidates) {
    if (candidate.runs(processor) && trusted(candidate)) return candidate.kernels;
  }
  return plain::kernels;
}

}  // namespace

std::vector<std::string_view> possible_sets() {
  const Processor processor = inspect_processor();
  std::vector<std::string_view> names;
  for (const Candidate& candidate : candidates) {
    if (candidate.runs(processor)) names.push_back(candidate.kernels.name);
  }
  return names;
}

const Kernels& choose_kernels(std::string_view name) {
  if (name.empty()) {
    static const Kernels& best = best_kernels();
    return best;
  }
  const Processor processor = inspect_processor();
  for (const Candidate& candidate : candidates) {
    if (name == candidate.kernels.name && candidate.runs(processor)) return candidate.kernels;
  }
  std::string names;
  for (const std::string_view possible : possible_sets()) {
    names += (names.empty() ? "" : ", ") + std::string(possible);
  }
  throw Error("isa_unsupported", "this processor has no instruction set \"" + std::string(name) +
                                     "\"; possible: " + names);
}

const Kernels& kernels_from_environment() {
  const char* name = std::getenv("CIDERY_ISA");
  return choose_kernels(name == nullptr ? "" : name);
}

}  // namespace cidery::cpu
