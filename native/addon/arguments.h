#pragma once

#include <napi.h>

#include "addon/engine.h"

namespace cidery::addon {

/// JavaScript's arguments as native values. All throw Error `arguments_invalid` that names the
/// field.
EngineSetup read_setup(const Napi::Value& options);
std::vector<load::ParameterSource> read_sources(const Napi::Value& sources);
group::GroupOptions read_group(const Napi::Value& options);
std::string read_backend(const Napi::Value& group);
uint64_t read_handle(const Napi::Value& handle);
std::string read_text(const Napi::Value& value, const char* what);
/// A copy: the caller's array may change afterwards.
std::vector<std::byte> read_bytes(const Napi::Value& value, const char* what);
/// An integer between the two, included.
int64_t read_integer(const Napi::Value& value, const std::string& what, int64_t least,
                     int64_t most);

}  // namespace cidery::addon
