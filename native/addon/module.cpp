#include <napi.h>

#include <atomic>

#include "addon/arguments.h"
#include "addon/executors.h"
#include "addon/exit_guard.h"
#include "addon/guard.h"
#include "addon/handles.h"
#include "addon/lifeline.h"
#include "addon/session.h"

/// The exports: exactly the interface `Addon` of src/engine/addon.ts.
namespace cidery::addon {
namespace {

using Sessions = Handles<Session>;

/// Held by the one environment that may use the addon: MLX's state belongs to the process.
std::atomic_flag claimed = ATOMIC_FLAG_INIT;

Sessions& sessions(const Napi::CallbackInfo& info) {
  return *info.Env().GetInstanceData<Sessions>();
}

Session& session(const Napi::CallbackInfo& info) {
  return sessions(info).get(read_handle(info[0]));
}

Napi::Value info(const Napi::CallbackInfo& info) {
  Napi::Object facts = Napi::Object::New(info.Env());
  for (const auto& [name, value] : build_facts()) facts.Set(name, value);
  return facts;
}

Napi::Value open_engine(const Napi::CallbackInfo& info) {
  auto opened = std::make_shared<Session>(info.Env(), read_setup(info[0]));
  const uint64_t handle = sessions(info).add(std::move(opened));
  return Napi::Number::New(info.Env(), static_cast<double>(handle));
}

Napi::Value load_parameters(const Napi::CallbackInfo& info) {
  Session& engine = session(info);
  return engine.submit(info.Env(), [sources = read_sources(info[1])](Engine& engine) {
    engine.load(sources);
    return std::nullopt;
  });
}

Napi::Value bind(const Napi::CallbackInfo& info) {
  return session(info).submit(info.Env(), [](Engine& engine) {
    engine.bind();
    guard_exit();
    return std::nullopt;
  });
}

Napi::Value step(const Napi::CallbackInfo& info) {
  Session& engine = session(info);
  return engine.submit(info.Env(), [plan = read_bytes(info[1], "plan")](Engine& engine) {
    return std::optional(engine.step(plan));
  });
}

Napi::Value memory(const Napi::CallbackInfo& info) {
  const program::MemoryUse use = session(info).memory();
  Napi::Object out = Napi::Object::New(info.Env());
  const auto set = [&](const char* name, uint64_t value) {
    out.Set(name, Napi::Number::New(info.Env(), static_cast<double>(value)));
  };
  set("weightBytes", use.weight_bytes);
  set("cacheBytes", use.cache_bytes);
  set("activeBytes", use.active_bytes);
  set("peakBytes", use.peak_bytes);
  set("liveArrays", use.live_arrays);
  return out;
}

Napi::Value close_engine(const Napi::CallbackInfo& info) {
  return sessions(info).take(read_handle(info[0]))->close(info.Env());
}

Napi::Value lifeline(const Napi::CallbackInfo& info) {
  const auto descriptor = read_integer(info[0], "descriptor", 0, 0x7fffffff);
  const auto exit_code = read_integer(info[1], "exitCode", 0, 255);
  watch_lifeline(static_cast<int>(descriptor), static_cast<int>(exit_code));
  return info.Env().Undefined();
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  if (claimed.test_and_set()) {
    throw coded_error(env, "addon_in_use",
                      "another thread of this process has loaded the addon already");
  }
  env.AddCleanupHook([] { claimed.clear(); });
  env.SetInstanceData(new Sessions());
  const auto set = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  set("info", guarded<info>);
  set("openEngine", guarded<open_engine>);
  set("loadParameters", guarded<load_parameters>);
  set("bind", guarded<bind>);
  set("step", guarded<step>);
  set("memory", guarded<memory>);
  set("closeEngine", guarded<close_engine>);
  set("watchLifeline", guarded<lifeline>);
  return exports;
}

}  // namespace
}  // namespace cidery::addon

// The name by which Node finds the entry of an addon is the macro's.
static Napi::Object initialize_addon(Napi::Env env, Napi::Object exports) {
  return cidery::addon::initialize(env, exports);
}
NODE_API_MODULE(cidery, initialize_addon)
