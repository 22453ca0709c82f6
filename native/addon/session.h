#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <thread>

#include "addon/engine.h"

namespace cidery::addon {

/// What a call does on the step thread; its bytes resolve the promise (nullopt: undefined).
using Work = std::function<std::optional<std::vector<std::byte>>(Engine&)>;

/// An engine and its step thread, as JavaScript holds them. Every method is called on the
/// JavaScript thread; promises settle in the order of the calls.
class Session : public std::enable_shared_from_this<Session> {
 public:
  /// Starts the step thread and waits until the executor is open. Throws what Engine throws.
  Session(Napi::Env env, EngineSetup setup);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// Runs `work` on the step thread after everything that was asked before. Rejects with
  /// `engine_busy` when too much is waiting.
  Napi::Promise submit(Napi::Env env, Work work);
  /// As `submit`: begins a step as soon as the engine takes one, and resolves with its result.
  Napi::Promise step(Napi::Env env, std::vector<std::byte> plan);
  /// Rejects the step that was asked for last with `step_taken_back`, if it has not begun. False
  /// when it has, or when something else was asked for since.
  bool take_back_step(Napi::Env env);
  /// Rejects what waits with `engine_closed`, lets what runs end (a rank that follows is told to),
  /// frees the engine on the step thread, and resolves. The session is not used afterwards; it
  /// lives until the promise settles.
  Napi::Promise close(Napi::Env env);
  program::MemoryUse memory() const;
  uint64_t steps_done() const;

 private:
  struct Call;
  struct Shared;
  static void settle(Napi::Env env, Napi::Function, std::nullptr_t*, Call* call);
  static void abandon(void* session);
  Napi::Promise push(Napi::Env env, std::unique_ptr<Call> call);
  void join();

  napi_env env_;
  std::shared_ptr<Shared> shared_;
  std::thread thread_;
  uint32_t pending_ = 0;  // promises that have not settled; they keep the process alive
};

}  // namespace cidery::addon
