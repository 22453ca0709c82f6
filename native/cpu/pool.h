#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <vector>

namespace cidery::cpu {

/// Threads that share the tasks of one call at a time. Whoever is free claims the next task, so a
/// thread that the system holds up costs no more than the task it holds, and a call waits for its
/// tasks, never for threads.
class Pool {
 public:
  /// Tasks of one call.
  static constexpr uint32_t most_tasks = (1u << 24) - 1;

  /// `threads` with the caller's own; 0: one a core allowed. Throws Error `engine_failed` where the
  /// system gives no threads.
  explicit Pool(uint32_t threads);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  uint32_t threads() const noexcept { return static_cast<uint32_t>(workers_.size()) + 1; }

  /// Calls task(index, thread) for each index below `count` (at most `most_tasks`), in any order
  /// and side by side; `thread` is below threads(), and two tasks that run at once have different
  /// ones. Returns when all have ended, with all that they wrote visible. `task` must not throw.
  /// Only the thread that owns the pool calls this, and never from within a task: that ends the
  /// process.
  template <class Task>
  void parallel_for(uint32_t count, Task&& task) noexcept {
    using Plain = std::remove_reference_t<Task>;
    run(count, {[](void* context, uint32_t index, uint32_t thread) noexcept {
                  (*static_cast<Plain*>(context))(index, thread);
                },
                const_cast<void*>(static_cast<const void*>(&task))});
  }

 private:
  struct Job {
    void (*call)(void* context, uint32_t index, uint32_t thread) noexcept = nullptr;
    void* context = nullptr;
  };

  void run(uint32_t count, Job job) noexcept;
  void work(uint32_t thread) noexcept;
  uint32_t run_tasks(uint32_t thread) noexcept;
  void wait_for_end(uint32_t count) noexcept;
  void stop() noexcept;

  // {epoch: 16, total: 24, next: 24}. A claim is one exchange of the word, and `job_` is read
  // after it: a claim that succeeds belongs to the call that runs, which waits for it.
  alignas(64) std::atomic<uint64_t> word_{0};
  Job job_;
  alignas(64) std::atomic<uint32_t> calls_{0};     // grows with each call; workers sleep on it
  alignas(64) std::atomic<uint32_t> finished_{0};  // tasks of the call; its owner sleeps on it
  std::atomic<bool> stopping_{false};
  bool running_ = false;  // the owner's
  uint32_t spins_ = 0;    // pauses before a thread sleeps
  std::vector<std::thread> workers_;
};

}  // namespace cidery::cpu
