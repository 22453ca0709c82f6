#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <thread>

#include "cpu/dispatch.h"
#include "cpu/executor.h"
#include "test/check.h"
#include "test/program_words.h"
#include "test/rank_steps.h"

/// A model over several ranks: the same bits as one rank where that is promised, answers that stay
/// the same where it is not, and faults that end a step.
namespace cidery::test {
namespace {

using program::ExecutorOptions;
using program::PlannedSequence;
using program::Sampler;
using program::StepPlan;
using program::StepResult;
using program::Want;

/// What sums of parts in another order may change, in deviations of the logits: activations are
/// rounded to 8 bits again behind them. Seen up to 0.06.
constexpr double fast_tolerance = 0.25;

OpenExecutor open_with(bool precise, uint32_t threads = 1) {
  const cpu::Kernels& kernels = cpu::choose_kernels("");
  return [=, &kernels](program::Program program, ExecutorOptions options) {
    options.precise = precise;
    options.threads = threads;
    return std::make_unique<cpu::CpuExecutor>(std::move(program), options, kernels);
  };
}

/// Settings of every kind, the first of them greedy.
std::vector<Sampler> samplers(uint32_t vocabulary) {
  std::vector<Sampler> all(6);
  all[1].temperature = 0.8f, all[1].top_p = 0.9f, all[1].seed = 7;
  all[2].repetition = 1.3f, all[2].presence = 0.5f, all[2].prompt_length = 3;
  all[3].logprobs = 4;
  all[4].biases = {{vocabulary - 1, 20}};
  all[5].mask.assign((vocabulary + 31) / 32, 0xf0f0f0f0u);
  all[5].temperature = 1;
  return all;
}

/// Sequences that live side by side: prompts in chunks, some longer than a pass, then tokens one
/// at a time; a prefix that is copied, sequences that end and begin again. Runs on `executor` and
/// keeps what it did.
class Script {
 public:
  Script(program::Executor& executor, uint32_t vocabulary)
      : executor_(executor), vocabulary_(vocabulary), samplers_(samplers(vocabulary)) {}

  std::vector<StepPlan> plans;
  std::vector<StepResult> results;

  void run() {
    for (uint32_t slot = 0; slot < 6; ++slot) {
      extend(slot, slot == 4 ? 700 : 1 + random_() % 40);
    }
    wants_[4] = Want::logits;
    flush();
    for (int i = 0; i < 4; ++i) {
      for (uint32_t slot = 0; slot < 6; ++slot) decode(slot);
      extend(6, 5 + i);
      wants_[6] = i % 2 == 0 ? Want::nothing : Want::logits;
      flush();
    }
    extend(7, 30);
    wants_[7] = Want::nothing;
    flush();
    // Nobody is there.
    plan_.retired = {1};
    flush();
    plan_.retired = {2};
    plan_.copies = {{7, 1, 20}};
    held_[1] = 20;
    held_[2] = 0;
    extend(1, 9);
    extend(2, 600);
    wants_[1] = Want::logits;
    flush();
    for (uint32_t slot = 0; slot < 8; ++slot) decode(slot);
    flush();
  }

 private:
  void append(uint32_t slot, Tokens tokens) {
    PlannedSequence next = sequence(slot, held_[slot], std::move(tokens), Want::sample);
    held_[slot] += next.count;
    plan_.sequences.push_back(std::move(next));
    wants_[slot] = Want::sample;
  }
  void extend(uint32_t slot, uint32_t count) {
    append(slot, make_tokens(count, vocabulary_, random_()));
  }
  void decode(uint32_t slot) { append(slot, {next_[slot]}); }

  void flush() {
    for (PlannedSequence& sequence : plan_.sequences) {
      sequence.want = wants_[sequence.slot];
      if (sequence.want == Want::nothing) sequence.logit_rows = 0;
      if (sequence.want == Want::logits) sequence.logit_rows = std::min(sequence.count, 570u);
      sequence.sampler = samplers_[sequence.slot % samplers_.size()];
    }
    plan_.number = static_cast<uint32_t>(plans.size());
    plans.push_back(plan_);
    results.push_back(step(executor_, plan_));
    for (const auto& entry : results.back().sequences) {
      next_[entry.slot] = entry.sampled ? entry.token : entry.slot;
    }
    plan_ = {};
  }

