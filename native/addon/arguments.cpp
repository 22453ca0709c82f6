#include "addon/arguments.h"

#include <cmath>
#include <cstring>

#include "load/format.h"

namespace cidery::addon {
namespace {

constexpr int64_t most_u32 = 0xffffffff;
constexpr int64_t most_exact = (int64_t{1} << 53) - 1;  // Number.MAX_SAFE_INTEGER
constexpr int64_t most_slots = 1 << 16;
constexpr int64_t most_positions = 1 << 28;
constexpr int64_t most_threads = 4096;
constexpr int64_t most_ms = 24 * 3600 * 1000;

[[noreturn]] void fail(const std::string& what) { throw Error("arguments_invalid", what); }

Napi::Object object(const Napi::Value& value, const std::string& what) {
  if (!value.IsObject()) fail(what + " has to be an object");
  return value.As<Napi::Object>();
}

Napi::Array array(const Napi::Value& value, const std::string& what) {
  if (!value.IsArray()) fail(what + " has to be an array");
  return value.As<Napi::Array>();
}

std::string text(const Napi::Value& value, const std::string& what) {
  if (!value.IsString()) fail(what + " has to be a string");
  return value.As<Napi::String>().Utf8Value();
}

bool boolean(const Napi::Value& value, const std::string& what) {
  if (!value.IsBoolean()) fail(what + " has to be a boolean");
  return value.As<Napi::Boolean>().Value();
}

uint32_t integer32(const Napi::Object& from, const char* field) {
  return static_cast<uint32_t>(read_integer(from.Get(field), field, 0, most_u32));
}

uint64_t integer64(const Napi::Object& from, const char* field) {
  return static_cast<uint64_t>(read_integer(from.Get(field), field, 0, most_exact));
}

/// Reads each item of an array within a scope of its own: a model has thousands of tensors.
template <typename Item, typename Read>
std::vector<Item> list(const Napi::Value& value, const std::string& what, Read read) {
  const Napi::Array items = array(value, what);
  std::vector<Item> out;
  out.reserve(items.Length());
  for (uint32_t i = 0; i < items.Length(); ++i) {
    const Napi::HandleScope scope(value.Env());
    out.push_back(read(items.Get(i)));
  }
  return out;
}

load::Role role(const std::string& name) {
  if (name == "weight") return load::Role::weight;
  if (name == "scales") return load::Role::scales;
  if (name == "biases") return load::Role::biases;
  fail("a part's role '" + name + "' is unknown");
}

load::Format format(const std::string& name) {
  const auto found = load::format_named(name);
  if (!found) fail("a part's format '" + name + "' is unknown");
  return *found;
}

load::Piece read_piece(const Napi::Value& value) {
  const Napi::Object from = object(value, "a piece");
  load::Piece piece;
  piece.file = integer32(from, "file");
  piece.offset = integer64(from, "offset");
  piece.row_bytes = integer64(from, "rowBytes");
  piece.row_stride = integer64(from, "rowStride");
  piece.row_count = integer64(from, "rowCount");
  return piece;
}

load::Part read_part(const Napi::Value& value) {
  const Napi::Object from = object(value, "a part");
  load::Part part;
  part.role = role(text(from.Get("role"), "role"));
  part.format = format(text(from.Get("format"), "format"));
  part.shape = list<uint32_t>(from.Get("shape"), "shape", [](const Napi::Value& size) {
    return static_cast<uint32_t>(read_integer(size, "a dimension of shape", 0, most_u32));
  });
  part.transforms.unpermute_heads = integer32(from, "unpermuteHeads");
  const Napi::Value add = from.Get("add");
  if (!add.IsNumber() || !std::isfinite(add.As<Napi::Number>().DoubleValue())) {
    fail("add has to be a finite number");
  }
  part.transforms.add = add.As<Napi::Number>().FloatValue();
  part.pieces = list<load::Piece>(from.Get("pieces"), "pieces", read_piece);
  return part;
}

load::ParameterSource read_source(const Napi::Value& value) {
  const Napi::Object from = object(value, "a source");
  load::ParameterSource source;
  source.parameter = integer32(from, "parameter");
  source.parts = list<load::Part>(from.Get("parts"), "parts", read_part);
  return source;
}

}  // namespace

int64_t read_integer(const Napi::Value& value, const std::string& what, int64_t least,
                     int64_t most) {
  const double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : NAN;
  if (!(number >= static_cast<double>(least) && number <= static_cast<double>(most)) ||
      number != std::floor(number)) {
    fail(what + " has to be an integer from " + std::to_string(least) + " to " +
         std::to_string(most));
  }
  return static_cast<int64_t>(number);
}

uint64_t read_handle(const Napi::Value& handle) {
  return static_cast<uint64_t>(read_integer(handle, "a handle", 0, most_exact));
}

std::string read_text(const Napi::Value& value, const char* what) { return text(value, what); }

std::vector<std::byte> read_bytes(const Napi::Value& value, const char* what) {
  if (!value.IsTypedArray() ||
      value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    fail(std::string(what) + " has to be a Uint8Array");
  }
  const auto array = value.As<Napi::Uint8Array>();
  std::vector<std::byte> bytes(array.ByteLength());
  if (!bytes.empty()) std::memcpy(bytes.data(), array.Data(), bytes.size());
  return bytes;
}

EngineSetup read_setup(const Napi::Value& options) {
  const Napi::Object from = object(options, "options");
  EngineSetup setup;
  setup.executor = text(from.Get("executor"), "executor");
  setup.options.gpu = boolean(from.Get("gpu"), "gpu");
  setup.options.precise = boolean(from.Get("precise"), "precise");
  const auto number = [&](const char* field, int64_t least, int64_t most) {
    return static_cast<uint32_t>(read_integer(from.Get(field), field, least, most));
  };
  setup.options.slots = number("slots", 1, most_slots);
  setup.options.positions = number("positions", 1, most_positions);
  setup.options.cache_positions = integer64(from, "cachePositions");
  setup.options.threads = number("threads", 0, most_threads);
  setup.files = list<std::string>(from.Get("files"), "files", [](const Napi::Value& path) {
    return text(path, "a path of files");
  });
  setup.program = program::decode_program(read_bytes(from.Get("program"), "program"));
  return setup;
}

group::GroupOptions read_group(const Napi::Value& options) {
  const Napi::Object from = object(options, "group");
  group::GroupOptions group;
  const auto number = [&](const char* field, int64_t least, int64_t most) {
    return static_cast<uint32_t>(read_integer(from.Get(field), field, least, most));
  };
  group.rank = number("rank", 0, most_u32);
  group.addresses = list<group::Address>(
      from.Get("addresses"), "addresses", [](const Napi::Value& value) {
        const Napi::Object address = object(value, "an address");
        const int64_t port = read_integer(address.Get("port"), "an address's port", 1, 0xffff);
        return group::Address{text(address.Get("host"), "an address's host"),
                              static_cast<uint16_t>(port)};
      });
  const std::vector<std::byte> key = read_bytes(from.Get("key"), "key");
  if (key.size() != group.key.size()) fail("key has to have 32 bytes");
  std::memcpy(group.key.data(), key.data(), key.size());
  group.connect_ms = number("connectMs", 1, most_ms);
  group.silence_ms = number("silenceMs", 1, most_ms);
  group.wait_ms = number("waitMs", 1, most_ms);
  return group;
}

std::string read_backend(const Napi::Value& group) {
  return text(object(group, "group").Get("backend"), "backend");
}

std::vector<load::ParameterSource> read_sources(const Napi::Value& sources) {
  return list<load::ParameterSource>(sources, "sources", read_source);
}

}  // namespace cidery::addon
