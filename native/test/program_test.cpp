#include <cmath>
#include <functional>

#include "test/check.h"
#include "test/program_words.h"

/// decode_program: what it takes back, and everything that it refuses.
using namespace cidery;
using namespace cidery::program;
using cidery::test::check;
using cidery::test::encode_program;
using cidery::test::pipeline_program;
using cidery::test::rank_program;
using cidery::test::whole_program;

namespace {

/// Message of the refusal; empty when the program is taken.
std::string refusal(std::span<const std::byte> bytes) {
  try {
    decode_program(bytes);
  } catch (const Error& error) {
    return error.code() == "program_invalid" ? error.what() : "wrong code " + error.code();
  }
  return "";
}

using Change = std::function<void(Program&)>;

/// The program with one change is refused, and the message says `expected`.
void refused_of(Program program, const std::string& expected, const Change& change) {
  change(program);
  const std::string message = refusal(encode_program(program));
  check(message.find(expected) != std::string::npos,
        "refused with '" + expected + "', not '" + message + "'");
}

void refused(const std::string& expected, const Change& change) {
  refused_of(whole_program(), expected, change);
}

template <typename Op>
Op& op(Program& program, size_t index) {
  return std::get<Op>(program.operations[index]);
}

void round_trip() {
  for (const Program& program : {whole_program(), rank_program(), pipeline_program()}) {
    const auto bytes = encode_program(program);
    check(refusal(bytes).empty(), "a program is taken, not refused with " + refusal(bytes));
    const Program decoded = decode_program(bytes);
    check(encode_program(decoded) == bytes, "a program decodes to what was encoded");
  }
}

void hostile_bytes() {
  const auto bytes = encode_program(rank_program());
  for (size_t size = 0; size < bytes.size(); ++size) {
    if (refusal(std::span(bytes).first(size)).empty()) {
      check(false, "a program cut to " + std::to_string(size) + " bytes is refused");
    }
  }
  std::vector<std::byte> longer = bytes;
  longer.resize(bytes.size() + 4);
  check(refusal(longer) == "1 words follow its end", "a longer program is refused");
  // Each word in turn as large as can be: counts, indices, sizes. None may crash it or fill memory.
  for (size_t at = 0; at < bytes.size(); at += 4) {
    std::vector<std::byte> broken = bytes;
    for (size_t k = 0; k < 4; ++k) broken[at + k] = std::byte{0xfe};
    refusal(broken);
  }
  check(true, "no word can make it crash");
}

void tables() {
  refused("vocabulary", [](Program& p) { p.vocabulary = 0; });
  refused("context length", [](Program& p) { p.context_length = 0; });
  refused("name is there twice", [](Program& p) { p.buffers[1].name = "hidden"; });
  refused("buffer 'last': width", [](Program& p) { p.buffers[6].width = 0; });
  refused("buffer 'last': width", [](Program& p) { p.buffers[6].width = 1u << 25; });
  refused("path is there twice", [](Program& p) { p.parameters[2].path = "norm"; });
  refused("no dimensions", [](Program& p) { p.parameters[1].shape.clear(); });
  refused("dimension is out of range", [](Program& p) { p.parameters[1].shape[0] = 0; });
  refused("too many dimensions", [](Program& p) { p.parameters[1].shape.assign(9, 1); });
  refused("larger than any machine",
          [](Program& p) { p.parameters[1].shape.assign(2, 0x7fffffff); });
  refused("affine storage of 7 bits", [](Program& p) { p.parameters[0].storage.bits = 7; });
  refused("groups of 48", [](Program& p) { p.parameters[0].storage.group = 48; });
  refused("no multiple of its group", [](Program& p) { p.parameters[0].storage.group = 64; });
  refused("affine storage alone", [](Program& p) { p.parameters[1].storage.bits = 4; });
  refused("block storage alone",
          [](Program& p) { p.parameters[0].storage.format = BlockFormat::q4_k; });
  refused("only matrices", [](Program& p) { p.parameters[1].storage = p.parameters[0].storage; });
  refused("its group of 256", [](Program& p) {
    p.parameters[0].storage = {StorageKind::block, 0, 0, BlockFormat::q6_k};
  });
  refused("rope 0: width", [](Program& p) { p.ropes[0].width = 7; });
  refused("rope 0: base", [](Program& p) { p.ropes[0].base = 0; });
  refused("rope 0: scale", [](Program& p) { p.ropes[0].scale = NAN; });
  refused("rope 0: frequencies", [](Program& p) { p.ropes[0].frequencies = {1, 2, 3}; });
  refused("every frequency", [](Program& p) { p.ropes[0].frequencies = {1, 2, 3, -1}; });
  refused("rope 0: dynamicFactor", [](Program& p) { p.ropes[0].dynamic_factor = 0; });
  refused("no frequencies of its own", [](Program& p) {
    p.ropes[0].frequencies = {1, 2, 3, 4};
    p.ropes[0].dynamic_from = 8;
  });
  refused("cache 0", [](Program& p) { p.caches[0].value_width = 0; });
}

void indices_and_columns() {
  refused("operation 0 (embed): table names no", [](Program& p) { op<Embed>(p, 0).table = 99; });
  refused("(embed): out names no buffer", [](Program& p) { op<Embed>(p, 0).out.buffer = 7; });
  refused("(embed): out reaches beyond", [](Program& p) { op<Embed>(p, 0).out.column = 1; });
  refused("(linear): in reaches beyond",
          [](Program& p) { op<Linear>(p, 2).in = {1, 0xfffffff0, 32}; });
  refused("(linear): in has no width", [](Program& p) { op<Linear>(p, 2).in.width = 0; });
  refused("(activate): up has no width but", [](Program& p) { op<Activate>(p, 6).up.width = 0; });
  refused("(attention): rope names no rope", [](Program& p) { op<Attention>(p, 3).rope = 1; });
  refused("(attention): cache names no cache", [](Program& p) { op<Attention>(p, 3).cache = 1; });
  refused("(embed): scale is not finite", [](Program& p) { op<Embed>(p, 0).scale = INFINITY; });
  refused("operation 1 (norm): in reads columns that nothing",
          [](Program& p) { op<Norm>(p, 1).in = {5, 0, 32}; });
  refused("(linear): in reads columns that nothing", [](Program& p) {
    op<Norm>(p, 1).out = {1, 0, 16};
    op<Norm>(p, 1).in = {0, 0, 16};
    p.parameters[1].shape = p.parameters[2].shape = {16};
  });
}

void shapes_and_widths() {
  refused("('embed') has to have the shape [41, 32]", [](Program& p) { p.vocabulary = 41; });
  refused("(norm): out is 16 columns wide and has to be 32",
          [](Program& p) { op<Norm>(p, 1).out.width = 16; });
  refused("(norm): weight ('up')", [](Program& p) { op<Norm>(p, 1).weight = 8; });
  refused("(norm): bias belongs", [](Program& p) { op<Norm>(p, 1).kind = 0; });
  refused("(norm): kind", [](Program& p) { op<Norm>(p, 1).kind = 2; });
  refused("(norm): epsilon", [](Program& p) { op<Norm>(p, 1).epsilon = -1; });
  refused("(linear): weight ('qkv')", [](Program& p) { op<Linear>(p, 2).out.width = 48; });
  refused("(linear): bias ('norm')", [](Program& p) { op<Linear>(p, 2).bias = 1; });
  refused("(attention): q is", [](Program& p) { op<Attention>(p, 3).q.width = 16; });
  refused("(attention): q is", [](Program& p) { op<Attention>(p, 3).heads = 3; });
  refused("(attention): key_heads is not as many", [](Program& p) {
    op<Attention>(p, 3).heads = 2;
  });
  refused("(attention): key_heads is not as many", [](Program& p) {
    op<Attention>(p, 3).first_in_group = 1;
  });
  refused("(attention): first_in_group is beyond", [](Program& p) {
    op<Attention>(p, 3).first_in_group = 2;
  });
  for (const uint32_t size : {0u, 0x10001u, 0xffffffffu}) {
    refused("(attention): group_heads is out of range", [=](Program& p) {
      op<Attention>(p, 3).group_heads = size;
    });
  }
  refused("(attention): key_heads is 0", [](Program& p) { op<Attention>(p, 3).key_heads = 0; });
  refused("(attention): cache has other", [](Program& p) { p.caches[0].head_width = 16; });
  refused("(attention): window is not", [](Program& p) { op<Attention>(p, 3).window = 8; });
  refused("(attention): norm_kind", [](Program& p) { op<Attention>(p, 3).norm_kind = 2; });
  refused("(attention): q_norm does not", [](Program& p) { op<Attention>(p, 3).norm_kind = 0; });
  refused("(attention): q_norm ('norm') has to have the shape [8]",
          [](Program& p) { op<Attention>(p, 3).q_norm = 1; });
  refused("(attention): rope is wider", [](Program& p) { p.ropes[0].width = 10; });
  refused("(attention): sinks", [](Program& p) { op<Attention>(p, 3).sinks = 5; });
  refused("(activate): kind", [](Program& p) { op<Activate>(p, 6).kind = 5; });
  refused("(activate): up is", [](Program& p) { op<Activate>(p, 6).up.width = 32; });
  refused("(head): weight ('up')", [](Program& p) { op<Head>(p, 10).weight = 8; });
}

void order_and_places() {
  refused("(norm): in is overwritten", [](Program& p) { op<Norm>(p, 1).out = {0, 0, 32}; });
  refused("(activate): gate is overwritten",
          [](Program& p) { op<Activate>(p, 6).out = {4, 32, 64}; });
  refused("(add): b is overwritten", [](Program& p) { op<Add>(p, 4).out = {3, 0, 32}; });
  refused("(attention): q is overwritten",
          [](Program& p) { op<Attention>(p, 3).out = {2, 0, 32}; });
  refused("(select): out has to hold the selected", [](Program& p) {
    op<Select>(p, 9).out = {5, 0, 32};
  });
  refused("(head): in has to hold the selected", [](Program& p) { op<Head>(p, 10).in.buffer = 0; });
  refused("(norm): out has to hold a row a token", [](Program& p) {
    op<Norm>(p, 1).out = {6, 0, 32};
  });
  refused("the last operation has to be head", [](Program& p) { p.operations.pop_back(); });
  refused("the last operation has to be head", [](Program& p) { p.operations.clear(); });
  refused("a head that is not the last",
          [](Program& p) { p.operations.push_back(p.operations.back()); });
  refused("belongs to an earlier operation", [](Program& p) {
    p.operations.insert(p.operations.begin() + 4, p.operations[3]);
  });
  refused("parameter 'spare' is used by no", [](Program& p) {
    p.parameters.push_back({"spare", {4}, {}});
  });
  refused("rope 1 is used by no", [](Program& p) { p.ropes.push_back(p.ropes[0]); });
  refused("cache 1 is used by no", [](Program& p) { p.caches.push_back(p.caches[0]); });
}

void ranks() {
  const auto refuse = [](const std::string& expected, const Change& change) {
    refused_of(rank_program(), expected, change);
  };
  refuse("rank 3 of 3 is out", [](Program& p) { p.rank = 3; });
  refuse("rank 0 of 0 is out", [](Program& p) { p.rank = p.ranks = 0; });
  refuse("rank 1 of 257 is out", [](Program& p) { p.ranks = 257; });
  refuse("layout 1: it has not a width a rank", [](Program& p) { p.layouts[1].push_back(1); });
  refuse("layout 0: a rank has no columns", [](Program& p) { p.layouts[0][0] = 0; });
  refuse("layout 0: width out of range", [](Program& p) { p.layouts[0][0] = 1u << 24; });
  refuse("layout 2 is used by no", [](Program& p) { p.layouts.push_back({1, 1, 1}); });
  refuse("(embed): first and the rows", [](Program& p) { op<Embed>(p, 0).first = 61; });
  refuse("(embed): first and the rows", [](Program& p) { op<Embed>(p, 0).first = 0xfffffff0; });
  refuse("('embed') has to have the shape [40, 32]",
         [](Program& p) { p.parameters[0].shape = {40, 64}; });
  refuse("(head): first and the rows", [](Program& p) { op<Head>(p, 15).first = 61; });
  refuse("(head): bias ('head.bias')", [](Program& p) { p.parameters[11].shape = {100}; });
  refuse("(allSum): data reads columns that nothing",
         [](Program& p) { op<AllSum>(p, 1).data = {5, 0, 32}; });
  refuse("(allSum): data reaches beyond",
         [](Program& p) { op<AllSum>(p, 1).data = {0, 1, 32}; });
  refuse("(allSum): kind is no", [](Program& p) { op<AllSum>(p, 1).kind = 2; });
  refuse("(allGather): layout names no", [](Program& p) { op<AllGather>(p, 3).layout = 2; });
  refuse("(allGather): out is 64 columns wide and has to be 96",
         [](Program& p) { op<AllGather>(p, 3).layout = 1; });
  refuse("(allGather): in is 24 columns wide and has to be 32",
         [](Program& p) { op<AllGather>(p, 3).in.width = 24; });
  refuse("(allGather): in is overwritten", [](Program& p) {
    op<Norm>(p, 2).out.column = 16;
    op<AllGather>(p, 3).in.column = 16;
  });
  refuse("(allGather): out has to hold the selected",
         [](Program& p) { p.buffers[8].domain = Domain::tokens; });
  refuse("(send): to is no other", [](Program& p) { op<Send>(p, 11).to = 1; });
  refuse("(send): to is no other", [](Program& p) { op<Send>(p, 11).to = 3; });
  refuse("(send): in reads columns that nothing",
         [](Program& p) { op<Send>(p, 11).in.buffer = 8; });
  refuse("(receive): from is no other", [](Program& p) { op<Receive>(p, 12).from = 1; });
}

/// What belongs to several ranks is refused on one.
void one_rank() {
  const Columns hidden{0, 0, 32};
  const auto refuse = [](const std::string& expected, Operation operation) {
    refused(expected, [&](Program& p) {
      p.layouts = {{32}};
      p.operations.insert(p.operations.begin() + 1, operation);
    });
  };
  refuse("(allSum): data goes to other ranks", AllSum{hidden, exact_sum});
  refuse("(allGather): out goes to other ranks", AllGather{{1, 0, 32}, hidden, 0});
  refuse("(send): in goes to other ranks", Send{hidden, 0});
  refuse("(receive): out goes to other ranks", Receive{hidden, 0});
  refused("(embed): first and the rows", [](Program& p) { op<Embed>(p, 0).first = 1; });
  refused("('head') has to have the shape [40, 32]",
          [](Program& p) { p.parameters[10].shape = {39, 32}; });
}

void pipelines() {
  const auto refuse = [](const std::string& expected, const Change& change) {
    refused_of(pipeline_program(), expected, change);
  };
  refuse("the last operation has to be head", [](Program& p) { p.operations.resize(10); });
  Program follower = pipeline_program();
  follower.rank = 2;
  follower.operations.resize(10);
  follower.parameters.resize(10);
  check(refusal(encode_program(follower)).empty(), "a later rank ends by sending");
  refuse("(receive): out has to hold the selected",
         [](Program& p) { op<Receive>(p, 10).out.buffer = 0; });
  refuse("(receive): out is received a second time", [](Program& p) {
    p.operations.insert(p.operations.begin() + 10, p.operations[10]);
  });
  // The first half of the next step may have run in between.
  refuse("(select): in reads columns that nothing", [](Program& p) {
    p.operations.insert(p.operations.begin() + 11, Select{{6, 0, 32}, {0, 0, 32}});
  });
  refuse("(embed): out follows what rank 0 receives", [](Program& p) {
    p.operations.insert(p.operations.begin() + 11, p.operations[0]);
  });
  refuse("(head): weight is a part of a pipeline's head", [](Program& p) { p.vocabulary = 41; });
}

}  // namespace

int main() {
  round_trip();
  hostile_bytes();
  tables();
  indices_and_columns();
  shapes_and_widths();
  order_and_places();
  ranks();
  one_rank();
  pipelines();
  return test::summary("program");
}