  program::Executor& executor_;
  const uint32_t vocabulary_;
  const std::vector<Sampler> samplers_;
  std::mt19937 random_{5};
  StepPlan plan_;
  uint32_t held_[test_slots] = {}, next_[test_slots] = {};
  Want wants_[test_slots] = {};
};

void check_same(const std::string& name, const RankRun& run, const Script& one) {
  for (size_t rank = 0; rank < run.ends.size(); ++rank) {
    check(run.ends[rank].ok(), name + ": rank " + std::to_string(rank) + " fails: " +
                                   run.ends[rank].code + " " + run.ends[rank].message);
  }
  check(run.results.size() == one.results.size(), name + ": every step has a result");
  for (size_t i = 0; i < std::min(run.results.size(), one.results.size()); ++i) {
    check(same_results(run.results[i], one.results[i]),
          name + ": bits of step " + std::to_string(i));
  }
}

struct Model {
  std::string name;
  Traits traits;
};

/// Heads, widths and vocabularies that do not divide by the ranks.
std::vector<Model> models() {
  std::vector<Model> all;
  Traits traits;
  traits.layers = 5;
  all.push_back({"dense", traits});
  traits.hidden = 100, traits.inner = 90, traits.vocabulary = 97, traits.heads = 6;
  traits.key_heads = 2, traits.head_width = 20, traits.value_width = 24, traits.biases = true;
  traits.head_norm_kind = 1, traits.sinks = true, traits.window = 37, traits.logit_softcap = 5;
  all.push_back({"odd widths", traits});
  Traits pairs;
  pairs.layers = 4, pairs.key_heads = 2, pairs.norm_kind = 1, pairs.biases = true;
  pairs.matrices = {program::StorageKind::affine, load::Format::f16, 4, 32};
  pairs.embed_scale = 3, pairs.residual_scale = 0.5f;
  all.push_back({"two key heads, affine", pairs});
  Traits blocks;
  blocks.layers = 4, blocks.matrices = {program::StorageKind::block, load::Format::q8_0};
  all.push_back({"q8_0", blocks});
  return all;
}

/// What a check of the program finds wrong; the sources go beside it.
void check_valid(const std::string& name, const RankModel& part) {
  try {
    program::decode_program(encode_program(part.program));
  } catch (const Error& error) {
    check(false, name + " is no valid program: " + error.what());
  }
}

Split columns(const TinyModel& model, uint32_t ranks, bool precise) {
  return [&model, ranks, precise](uint32_t rank) {
    return split_by_columns(model, rank, ranks, precise);
  };
}
Split layers(const TinyModel& model, uint32_t ranks) {
  return [&model, ranks](uint32_t rank) { return split_by_layers(model, rank, ranks); };
}

void check_near(const std::string& name, const RankRun& run, const Script& one) {
  for (size_t i = 0; i < std::min(run.results.size(), one.results.size()); ++i) {
    for (size_t s = 0; s < one.results[i].sequences.size(); ++s) {
      const Logits& wanted = one.results[i].sequences[s].logits;
      if (wanted.empty()) continue;
      const double off = difference(run.results[i].sequences.at(s).logits,
                                    {std::vector<double>(wanted.begin(), wanted.end())});
      check(off < fast_tolerance, name + ": step " + std::to_string(i) + " is off by " +
                                      std::to_string(off));
    }
  }
}

void check_splits() {
  for (const auto& [name, traits] : models()) {
    const TinyModel model(traits);
    for (const bool precise : {true, false}) {
      const auto alone = open_model(open_with(precise), model);
      Script one(*alone, traits.vocabulary);
      one.run();
      for (uint32_t ranks = 2; ranks <= 4; ++ranks) {
        const std::string mode = name + (precise ? ", precise, " : ", fast, ") +
                                 std::to_string(ranks) + " ranks";
        for (uint32_t rank = 0; rank < ranks; ++rank) {
          check_valid(mode + ", columns", split_by_columns(model, rank, ranks, precise));
          check_valid(mode + ", layers", split_by_layers(model, rank, ranks));
        }
        check_same(mode + ", layers",
                   run_ranks(open_with(precise), model, ranks, layers(model, ranks), one.plans),
                   one);
        const Split split = columns(model, ranks, precise);
        const RankRun run = run_ranks(open_with(precise), model, ranks, split, one.plans);
        if (precise) {
          check_same(mode + ", columns", run, one);
          continue;
        }
        check_near(mode + ", columns", run, one);
        Script again = one;
        again.results = run.results;
        check_same(mode + ", columns, again",
                   run_ranks(open_with(precise, 2), model, ranks, split, one.plans), again);
      }
    }
  }
}

/// What comes of a token over several ranks depends neither on the step nor on what is beside it.
void check_chunks() {
  Traits traits;
  traits.layers = 2, traits.matrices = {program::StorageKind::affine, load::Format::f16, 4, 32};
  const TinyModel model(traits);
  const Tokens tokens = make_tokens(600, traits.vocabulary);
  const auto logits_of = [&](const std::vector<uint32_t>& chunks, uint32_t ranks) {
    std::vector<StepPlan> plans;
    uint32_t first = 0;
    for (const uint32_t count : chunks) {
      StepPlan& plan = plans.emplace_back();
      plan.number = static_cast<uint32_t>(plans.size() - 1);
      const auto from = tokens.begin() + first;
      plan.sequences.push_back(sequence(0, first, Tokens(from, from + count), Want::logits));
      plan.sequences[0].logit_rows = count;
      first += count;
    }
    const RankRun run =
        run_ranks(open_with(false), model, ranks, columns(model, ranks, false), plans);
    Logits all;
    for (const StepResult& result : run.results) {
      const Logits& some = result.sequences.at(0).logits;
      all.insert(all.end(), some.begin(), some.end());
    }
    check(all.size() == size_t{600} * traits.vocabulary, "every token has logits");
    return all;
  };
  std::vector<uint32_t> chunks(40, 1);
  chunks.insert(chunks.end(), {13, 447, 100});
  for (const uint32_t ranks : {2u, 3u}) {
    check(same_bits(logits_of({600}, ranks), logits_of(chunks, ranks)),
          "fast, " + std::to_string(ranks) + " ranks: the same bits in other steps");
  }
}

/// Prompts of four sequences, then five tokens each: for models whose draws are known.
std::vector<StepPlan> short_plans(uint32_t vocabulary) {
  std::vector<StepPlan> plans(6);
  for (uint32_t i = 0; i < plans.size(); ++i) {
    plans[i].number = i;
    for (uint32_t slot = 0; slot < 4; ++slot) {
      const uint32_t first = i == 0 ? 0 : 9 + i;
      plans[i].sequences.push_back(sequence(
          slot, first, make_tokens(i == 0 ? 10 : 1, vocabulary, slot * 10 + i), Want::sample));
    }
    plans[i].sequences[1].sampler.temperature = 1;
  }
  return plans;
}

/// All logits are 0 of either sign: the lowest token is drawn, not the one of the fastest rank.
void check_ties() {
  Traits traits;
  traits.logit_scale = 0;
  const TinyModel model(traits);
  const auto plans = short_plans(traits.vocabulary);
  const RankRun run = run_ranks(open_with(true), model, 3, columns(model, 3, true), plans);
  check(run.results.size() == plans.size(), "ties: every step has a result");
  for (const StepResult& result : run.results) {
    for (const uint32_t i : {0u, 2u, 3u}) {
      check(result.sequences.at(i).sampled && result.sequences[i].token == 0,
            "ties go to the lowest token");
    }
  }
}

/// Activations and logits that are no numbers are reported, whoever has them.
void check_no_numbers() {
  Traits traits;
  const TinyModel model(traits);
  // No token of the last rank's part: its activations are as the others'.
  const auto plans = short_plans(64);
  const auto broken = [&](bool of_last_rank) {
    return [&model, of_last_rank](uint32_t rank) {
      RankModel part = split_by_columns(model, rank, 3, true);
      for (load::ParameterSource& source : part.sources) {
        const std::string& path = part.program.parameters[source.parameter].path;
        // Its part of the embedding is its part of the head.
        if (of_last_rank ? rank == 2 && path == "embed.weight" : path == "norm.weight") {
          source.parts[0].transforms.add = std::numeric_limits<float>::quiet_NaN();
        }
      }
      return part;
    };
  };
  for (const bool of_last_rank : {false, true}) {
    const RankRun run = run_ranks(open_with(true), model, 3, broken(of_last_rank), plans);
    check(run.ends[0].ok() && run.results.size() == plans.size(),
          "no numbers: every step has a result, not " + run.ends[0].code);
    for (const StepResult& result : run.results) {
      for (const auto& entry : result.sequences) {
        check(!entry.finite && !entry.sampled, "what is no number is not drawn from");
      }
    }
  }
}

/// A rank whose norm is another computes other activations: no answer comes of it.
void check_disagreement() {
  const TinyModel model(Traits{});
  const auto plans = short_plans(96);
  for (const uint32_t rank : {0u, 1u, 2u}) {
    RankFault fault;
    fault.rank = rank;
    fault.change = [](RankModel& part, ExecutorOptions&) {
      for (load::ParameterSource& source : part.sources) {
        const std::string& path = part.program.parameters[source.parameter].path;
        if (path == "norm.weight") source.parts[0].transforms.add = 1e-3f;
      }
    };
    const RankRun run =
        run_ranks(open_with(true), model, 3, columns(model, 3, true), plans, fault);
    const std::string name = "another norm on rank " + std::to_string(rank);
    check(run.ends[0].code == "rank_disagrees", name + " is noticed: " + run.ends[0].code);
    check(run.results.empty(), name + " gives no result");
    const std::string guilty = "rank " + std::to_string(rank == 0 ? 1 : rank);
    check(run.ends[0].message.starts_with(guilty), name + ": " + run.ends[0].message);
    for (const uint32_t other : {1u, 2u}) {
      check(run.ends[other].ok() || run.ends[other].code == "group_peer_lost",
            name + ": how the others end, " + run.ends[other].code);
    }
  }
}

/// Ranks that were not made for each other notice it before the first step.
void check_settings() {
  const TinyModel model(Traits{});
  const auto refuse = [&](const std::string& what, auto change) {
    RankFault fault;
    fault.rank = 1;
    fault.change = change;
    const RankRun run =
        run_ranks(open_with(true), model, 3, columns(model, 3, true), short_plans(96), fault);
    for (const Status& end : run.ends) {
      check(end.code == "rank_disagrees", what + ": " + end.code + " " + end.message);
    }
  };
  refuse("other slots", [](auto&, ExecutorOptions& options) { options.slots = 3; });
  refuse("other positions", [](auto&, ExecutorOptions& options) { options.positions = 1024; });
  refuse("another vocabulary", [](RankModel& part, auto&) { part.program.vocabulary = 95; });
  refuse("another part of the head", [](RankModel& part, auto&) {
    std::get<program::Head>(part.program.operations.back()).first = 31;
  });
}

/// A rank that leaves ends the step of every other one that needs something from it.
void check_leaving() {
  Traits traits;
  traits.layers = 4;
  const TinyModel model(traits);
  for (const bool by_layers : {false, true}) {
    const Split split = by_layers ? layers(model, 3) : columns(model, 3, true);
    for (const uint32_t rank : {0u, 1u, 2u}) {
      RankFault fault;
      fault.rank = rank;
      fault.leaves_before_step = 3;
      const RankRun run =
          run_ranks(open_with(true), model, 3, split, short_plans(96), fault);
      const std::string name = std::string(by_layers ? "layers" : "columns") + ", rank " +
                               std::to_string(rank) + " leaves: ";
      for (uint32_t other = 0; other < 3; ++other) {
        const bool needs = by_layers ? other == (rank + 1) % 3 : other != rank;
        const bool may_be_done = by_layers && !needs;
        const std::string& code = run.ends[other].code;
        check(code == (other == rank ? "" : "group_peer_lost") || (may_be_done && code.empty()),
              name + std::to_string(other) + " ends with '" + code + "'");
      }
      check(run.results.size() <= 3, name + "what came before stays");
    }
  }
}

/// One of two ranks in this thread: what may be called when.
void check_states() {
  const TinyModel model(Traits{});
  const load::FileSet files({model.path()});
  const RankModel part = split_by_layers(model, 0, 2);
  const ExecutorOptions options{.slots = test_slots, .positions = test_positions};
  const auto loaded = [&](const RankModel& of) {
    auto executor = open_with(true)(of.program, options);
    for (const auto& source : of.sources) executor->load(source, files);
    return executor;
  };
  auto groups = group::open_local(2);
  const auto lonely = loaded(part);
  check_throws("engine_state", "bind without a group", [&] { lonely->bind(); });
  check_throws("engine_state", "another rank's group", [&] { lonely->join(std::move(groups[1])); });
  check_throws("engine_state", "a group for one rank", [&] {
    open_with(true)(model.program, options)->join(std::move(group::open_local(1)[0]));
  });
  auto pair = group::open_local(2);
  const auto leader = loaded(part), follower = loaded(split_by_layers(model, 1, 2));
  leader->join(std::move(pair[0]));
  follower->join(std::move(pair[1]));
  check_throws("engine_state", "a second group",
               [&] { leader->join(std::move(group::open_local(2)[0])); });
  std::thread other([&] { follower->bind(); });
  leader->bind();
  other.join();
  check(leader->depth() == 2 && follower->depth() == 1, "steps under way");
  StepResult result;
  check(leader->finish(result).code == "engine_state", "no step was begun");
  StepPlan plan;
  plan.sequences = {sequence(0, 0, {1, 2}, Want::sample)};
  check(leader->begin(plan).ok(), "a step begins");
  plan.sequences = {sequence(1, 0, {1, 2}, Want::nothing)};
  check(leader->begin(plan).ok(), "a second step begins");
  check(leader->begin(plan).code == "engine_state", "no third step");
  check(leader->step(plan, result).code == "engine_state", "no step besides");
  plan.sequences = {last_sample(0, 2)};
  check(leader->begin(plan).code == "plan_invalid", "a token that only one rank knows");
}

}  // namespace
}  // namespace cidery::test

int main() {
  using namespace cidery::test;
  check_splits();
  check_chunks();
  check_ties();
  check_no_numbers();
  check_disagreement();
  check_settings();
  check_leaving();
  check_states();
  return summary("cpu group");
}
