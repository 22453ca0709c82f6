#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"
#include "program/fields.h"
#include "program/program.h"

/// Encodes programs for tests, as src/model/program-encoding.ts does.
namespace cidery::test {

/// Writes an operation's fields as words.
struct FieldWriter {
  WordWriter& words;

  void columns(const program::Columns& field) {
    words.u32(field.buffer);
    words.u32(field.column);
    words.u32(field.width);
  }
  void output(const char*, const program::Columns& field) { columns(field); }
  void input(const char*, const program::Columns& field) { columns(field); }
  void optional_input(const char*, const program::Columns& field) { columns(field); }
  void parameter(const char*, uint32_t field) { words.u32(field); }
  void optional_parameter(const char*, uint32_t field) { words.u32(field); }
  void optional_rope(const char*, uint32_t field) { words.u32(field); }
  void u32(const char*, uint32_t field) { words.u32(field); }
  void f32(const char*, float field) { words.f32(field); }
};

inline void write_text(WordWriter& words, const std::string& text) {
  words.u32(static_cast<uint32_t>(text.size()));
  for (size_t at = 0; at < text.size(); at += 4) {
    uint32_t word = 0;
    for (size_t k = 0; k < 4 && at + k < text.size(); ++k) {
      word |= static_cast<uint32_t>(static_cast<unsigned char>(text[at + k])) << (8 * k);
    }
    words.u32(word);
  }
}

template <typename Items, typename Write>
void write_list(WordWriter& words, const Items& items, Write write) {
  words.u32(static_cast<uint32_t>(items.size()));
  for (const auto& item : items) write(item);
}

inline uint32_t operation_code(const program::Operation& operation) {
  return static_cast<uint32_t>(operation.index()) + 1;
}

inline void write_parameter(WordWriter& words, const program::Parameter& parameter) {
  write_text(words, parameter.path);
  write_list(words, parameter.shape, [&](uint32_t size) { words.u32(size); });
  words.u32(static_cast<uint32_t>(parameter.storage.kind));
  words.u32(parameter.storage.bits);
  words.u32(parameter.storage.group);
  words.u32(static_cast<uint32_t>(parameter.storage.format));
}

inline void write_rope(WordWriter& words, const program::Rope& rope) {
  words.u32(rope.width);
  words.u32(rope.traditional ? 1 : 0);
  for (const float value : {rope.base, rope.scale, rope.pre_scale, rope.dynamic_factor}) {
    words.f32(value);
  }
  words.u32(rope.dynamic_from);
  write_list(words, rope.frequencies, [&](float frequency) { words.f32(frequency); });
}

inline std::vector<std::byte> encode_program(const program::Program& program) {
  WordWriter words;
  for (const uint32_t word : {0x50444943u, 3u, program.vocabulary, program.context_length,
                              program.rank, program.ranks}) {
    words.u32(word);
  }
  write_list(words, program.buffers, [&](const program::Buffer& buffer) {
    write_text(words, buffer.name);
    words.u32(buffer.width);
    words.u32(static_cast<uint32_t>(buffer.domain));
  });
  write_list(words, program.parameters, [&](const auto& item) { write_parameter(words, item); });
  write_list(words, program.ropes, [&](const auto& item) { write_rope(words, item); });
  write_list(words, program.caches, [&](const program::Cache& cache) {
    for (const uint32_t size :
         {cache.key_heads, cache.head_width, cache.value_width, cache.window}) {
      words.u32(size);
    }
  });
  write_list(words, program.layouts, [&](const std::vector<uint32_t>& layout) {
    write_list(words, layout, [&](uint32_t width) { words.u32(width); });
  });
  write_list(words, program.operations, [&](const program::Operation& operation) {
    words.u32(operation_code(operation));
    FieldWriter writer{words};
    std::visit([&](const auto& op) { program::visit_fields(op, writer); }, operation);
  });
  return words.take();
}

/// A layer with every operation and every optional field in use, that passes the checks.
inline program::Program whole_program() {
  using namespace program;
  Program out;
  out.vocabulary = 40;
  out.context_length = 64;
  out.buffers = {{"hidden", 32, Domain::tokens},
                 {"normed", 32, Domain::tokens},
                 {"qkv", 64, Domain::tokens},
                 {"mixed", 32, Domain::tokens},
                 {"inner", 128, Domain::tokens},
                 {"update", 32, Domain::tokens},
                 {"last", 32, Domain::selected}};
  const Storage dense, affine{StorageKind::affine, 4, 32, BlockFormat::q4_0};
  out.parameters = {
      {"embed", {40, 32}, affine},      {"norm", {32}, dense},
      {"norm.bias", {32}, dense},       {"qkv", {64, 32}, affine},
      {"qkv.bias", {64}, dense},        {"q_norm", {8}, dense},
      {"k_norm", {8}, dense},           {"sinks", {4}, dense},
      {"up", {128, 32}, dense},         {"down", {32, 64}, affine},
      {"head", {40, 32}, dense},        {"head.bias", {40}, dense},
  };
  out.ropes.resize(1);
  out.ropes[0].width = 8;
  out.ropes[0].base = 1e4f;
  out.caches = {{2, 8, 8, 16}};
  const Columns hidden{0, 0, 32}, normed{1, 0, 32}, update{5, 0, 32}, last{6, 0, 32};
  out.operations = {
      Embed{hidden, 0, 1, 0},
      Norm{normed, hidden, 1, 2, 1e-5f, 0, 1},
      Linear{{2, 0, 64}, normed, 3, 4},
      Attention{{3, 0, 32}, {2, 0, 32}, {2, 32, 16}, {2, 48, 16}, 0,     4, 2, 2, 0, 8, 8,
                0.35f,      30,         16,          5,           6,     1, 1e-5f, 1, 0, 0.1f, 8,
                7},
      Add{hidden, hidden, {3, 0, 32}, 1},
      Linear{{4, 0, 128}, hidden, 8, none},
      Activate{{2, 0, 64}, {4, 0, 64}, {4, 64, 64}, 0},
      Linear{update, {2, 0, 64}, 9, none},
      Add{hidden, hidden, update, 0.5f},
      Select{last, hidden},
      Head{last, 10, 11, 1, 30, 0},
  };
  return out;
}

/// `whole_program` as rank 1 of 3 would run it: sums in place, parts that are gathered out of their
/// own place and out of another buffer, messages, parts of groups of heads, and a part of the
/// vocabulary.
inline program::Program rank_program() {
  using namespace program;
  Program out = whole_program();
  out.rank = 1;
  out.ranks = 3;
  out.vocabulary = 100;
  out.layouts = {{8, 32, 24}, {32, 32, 32}};
  out.buffers.push_back({"parts", 64, Domain::tokens});
  out.buffers.push_back({"three", 96, Domain::selected});
  const Columns hidden{0, 0, 32}, last{6, 0, 32};
  auto& operations = out.operations;
  std::get<Embed>(operations[0]).first = 30;
  std::get<Head>(operations[10]).first = 60;
  std::get<Attention>(operations[3]).group_heads = 3;
  std::get<Attention>(operations[3]).first_in_group = 1;
  operations.insert(operations.begin() + 10, AllGather{{8, 0, 96}, last, 1});
  operations.insert(operations.begin() + 9,
                    {Operation{Send{hidden, 2}}, Operation{Receive{hidden, 0}}});
  operations.insert(operations.begin() + 2, AllGather{{7, 0, 64}, {7, 8, 32}, 0});
  std::get<Norm>(operations[1]).out = {7, 8, 32};
  std::get<Linear>(operations[3]).in = {7, 16, 32};
  operations.insert(operations.begin() + 1, AllSum{hidden, exact_sum});
  return out;
}

/// Rank 0 of a pipeline of three, with one layer.
inline program::Program pipeline_program() {
  using namespace program;
  Program out = whole_program();
  out.ranks = 3;
  const Columns hidden{0, 0, 32}, last{6, 0, 32};
  out.operations[9] = Receive{last, 2};
  out.operations.insert(out.operations.begin() + 9, Send{hidden, 1});
  return out;
}

}  // namespace cidery::test
