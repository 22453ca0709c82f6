#include "addon/session.h"

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <future>
#include <mutex>

#include "addon/exit_guard.h"
#include "addon/guard.h"
#include "base/signals.h"
#include "base/work_queue.h"

namespace cidery::addon {
namespace {

/// Calls that may wait: a scheduler runs one step ahead; more than this is a caller gone wild.
constexpr size_t most_waiting = 64;
/// How long an ending environment waits for the step that runs.
constexpr auto ending_patience = std::chrono::seconds(2);

}  // namespace

/// One call of JavaScript on its way to the step thread and back.
struct Session::Call {
  Call(Napi::Env env, std::shared_ptr<Session> owner) : deferred(env), session(std::move(owner)) {}

  Napi::Promise::Deferred deferred;
  std::shared_ptr<Session> session;  // that the promise counts for
  Work work;
  std::optional<std::vector<std::byte>> plan;  // of a step, which has no work
  bool closes = false;                         // the last call of its session
  std::optional<std::vector<std::byte>> bytes;
  Status status;
};

/// What the step thread and the JavaScript thread share; outlives both.
struct Session::Shared {
  using Delivery = Napi::TypedThreadSafeFunction<std::nullptr_t, Call, &Session::settle>;

  explicit Shared(EngineSetup setup) : engine(std::move(setup)), queue(most_waiting) {}

  /// The step thread: opens, works, frees.
  void run(std::promise<void> opened) noexcept {
    const ExitGuard guard;
    try {
      engine.open();
      guard_exit();
      opened.set_value();
      work();
    } catch (...) {
      opened.set_exception(std::current_exception());
    }
    engine.free();
    const std::lock_guard lock(mutex);
    finished = true;
    ended.notify_all();
  }

  /// Begins steps for as long as the engine takes more, and waits for the oldest when it does not,
  /// or when nothing else is asked. Any other call runs when no step does.
  void work() noexcept {
    std::unique_ptr<Call> call;
    for (;;) {
      if (!flying.empty() && (engine.full() || !queue.try_pop(call))) {
        finish_oldest();
      } else if (flying.empty() && !queue.pop(call)) {
        return;
      } else if (call->plan) {
        begin(std::move(call));
      } else {
        while (!flying.empty()) finish_oldest();
        run_call(std::move(call));
      }
    }
  }

  void begin(std::unique_ptr<Call> call) noexcept {
    try {
      engine.begin(*call->plan);
      flying.push_back(std::move(call));
    } catch (...) {
      call->status = current_status();
    }
    while (engine.settled() || (call != nullptr && !flying.empty())) finish_oldest();
    if (call != nullptr) deliver(std::move(call));
  }

  void finish_oldest() noexcept {
    std::unique_ptr<Call> call = std::move(flying.front());
    flying.pop_front();
    try {
      call->bytes = engine.finish();
    } catch (...) {
      call->status = current_status();
    }
    deliver(std::move(call));
  }

  void run_call(std::unique_ptr<Call> call) noexcept {
    try {
      if (call->work) call->bytes = call->work(engine);
    } catch (...) {
      call->status = current_status();
    }
    call->work = nullptr;
    if (call->closes) engine.free();
    deliver(std::move(call));
  }

  void deliver(std::unique_ptr<Call> call) noexcept {
    const std::lock_guard lock(mutex);
    if (delivering && delivery.NonBlockingCall(call.get()) == napi_ok) call.release();
  }

