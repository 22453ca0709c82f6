#include "test/executor_checks.h"

#include <algorithm>
#include <string>

#include "load/format.h"
#include "test/check.h"
#include "test/oracle.h"

namespace cidery::test {
namespace {

using program::Executor;
using program::PlannedSequence;
using program::StepPlan;
using program::StepResult;
using program::Want;

void compare_one(const OpenExecutor& open, const std::string& name, const Traits& traits,
                 double tolerance) {
  const TinyModel model(traits);
  const auto executor = open_model(open, model);
  const Tokens tokens = make_tokens(28, traits.vocabulary);
  const auto wanted = run_plainly(model.program, model.values, tokens);
  const double off = difference(run_chunks(*executor, 0, tokens, {11, 1, 1, 9, 1, 5}), wanted);
  check(off < tolerance, name + " is off by " + std::to_string(off));
}

uint32_t largest(const std::vector<double>& row) {
  return static_cast<uint32_t>(std::ranges::max_element(row) - row.begin());
}

void check_invariance(const OpenExecutor& open, const std::string& name, const Traits& traits) {
  const TinyModel model(traits);
  const auto executor = open_model(open, model);
  std::vector<Tokens> prompts;
  for (uint32_t i = 0; i < 5; ++i) prompts.push_back(make_tokens(20, traits.vocabulary, i));
  std::vector<Logits> alone;
  for (const Tokens& prompt : prompts) {
    alone.push_back(run_chunks(*executor, 0, prompt, std::vector<uint32_t>(20, 1)));
  }
  check(same_bits(alone[0], run_chunks(*executor, 1, prompts[0], {20})), name + ": one chunk");
  check(same_bits(alone[0], run_chunks(*executor, 1, prompts[0], {3, 1, 9, 7})), name + ": chunks");
  std::vector<Logits> together(prompts.size());
  std::vector<size_t> held(prompts.size(), 0);
  for (uint32_t round = 0; round < 20; ++round) {
    std::vector<PlannedSequence> sequences;
    std::vector<size_t> owners;
    for (uint32_t i = 0; i < prompts.size(); ++i) {
      const size_t left = prompts[i].size() - held[i];
      const size_t count = std::min<size_t>(left, (round + i) % 4);
      if (count == 0) continue;
      sequences.push_back(sequence(i, static_cast<uint32_t>(held[i]),
                                   part(prompts[i], held[i], count), Want::logits));
      held[i] += count;
      owners.push_back(i);
    }
    if (sequences.empty()) continue;
    const auto result = step(*executor, std::move(sequences));
    for (size_t i = 0; i < owners.size(); ++i) {
      const Logits& rows = result.sequences.at(i).logits;
      together[owners[i]].insert(together[owners[i]].end(), rows.begin(), rows.end());
    }
  }
  for (size_t i = 0; i < prompts.size(); ++i) {
    check(same_bits(alone[i], together[i]), name + ": in a batch, " + std::to_string(i));
  }
}

}  // namespace

void compare_architectures(const OpenExecutor& open, double tolerance) {
  const auto with = [](auto change) {
    Traits traits;
    change(traits);
    return traits;
  };
  const auto compare = [&](const std::string& name, const Traits& traits) {
    compare_one(open, name, traits, tolerance);
  };
  compare("llama", {});
  compare("biases", with([](Traits& t) { t.biases = true; }));
  compare("fused", with([](Traits& t) { t.fused = t.biases = true; }));
  compare("scattered", with([](Traits& t) { t.scattered = true; }));
  compare("layer norm", with([](Traits& t) { t.norm_kind = 1, t.biases = true; }));
  compare("norm offset", with([](Traits& t) { t.norm_offset = 1; }));
  compare("head norms", with([](Traits& t) { t.head_norm_kind = 1; }));
  for (uint32_t kind = 1; kind <= 4; ++kind) {
    compare("activation " + std::to_string(kind), with([&](Traits& t) { t.activation = kind; }));
  }
  compare("scales", with([](Traits& t) {
            t.embed_scale = 12, t.residual_scale = 0.22f, t.logit_scale = 0.125f;
          }));
  compare("soft caps", with([](Traits& t) { t.softcap = 2, t.logit_softcap = 3; }));
  compare("soft cap, window and sinks",
          with([](Traits& t) { t.softcap = 2, t.window = 6, t.sinks = true; }));
  compare("window", with([](Traits& t) { t.window = 5; }));
  compare("window of 1", with([](Traits& t) { t.window = 1; }));
  compare("window as long as a chunk", with([](Traits& t) { t.window = 11; }));
  compare("sinks", with([](Traits& t) { t.sinks = true; }));
  compare("value width", with([](Traits& t) { t.value_width = 24; }));
  compare("one key head", with([](Traits& t) { t.key_heads = 1; }));
  compare("as many key heads", with([](Traits& t) { t.key_heads = 16; }));
  const auto cut = [](Traits& t) { t.group_heads = 6, t.first_in_group = 3; };
  compare("cut groups", with(cut));
  compare("cut groups and sinks", with([&](Traits& t) { cut(t), t.sinks = true; }));
  compare("cut groups, soft cap, window and sinks", with([&](Traits& t) {
            cut(t), t.softcap = 2, t.window = 6, t.sinks = true;
          }));
  compare("a part of two groups", with([](Traits& t) {
            t.heads = t.key_heads = 2, t.group_heads = 4, t.first_in_group = 3;
          }));
  compare("no positions", with([](Traits& t) { t.ropes = false; }));
  compare("query scale",
          with([](Traits& t) { t.query_scale_beta = 0.3f, t.query_scale_original = 8; }));
}

void compare_ropes(const OpenExecutor& open, double tolerance) {
  const auto with = [](program::Rope rope) {
    Traits traits;
    traits.rope = std::move(rope);
    return traits;
  };
  const auto compare = [&](const std::string& name, const Traits& traits) {
    compare_one(open, name, traits, tolerance);
  };
  compare("traditional", with(make_rope(16, true)));
  compare("partial, traditional, scaled before", with(make_rope(8, true, 1.3f)));
  compare("scaled before", with(make_rope(16, false, 1.3f)));
  program::Rope partial = make_rope(8);
  partial.scale = 0.25f;
  compare("partial", with(partial));
  program::Rope table = make_rope(8, false, 1.2f);
  table.frequencies = {1, 3.5f, 20, 150};
  compare("frequencies", with(table));
  program::Rope dynamic = make_rope(16);
  dynamic.dynamic_factor = 2;
  dynamic.dynamic_from = 10;
  compare("dynamic", with(dynamic));
  dynamic.traditional = true;
  dynamic.width = 8;
  compare("dynamic, partial, traditional", with(dynamic));
}

void compare_storages(const OpenExecutor& open, const Tolerances& tolerances) {
  using load::Format;
  using program::StorageKind;
  Traits traits;
  for (const Format format : {Format::f32, Format::f16, Format::bf16}) {
    traits.matrices = {StorageKind::dense, format};
    compare_one(open, "dense " + std::to_string(static_cast<int>(format)), traits,
                tolerances.dense);
    for (const uint32_t bits : {2u, 3u, 4u, 5u, 6u, 8u}) {
      for (const uint32_t group : {32u, 64u, 128u}) {
        traits.matrices = {StorageKind::affine, format, bits, group};
        compare_one(open, "affine of " + std::to_string(bits) + " bits, " + std::to_string(group),
                    traits, tolerances.dense);
      }
    }
  }
  for (const load::FormatLayout& layout : load::format_layouts) {
    if (layout.values == 1) continue;
    traits.matrices = {StorageKind::block, layout.format};
    compare_one(open, std::string(layout.name), traits, tolerances.blocks);
  }
}

void check_invariances(const OpenExecutor& open) {
  Traits traits;
  check_invariance(open, "dense", traits);
  traits.window = 6, traits.sinks = true, traits.fused = true;
  check_invariance(open, "window", traits);
  traits.softcap = 3;
  check_invariance(open, "soft cap", traits);
  traits.group_heads = 6, traits.first_in_group = 3;
  check_invariance(open, "cut groups", traits);
  Traits quantized;
  quantized.matrices = {program::StorageKind::affine, load::Format::f16, 4, 64};
  check_invariance(open, "affine", quantized);
  quantized.matrices = {program::StorageKind::block, load::Format::q5_k};
  check_invariance(open, "q5_k", quantized);
  quantized.matrices = {program::StorageKind::block, load::Format::mxfp4};
  check_invariance(open, "mxfp4", quantized);
}

void check_decoding(const OpenExecutor& open) {
  const TinyModel model(Traits{});
  const auto executor = open_model(open, model);
  Tokens tokens = make_tokens(9, model.program.vocabulary);
  auto result = step(*executor, {sequence(2, 0, part(tokens, 0, 4), Want::nothing),
                                 sequence(5, 0, tokens, Want::sample)});
  check(result.sequences.at(0).logits.empty() && !result.sequences[0].sampled, "nothing is wanted");
  result = step(*executor, {sequence(2, 4, part(tokens, 4, 5), Want::sample)});
  for (int i = 0; i < 12; ++i) {
    const auto wanted = run_plainly(model.program, model.values, tokens);
    check(result.sequences.at(0).sampled, "a token is drawn");
    check(result.sequences[0].token == largest(wanted.back()), "the largest logit is drawn");
    tokens.push_back(result.sequences[0].token);
    result = step(*executor, {last_sample(2, static_cast<uint32_t>(tokens.size() - 1))});
  }
}

void check_slots(const OpenExecutor& open, const Tolerances& tolerances) {
  const TinyModel model(Traits{});
  const auto executor = open_model(open, model);
  const Tokens prompt = make_tokens(300, model.program.vocabulary);
  const Tokens other = make_tokens(300, model.program.vocabulary, 9);
  step(*executor, {sequence(0, 0, part(prompt, 0, 250), Want::nothing)});
  StepPlan plan;
  plan.copies = {{0, 1, 200}, {1, 2, 100}};
  plan.sequences = {sequence(0, 250, part(prompt, 250, 50), Want::logits),
                    sequence(1, 200, part(other, 200, 100), Want::logits),
                    sequence(2, 100, part(prompt, 100, 200), Want::logits)};
  const auto branched = step(*executor, plan);
  Tokens mixed = part(prompt, 0, 200);
  mixed.insert(mixed.end(), other.begin() + 200, other.end());
  const auto whole = run_plainly(model.program, model.values, prompt);
  const auto wanted = run_plainly(model.program, model.values, mixed);
  check(difference(branched.sequences.at(0).logits, {whole.begin() + 250, whole.end()}) <
            tolerances.long_run,
        "the slot that was copied goes on");
  check(difference(branched.sequences.at(1).logits, {wanted.begin() + 200, wanted.end()}) <
            tolerances.long_run,
        "the copy goes another way");
  check(difference(branched.sequences.at(2).logits, {whole.begin() + 100, whole.end()}) <
            tolerances.long_run,
        "the copy of a copy");
  const auto back = step(*executor, {sequence(1, 100, part(prompt, 100, 200), Want::logits)});
  check(same_bits(back.sequences.at(0).logits, branched.sequences.at(2).logits),
        "a slot that was cut goes on from there");
  const auto before = executor->memory();
  plan = {};
  plan.retired = {0, 1, 2};
  step(*executor, plan);
  const auto after = executor->memory();
  check(before.cache_bytes > 0 && after.cache_bytes == 0, "retired slots hold no memory");
  check(after.active_bytes < before.active_bytes, "the memory is free again");
  const auto fresh = step(*executor, {sequence(1, 0, prompt, Want::logits)});
  check(difference(fresh.sequences.at(0).logits, whole) < tolerances.long_run,
        "a retired slot starts again");
}

void check_refusals(const OpenExecutor& open) {
  const TinyModel model(Traits{});
  program::ExecutorOptions options;
  options.slots = test_slots;
  options.positions = test_positions;
  const load::FileSet files({model.path()});
  auto executor = open(model.program, options);
  StepResult result;
  check(executor->step({}, result).code == "engine_failed", "a step before bind");
  check_throws("parameter_missing", "bind without parameters", [&] { executor->bind(); });
  const auto refuse = [&](const std::string& what, auto change) {
    load::ParameterSource source = model.sources[0];
    change(source);
    check_throws("parameter_mismatch", what, [&] { executor->load(source, files); });
  };
  refuse("another shape", [](auto& source) { source.parts[0].shape[0] += 1; });
  refuse("no dimension", [](auto& source) { source.parts[0].shape.clear(); });
  refuse("another format", [](auto& source) { source.parts[0].format = load::Format::i32; });
  refuse("no parts", [](auto& source) { source.parts.clear(); });
  refuse("scales alone", [](auto& source) { source.parts[0].role = load::Role::scales; });
  refuse("a parameter that is not there", [](auto& source) { source.parameter = 10'000; });
  load::ParameterSource cut = model.sources[0];
  cut.parts[0].pieces[0].row_bytes -= 4;
  check_throws("model_file_broken", "too few bytes", [&] { executor->load(cut, files); });
}

}  // namespace cidery::test
