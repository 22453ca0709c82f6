#include "addon/exit_guard.h"

#include <unistd.h>

#include <atomic>
#include <cstdlib>

namespace cidery::addon {
namespace {

// Of the process, as its exit is.
std::atomic<int> step_threads = 0;

}  // namespace

ExitGuard::ExitGuard() noexcept { ++step_threads; }
ExitGuard::~ExitGuard() { --step_threads; }

void guard_exit() noexcept {
#ifdef __GLIBC__
  ::on_exit(
      [](int status, void*) {
        if (step_threads > 0) ::_exit(status);
      },
      nullptr);
#endif
}

}  // namespace cidery::addon
