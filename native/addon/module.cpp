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

/// A rank's port, until the rank joins.
struct Door {
  std::unique_ptr<group::Listener> listener;
};

/// What JavaScript holds by handles.
struct Held {
  Handles<Session> sessions{"engine"};
  Handles<Door> doors{"listener"};
};

/// Held by the one environment that may use the addon: MLX's state belongs to the process.
std::atomic_flag claimed = ATOMIC_FLAG_INIT;

Held& held(const Napi::CallbackInfo& info) { return *info.Env().GetInstanceData<Held>(); }

Session& session(const Napi::CallbackInfo& info) {
  return held(info).sessions.get(read_handle(info[0]));
}

Napi::Value number(const Napi::CallbackInfo& info, uint64_t value) {
  return Napi::Number::New(info.Env(), static_cast<double>(value));
}

Napi::Value info(const Napi::CallbackInfo& info) {
  Napi::Object facts = Napi::Object::New(info.Env());
  for (const auto& [name, value] : build_facts()) facts.Set(name, value);
  return facts;
}

Napi::Value open_engine(const Napi::CallbackInfo& info) {
  auto opened = std::make_shared<Session>(info.Env(), read_setup(info[0]));
  return number(info, held(info).sessions.add(std::move(opened)));
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
  return engine.step(info.Env(), read_bytes(info[1], "plan"));
}

Napi::Value take_back_step(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), session(info).take_back_step(info.Env()));
}

Napi::Value listen_group(const Napi::CallbackInfo& info) {
  auto door = std::make_shared<Door>(Door{group::listen(read_text(info[0], "host"))});
  const uint16_t port = door->listener->port();
  Napi::Object out = Napi::Object::New(info.Env());
  out.Set("handle", number(info, held(info).doors.add(std::move(door))));
  out.Set("port", number(info, port));
  return out;
}

Napi::Value close_listener(const Napi::CallbackInfo& info) {
  held(info).doors.take(read_handle(info[0]));
  return info.Env().Undefined();
}

Napi::Value join_group(const Napi::CallbackInfo& info) {
  Session& engine = session(info);
  const group::GroupOptions options = read_group(info[2]);
  const std::string backend = read_backend(info[2]);
  const std::shared_ptr<Door> door = held(info).doors.take(read_handle(info[1]));
  return engine.submit(info.Env(), [door, options, backend](Engine& engine) {
    engine.join(backend, std::move(door->listener), options);
    return std::nullopt;
  });
}

Napi::Value follow(const Napi::CallbackInfo& info) {
  return session(info).submit(info.Env(), [](Engine& engine) {
    engine.follow();
    return std::nullopt;
  });
}

Napi::Value steps_done(const Napi::CallbackInfo& info) {
  return number(info, session(info).steps_done());
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
  return held(info).sessions.take(read_handle(info[0]))->close(info.Env());
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
  env.SetInstanceData(new Held());
  const auto set = [&](const char* name, Napi::Value (*function)(const Napi::CallbackInfo&)) {
    exports.Set(name, Napi::Function::New(env, function, name));
  };
  set("info", guarded<info>);
  set("openEngine", guarded<open_engine>);
  set("loadParameters", guarded<load_parameters>);
  set("bind", guarded<bind>);
  set("step", guarded<step>);
  set("takeBackStep", guarded<take_back_step>);
  set("listenGroup", guarded<listen_group>);
  set("closeListener", guarded<close_listener>);
  set("joinGroup", guarded<join_group>);
  set("follow", guarded<follow>);
  set("stepsDone", guarded<steps_done>);
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
