#pragma once

#include <napi.h>

#include <exception>
#include <new>
#include <string>

#include "base/error.h"

namespace cidery::addon {

/// A JavaScript Error with a `code`.
inline Napi::Error coded_error(Napi::Env env, const std::string& code,
                               const std::string& message) {
  Napi::Error error = Napi::Error::New(env, message);
  error.Value().Set("code", Napi::String::New(env, code));
  return error;
}

/// The exception that is being handled, as what reaches JavaScript.
inline Status current_status() noexcept {
  try {
    throw;
  } catch (const Error& error) {
    return {error.code(), error.what()};
  } catch (const std::bad_alloc&) {
    return {"out_of_memory", "this machine has not enough free memory"};
  } catch (const std::exception& error) {
    return {"engine_failed", error.what()};
  } catch (...) {
    return {"engine_failed", "an unknown exception"};
  }
}

/// An export: no C++ exception leaves it but as a JavaScript Error with a code.
template <auto Function>
Napi::Value guarded(const Napi::CallbackInfo& info) {
  try {
    return Function(info);
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    const Status status = current_status();
    throw coded_error(info.Env(), status.code, status.message);
  }
}

}  // namespace cidery::addon
