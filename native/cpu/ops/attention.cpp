#include "cpu/ops/attention.h"

#include <algorithm>

#include "cpu/ops/divide.h"

namespace cidery::cpu {
namespace {

/// Queries that share the loads of a task's keys and values.
constexpr uint32_t unit_queries = 48;

/// Tells a call what comes after it.
void announce(AttentionArguments& next, AttentionArguments& now) {
  constexpr uint32_t span_blocks = span_positions / lanes;
  const uint32_t first = next.span * span_blocks;
  const uint32_t blocks = (next.first_position + next.tokens + lanes - 1) / lanes;
  now.next_blocks = next.blocks + first;
  now.next_count = std::min(blocks - first, span_blocks);
  now.next_key_offset = next.head.key_offset;
  next.keys_asked = true;
}

/// The most query heads of a rank that share a key head: at either end it may have fewer.
uint32_t most_sharing(const program::Attention& op) {
  return std::min(op.group_heads, op.heads);
}

}  // namespace

AttentionRoom::AttentionRoom(float* partials, size_t floats)
    : partials_(partials), floats_(floats), left_(new std::atomic<uint32_t>[most_units]) {
  units_.reserve(most_units);
}

size_t least_attention_floats(const program::Attention& op, uint32_t positions) {
  const size_t spans = positions / span_positions + 1;
  return most_sharing(op) * spans * partial_floats(op.value_width);
}

/// The first span that a query at `position` sees.
uint32_t AttendRegion::first_span(uint32_t position) const noexcept {
  const uint32_t hidden = op.window > 0 && position >= op.window ? position + 1 - op.window : 0;
  return hidden / span_positions;
}

/// Adds a unit of some tokens and a key head, or returns false where the room is full.
bool AttendRegion::append(const Tools& tools, AttentionUnit unit) const noexcept {
  std::vector<AttentionUnit>& units = room->units();
  const uint32_t before = unit.key_head * op.group_heads;
  unit.first_head = std::max(before, op.first_in_group) - op.first_in_group;
  unit.heads = std::min(before + op.group_heads - op.first_in_group, op.heads) - unit.first_head;
  const uint32_t first = tools.pass.sequences[unit.sequence].first_position + unit.first_token;
  unit.first_span = first_span(first);
  unit.spans = (first + unit.tokens - 1) / span_positions + 1 - unit.first_span;
  const size_t queries = size_t{unit.tokens} * unit.heads;
  if (!units.empty()) {
    const AttentionUnit& last = units.back();
    unit.first_task = last.first_task + last.spans;
    unit.partials = last.partials + size_t{last.spans} * last.tokens * last.heads *
                                        partial_floats(op.value_width);
  }
  const size_t end = unit.partials + unit.spans * queries * partial_floats(op.value_width);
  if (end > room->floats() || units.size() == AttentionRoom::most_units) return false;
  room->left()[units.size()].store(unit.spans, std::memory_order_relaxed);
  units.push_back(unit);
  return true;
}

void AttendRegion::run(const Tools& tools) const noexcept {
  room->units().clear();
  const uint32_t sharing = most_sharing(op);
  const size_t one_span = size_t{sharing} * partial_floats(op.value_width);
  for (uint32_t i = 0; i < tools.pass.sequences.size(); ++i) {
    const SequenceRows& sequence = tools.pass.sequences[i];
    const uint32_t end = sequence.first_position + sequence.count;
    const size_t spans = end / span_positions + 1 - first_span(sequence.first_position);
    const size_t fitting = std::max<size_t>(room->floats() / (one_span * spans), 1);
    const auto together =
        static_cast<uint32_t>(std::min<size_t>(std::max(unit_queries / sharing, 1u), fitting));
    for (uint32_t token = 0; token < sequence.count; token += together) {
      const uint32_t tokens = std::min(together, sequence.count - token);
      for (uint32_t head = 0; head < op.key_heads; ++head) {
        const AttentionUnit unit{.sequence = i, .first_token = token, .tokens = tokens,
                                 .key_head = head};
        if (append(tools, unit)) continue;
        flush(tools);
        append(tools, unit);
      }
    }
  }
  flush(tools);
}

/// Runs the units that have gathered.
void AttendRegion::flush(const Tools& tools) const noexcept {
  std::vector<AttentionUnit>& units = room->units();
  if (units.empty()) return;
  const uint32_t tasks = units.back().first_task + units.back().spans;
  uint64_t products = 0;
  for (const AttentionUnit& unit : units) {
    products += uint64_t{unit.spans} * unit.tokens * unit.heads;
  }
  products = products * span_positions / 2 * (op.head_width + op.value_width);
  const Division division = divide(tasks, products / tasks / 10, tools.pool.threads());
  tools.pool.parallel_for(division.tasks, [&](uint32_t task, uint32_t) noexcept {
    uint32_t at = task * division.together;
    const uint32_t end = std::min(at + division.together, tasks);
    auto unit = std::ranges::upper_bound(units, at, {}, &AttentionUnit::first_task) - 1;
    AttentionArguments now = arguments_of(tools, *unit, at - unit->first_task);
    while (at < end) {
      const auto current = unit;
      AttentionArguments next{};
      if (++at < end) {
        if (at == unit->first_task + unit->spans) ++unit;
        next = arguments_of(tools, *unit, at - unit->first_task);
        announce(next, now);
      }
      tools.kernels.attend(now);
      now = next;
      std::atomic<uint32_t>& left = room->left()[current - units.begin()];
      if (left.fetch_sub(1, std::memory_order_acq_rel) == 1) merge(tools, *current);
    }
  });
  units.clear();
}

AttentionArguments AttendRegion::arguments_of(const Tools& tools, const AttentionUnit& unit,
                                              uint32_t span) const noexcept {
  const SequenceRows& sequence = tools.pass.sequences[unit.sequence];
  AttentionArguments arguments{};
  arguments.head = tools.cache.head(op.cache, unit.key_head);
  arguments.blocks = tools.cache.blocks(sequence.slot);
  arguments.span = unit.first_span + span;
  arguments.queries = queries.row(sequence.first_row + unit.first_token) +
                      size_t{unit.first_head} * op.head_width;
  arguments.token_stride = queries.stride;
  arguments.head_stride = op.head_width;
  arguments.tokens = unit.tokens;
  arguments.heads = unit.heads;
  arguments.first_position = sequence.first_position + unit.first_token;
  arguments.window = op.window;
  arguments.scale = op.scale;
  arguments.softcap = op.softcap;
  arguments.partials = room->partials() + unit.partials +
                       size_t{span} * unit.tokens * unit.heads * partial_floats(op.value_width);
  return arguments;
}

/// Each query takes the spans that it sees, no others.
void AttendRegion::merge(const Tools& tools, const AttentionUnit& unit) const noexcept {
  const SequenceRows& sequence = tools.pass.sequences[unit.sequence];
  const size_t size = partial_floats(op.value_width);
  for (uint32_t token = 0; token < unit.tokens; ++token) {
    const uint32_t position = sequence.first_position + unit.first_token + token;
    const uint32_t first = first_span(position), last = position / span_positions;
    float* row = out.row(sequence.first_row + unit.first_token + token);
    for (uint32_t i = 0; i < unit.heads; ++i) {
      const uint32_t head = unit.first_head + i;
      AttentionMergeArguments arguments{};
      arguments.span_stride = unit.tokens * unit.heads * size;
      arguments.partials = room->partials() + unit.partials +
                           (first - unit.first_span) * arguments.span_stride +
                           (size_t{token} * unit.heads + i) * size;
      arguments.spans = last - first + 1;
      arguments.value_width = op.value_width;
      arguments.sink = sinks == nullptr ? nullptr : sinks + head;
      arguments.out = row + size_t{head} * op.value_width;
      tools.kernels.merge_attention(arguments);
    }
  }
}

}  // namespace cidery::cpu
