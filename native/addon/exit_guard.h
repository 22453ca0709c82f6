#pragma once

namespace cidery::addon {

/// Counts a step thread for as long as it lives. `exit()` takes libraries apart while such a thread
/// still computes with them (Node runs no clean-up at process.exit); the guard leaves the process
/// with the same status before that begins.
class ExitGuard {
 public:
  ExitGuard() noexcept;
  ~ExitGuard();
  ExitGuard(const ExitGuard&) = delete;
  ExitGuard& operator=(const ExitGuard&) = delete;
};

/// Puts the guard in front of everything that libraries have registered so far: called when the
/// executor is open, and again when it is bound. Only glibc tells an exit handler the status;
/// elsewhere this does nothing.
void guard_exit() noexcept;

}  // namespace cidery::addon
