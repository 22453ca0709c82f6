#include "program/program.h"

#include "base/bytes.h"
#include "program/check.h"
#include "program/fields.h"

namespace cidery::program {
namespace {

constexpr uint32_t magic = 0x50444943;  // "CIDP"
constexpr uint32_t version = 3;
constexpr uint32_t longest_name_bytes = 512;
constexpr uint32_t most_dimensions = 8;
// Thousands of layers; the checks are quadratic at worst.
constexpr size_t most_operations = 1u << 16;

// Fewest words that an item of each list takes; a count beyond the bytes is refused by it.
constexpr uint32_t buffer_words = 3, parameter_words = 6, rope_words = 8, cache_words = 4,
                   layout_words = 1,
                   operation_words = 4;

/// Fills an operation's fields from words.
struct FieldReader {
  WordReader& words;

  void columns(Columns& field) {
    field.buffer = words.u32();
    field.column = words.u32();
    field.width = words.u32();
  }
  void output(const char*, Columns& field) { columns(field); }
  void input(const char*, Columns& field) { columns(field); }
  void optional_input(const char*, Columns& field) { columns(field); }
  void parameter(const char*, uint32_t& field) { field = words.u32(); }
  void optional_parameter(const char*, uint32_t& field) { field = words.u32(); }
  void optional_rope(const char*, uint32_t& field) { field = words.u32(); }
  void u32(const char*, uint32_t& field) { field = words.u32(); }
  void f32(const char*, float& field) { field = words.f32(); }
};

Buffer read_buffer(WordReader& words) {
  Buffer buffer;
  buffer.name = words.text("the name of a buffer", longest_name_bytes);
  buffer.width = words.u32();
  const uint32_t domain = words.u32();
  if (domain > 1) words.fail("buffer '" + buffer.name + "': domain is neither 0 nor 1");
  buffer.domain = static_cast<Domain>(domain);
  return buffer;
}

Parameter read_parameter(WordReader& words) {
  Parameter parameter;
  parameter.path = words.text("the path of a parameter", longest_name_bytes);
  const uint32_t dimensions = words.count("dimensions", 1);
  if (dimensions > most_dimensions) {
    words.fail("parameter '" + parameter.path + "': it has too many dimensions");
  }
  parameter.shape = words.words(dimensions, "dimensions");
  const uint32_t kind = words.u32();
  parameter.storage.bits = words.u32();
  parameter.storage.group = words.u32();
  const uint32_t format = words.u32();
  if (kind > static_cast<uint32_t>(StorageKind::block)) {
    words.fail("parameter '" + parameter.path + "': storage kind is unknown");
  }
  if (format > static_cast<uint32_t>(BlockFormat::mxfp4)) {
    words.fail("parameter '" + parameter.path + "': block format is unknown");
  }
  parameter.storage.kind = static_cast<StorageKind>(kind);
  parameter.storage.format = static_cast<BlockFormat>(format);
  return parameter;
}

Rope read_rope(WordReader& words) {
  Rope rope;
  rope.width = words.u32();
  const uint32_t traditional = words.u32();
  if (traditional > 1) words.fail("a rope's traditional is neither 0 nor 1");
  rope.traditional = traditional == 1;
  rope.base = words.f32();
  rope.scale = words.f32();
  rope.pre_scale = words.f32();
  rope.dynamic_factor = words.f32();
  rope.dynamic_from = words.u32();
  const uint32_t count = words.count("frequencies", 1);
  rope.frequencies.reserve(count);
  for (uint32_t i = 0; i < count; ++i) rope.frequencies.push_back(words.f32());
  return rope;
}

Cache read_cache(WordReader& words) {
  Cache cache;
  cache.key_heads = words.u32();
  cache.head_width = words.u32();
  cache.value_width = words.u32();
  cache.window = words.u32();
  return cache;
}

std::vector<uint32_t> read_layout(WordReader& words) {
  return words.words(words.u32(), "widths of a layout");
}

template <typename Op>
Operation read_fields(WordReader& words) {
  Op op{};
  FieldReader reader{words};
  visit_fields(op, reader);
  return op;
}

Operation read_operation(WordReader& words) {
  const uint32_t code = words.u32();
  switch (code) {
#define OPERATION(type, name, number, fields) \
  case number:                                \
    return read_fields<type>(words);
#define OUTPUT(field)
#define INPUT(field)
#define OPTIONAL_INPUT(field)
#define PARAMETER(field)
#define OPTIONAL_PARAMETER(field)
#define OPTIONAL_ROPE(field)
#define U32(field)
#define F32(field)
#include "program/ops.def"
    default:
      words.fail("operation code " + std::to_string(code) + " is unknown to this build");
  }
}

template <typename Item>
std::vector<Item> read_list(WordReader& words, const char* what, uint32_t item_words,
                            Item (*read)(WordReader&)) {
  const uint32_t count = words.count(what, item_words);
  std::vector<Item> items;
  items.reserve(count);
  for (uint32_t i = 0; i < count; ++i) items.push_back(read(words));
  return items;
}

}  // namespace

Program decode_program(std::span<const std::byte> bytes) {
  WordReader words(bytes, "program_invalid");
  if (words.u32() != magic) words.fail("these bytes are not a step program");
  if (words.u32() != version) words.fail("the program's version is not the one this build reads");
  Program program;
  program.vocabulary = words.u32();
  program.context_length = words.u32();
  program.rank = words.u32();
  program.ranks = words.u32();
  program.buffers = read_list<Buffer>(words, "buffers", buffer_words, read_buffer);
  program.parameters = read_list<Parameter>(words, "parameters", parameter_words, read_parameter);
  program.ropes = read_list<Rope>(words, "ropes", rope_words, read_rope);
  program.caches = read_list<Cache>(words, "caches", cache_words, read_cache);
  program.layouts =
      read_list<std::vector<uint32_t>>(words, "layouts", layout_words, read_layout);
  program.operations = read_list<Operation>(words, "operations", operation_words, read_operation);
  words.expect_end();
  if (program.operations.size() > most_operations) words.fail("it has too many operations");
  check_program(program);
  return program;
}

}  // namespace cidery::program