  Engine engine;
  WorkQueue<std::unique_ptr<Call>> queue;
  std::deque<std::unique_ptr<Call>> flying;  // steps that the engine has begun
  std::mutex mutex;
  std::condition_variable ended;
  bool finished = false;
  bool delivering = true;  // false: the environment is gone, and `delivery` with it
  Delivery delivery;
};

Session::Session(Napi::Env env, EngineSetup setup)
    : env_(env), shared_(std::make_shared<Shared>(std::move(setup))) {
  shared_->delivery = Shared::Delivery::New(env, "cidery step thread", 0, 1);
  shared_->delivery.Unref(env);
  // Registered after `delivery`'s own hook and so run before it.
  napi_add_env_cleanup_hook(env, abandon, this);
  std::promise<void> opened;
  std::future<void> open = opened.get_future();
  try {
    {
      const SignalsBlocked blocked;
      thread_ = std::thread([shared = shared_, opened = std::move(opened)]() mutable {
        shared->run(std::move(opened));
      });
    }
    open.get();
  } catch (...) {
    join();
    throw;
  }
}

Session::~Session() {
  if (!thread_.joinable()) return;
  shared_->queue.close();
  shared_->engine.leave();
  join();
}

/// Ends the session's hold on the environment once the step thread has nothing left to do.
void Session::join() {
  if (thread_.joinable()) thread_.join();
  napi_remove_env_cleanup_hook(env_, abandon, this);
  shared_->delivery.Release();
}

Napi::Promise Session::submit(Napi::Env env, Work work) {
  auto call = std::make_unique<Call>(env, shared_from_this());
  call->work = std::move(work);
  return push(env, std::move(call));
}

Napi::Promise Session::step(Napi::Env env, std::vector<std::byte> plan) {
  auto call = std::make_unique<Call>(env, shared_from_this());
  call->plan = std::move(plan);
  return push(env, std::move(call));
}

Napi::Promise Session::push(Napi::Env env, std::unique_ptr<Call> call) {
  const Napi::Promise promise = call->deferred.Promise();
  if (!shared_->queue.push(call)) {
    call->deferred.Reject(
        coded_error(env, "engine_busy", "too many calls wait for the engine").Value());
    return promise;
  }
  if (pending_++ == 0) shared_->delivery.Ref(env);
  return promise;
}

bool Session::take_back_step(Napi::Env env) {
  std::unique_ptr<Call> call;
  const auto is_step = [](const std::unique_ptr<Call>& last) { return last->plan.has_value(); };
  if (!shared_->queue.take_back(call, is_step)) return false;
  call->status = {"step_taken_back", "the step was taken back before it began"};
  settle(env, {}, nullptr, call.release());
  return true;
}

Napi::Promise Session::close(Napi::Env env) {
  auto last = std::make_unique<Call>(env, shared_from_this());
  last->closes = true;
  const Napi::Promise promise = last->deferred.Promise();
  if (pending_++ == 0) shared_->delivery.Ref(env);
  for (std::unique_ptr<Call>& call : shared_->queue.close(std::move(last))) {
    call->status = {"engine_closed", "the engine was closed before this call ran"};
    settle(env, {}, nullptr, call.release());
  }
  shared_->engine.leave();
  return promise;
}

program::MemoryUse Session::memory() const { return shared_->engine.memory(); }
uint64_t Session::steps_done() const { return shared_->engine.steps_done(); }

/// On the JavaScript thread: settles a call's promise. `env` is null when the environment ends.
void Session::settle(Napi::Env env, Napi::Function, std::nullptr_t*, Call* raw) {
  const std::unique_ptr<Call> call(raw);
  if (napi_env(env) == nullptr) return;
  const Napi::HandleScope scope(env);
  Session& session = *call->session;
  if (--session.pending_ == 0) session.shared_->delivery.Unref(env);
  if (call->closes) session.join();
  if (!call->status.ok()) {
    call->deferred.Reject(coded_error(env, call->status.code, call->status.message).Value());
  } else if (call->bytes) {
    auto array = Napi::Uint8Array::New(env, call->bytes->size());
    if (!call->bytes->empty()) {
      std::memcpy(array.Data(), call->bytes->data(), call->bytes->size());
    }
    call->deferred.Resolve(array);
  } else {
    call->deferred.Resolve(env.Undefined());
  }
}

/// The environment ends with the engine open: promises are gone; the step thread is given the time
/// of a step, and nobody waits for longer.
void Session::abandon(void* pointer) {
  Session& session = *static_cast<Session*>(pointer);
  // What waits may be all that holds a closing session.
  const std::shared_ptr<Session> held = session.shared_from_this();
  Shared& shared = *session.shared_;
  std::unique_lock lock(shared.mutex);
  shared.delivering = false;
  lock.unlock();
  shared.queue.close();
  shared.engine.leave();
  lock.lock();
  if (shared.ended.wait_for(lock, ending_patience, [&] { return shared.finished; })) {
    lock.unlock();
    session.thread_.join();
  } else {
    lock.unlock();
    session.thread_.detach();
  }
}

}  // namespace cidery::addon
