#include <fstream>
#include <string>
#include <thread>

#include <unistd.h>

#include "test/check.h"
#include "test/executor_checks.h"

/// The MLX executor: what every executor has to do, and its memory, devices and threads.
namespace cidery::test {
namespace {

using program::StepPlan;
using program::Want;

std::unique_ptr<program::Executor> open_mlx(const TinyModel& model) {
  return open_model(program::open_mlx_executor, model);
}

[[maybe_unused]] uint64_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  uint64_t total = 0, resident = 0;
  file >> total >> resident;
  return resident * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

/// 2,000 steps of sequences that come and go leave arrays and memory where they were.
void check_memory() {
  Traits traits;
  traits.window = 64;
  const TinyModel model(traits);
  const auto executor = open_mlx(model);
  const Tokens prompt = make_tokens(40, traits.vocabulary);
  const auto churn = [&](uint32_t steps) {
    std::vector<uint32_t> held(test_slots, 0);
    for (uint32_t i = 0; i < steps; ++i) {
      StepPlan plan;
      for (uint32_t slot = 0; slot < 4; ++slot) {
        if (held[slot] > 0 && (i + slot * 37) % 150 == 0) {
          plan.retired.push_back(slot);
          held[slot] = 0;
        }
      }
      if (held[0] > 0 && i % 50 == 7) plan.copies.push_back({0, 5, held[0]});
      for (uint32_t slot = 0; slot < 4; ++slot) {
        plan.sequences.push_back(held[slot] == 0 ? sequence(slot, 0, prompt, Want::sample)
                                                 : last_sample(slot, held[slot]));
        held[slot] += plan.sequences.back().count;
      }
      step(*executor, plan);
    }
    StepPlan plan;
    for (uint32_t slot = 0; slot < test_slots; ++slot) plan.retired.push_back(slot);
    step(*executor, plan);
  };
  churn(300);
  const auto before = executor->memory();
  [[maybe_unused]] const uint64_t resident = resident_bytes();
  churn(2000);
  const auto after = executor->memory();
  check(before.live_arrays == after.live_arrays, "live arrays stay");
  check(before.active_bytes == after.active_bytes, "MLX's memory stays");
#if defined(__SANITIZE_ADDRESS__)
  std::printf("resident memory is not compared: the address sanitizer keeps what is freed\n");
#else
  const uint64_t grown = resident_bytes() > resident ? resident_bytes() - resident : 0;
  check(grown < (2u << 20), "resident memory grew by " + std::to_string(grown));
#endif
}

void check_devices() {
  const TinyModel model(Traits{});
  if (std::ifstream("/dev/nvidia0").good()) {
    std::printf("a missing GPU is not tried: there is one\n");
    return;
  }
  program::ExecutorOptions options;
  options.gpu = true;
  check_throws("device_unavailable", "no GPU",
               [&] { program::open_mlx_executor(model.program, options); });
}

/// Streams belong to threads in MLX: engines come and go on threads of their own.
void check_threads() {
  const TinyModel model(Traits{});
  const Tokens prompt = make_tokens(20, model.program.vocabulary);
  std::vector<Logits> results(3);
  for (int round = 0; round < 2; ++round) {
    std::vector<std::thread> threads;
    for (Logits& logits : results) {
      threads.emplace_back([&] {
        const auto executor = open_mlx(model);
        logits = run_chunks(*executor, 0, prompt, {13, 7});
      });
    }
    for (std::thread& thread : threads) thread.join();
    check(same_bits(results[0], results[1]) && same_bits(results[0], results[2]),
          "threads agree");
  }
}

}  // namespace
}  // namespace cidery::test

int main() {
  using namespace cidery::test;
  const OpenExecutor open = cidery::program::open_mlx_executor;
  compare_architectures(open, Tolerances{}.dense);
  compare_ropes(open, Tolerances{}.dense);
  compare_storages(open, {});
  check_invariances(open);
  check_decoding(open);
  check_slots(open, {});
  check_refusals(open);
  check_devices();
  check_threads();
  check_memory();
  return summary("mlx");
}
