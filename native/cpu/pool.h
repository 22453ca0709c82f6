#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

namespace cidery::cpu {

/// Threads that share the tasks of one call at a time. Each has a share of neighbouring tasks, as
/// what those read is one stream, and claims ever shorter runs of it; who is through takes from the
/// end of what others have left. So a thread that the system holds up costs no more than what it
/// has claimed, and a call waits for its tasks, never for threads.
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
    parallel_runs(count, 1, [&task](uint32_t first, uint32_t some, uint32_t thread) noexcept {
      for (uint32_t i = 0; i < some; ++i) task(first + i, thread);
    });
  }

  /// The same with task(first, count, thread) for runs of neighbouring tasks. `longest` is how many
  /// it is worth to claim at once; where there is one thread, it gets all of them.
  template <class Task>
  void parallel_runs(uint32_t count, uint32_t longest, Task&& task) noexcept {
    using Plain = std::remove_reference_t<Task>;
    run(count, longest,
        {[](void* context, uint32_t first, uint32_t number, uint32_t thread) noexcept {
           (*static_cast<Plain*>(context))(first, number, thread);
         },
         const_cast<void*>(static_cast<const void*>(&task))});
  }

 private:
  struct Job {
    void (*call)(void* context, uint32_t first, uint32_t count, uint32_t thread) noexcept = nullptr;
    void* context = nullptr;
  };

  /// What is left of a thread's share of a call.
  struct alignas(64) Share {
    // {epoch: 16, end: 24, next: 24}. A claim is one exchange of the word, and `job_` is read after
    // it: a claim that succeeds belongs to the call that runs, which waits for it.
    std::atomic<uint64_t> tasks{0};
  };

  void run(uint32_t count, uint32_t longest, Job job) noexcept;
  void work(uint32_t thread) noexcept;
  uint32_t run_tasks(uint32_t thread) noexcept;
  uint32_t run_some(uint32_t thread, Share& share) noexcept;
  void wait_for_end(uint32_t count) noexcept;
  void stop() noexcept;

  std::unique_ptr<Share[]> shares_;  // one a thread
  uint64_t epoch_ = 0;               // the owner's
  Job job_;
  std::atomic<uint32_t> longest_{1};  // tasks of a claim; another call's does no harm
  alignas(64) std::atomic<uint32_t> calls_{0};     // grows with each call; workers sleep on it
  alignas(64) std::atomic<uint32_t> finished_{0};  // tasks of the call; its owner sleeps on it
  std::atomic<bool> stopping_{false};
  bool running_ = false;  // the owner's
  uint32_t spins_ = 0;    // pauses before a thread sleeps
  std::vector<std::thread> workers_;
};

}  // namespace cidery::cpu
