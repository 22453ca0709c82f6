#include "mlx/slots.h"

#include <unordered_set>

namespace cidery::mlx {
namespace {

/// Capacity grows by this many positions, so that a copy is made once in as many steps.
constexpr uint32_t growth_positions = 256;

mx::array append_zeros(const mx::array& array, int positions) {
  mx::Shape shape = array.shape();
  shape[2] = positions;
  return mx::concatenate({array, mx::zeros(shape, array.dtype())}, 2);
}

/// `array` with positions [first, first + n) replaced by `fresh`. Takes its array by value, for MLX
/// writes in place only where nobody else holds it.
mx::array write(mx::array array, const mx::array& fresh, int first) {
  mx::Shape stop = array.shape();
  stop[2] = first + fresh.shape(2);
  return mx::slice_update(array, mx::astype(fresh, array.dtype()), {0, 0, first, 0}, stop);
}

mx::array positions(const mx::array& array, int from, int to) {
  mx::Shape stop = array.shape();
  stop[2] = to;
  return mx::slice(array, {0, 0, from, 0}, stop);
}

}  // namespace

Slots::Slots(const std::vector<program::Cache>& caches, uint32_t slots, mx::Dtype dtype)
    : caches_(caches), dtype_(dtype), slots_(slots, Slot(caches.size())) {}

void Slots::retire(uint32_t slot) { slots_[slot].assign(caches_.size(), std::nullopt); }

void Slots::copy(uint32_t from, uint32_t to) {
  if (from != to) slots_[to] = slots_[from];
}

KeyValue Slots::grown(const std::optional<KeyValue>& held, const program::Cache& cache,
                      uint32_t positions) const {
  const auto capacity =
      static_cast<int>((positions + growth_positions - 1) / growth_positions * growth_positions);
  if (held) {
    const int more = capacity - held->keys.shape(2);
    return {append_zeros(held->keys, more), append_zeros(held->values, more)};
  }
  const auto heads = static_cast<int>(cache.key_heads);
  return {mx::zeros({1, heads, capacity, static_cast<int>(cache.head_width)}, dtype_),
          mx::zeros({1, heads, capacity, static_cast<int>(cache.value_width)}, dtype_)};
}

KeyValue Slots::update(uint32_t slot, uint32_t cache, uint32_t first, const KeyValue& fresh,
                       uint32_t from) {
  std::optional<KeyValue>& held = slots_[slot][cache];
  const auto start = static_cast<int>(first);
  const int end = start + fresh.keys.shape(2);
  if (!held || held->keys.shape(2) < end) {
    held = grown(held, caches_[cache], static_cast<uint32_t>(end));
  }
  held->keys = write(std::move(held->keys), fresh.keys, start);
  held->values = write(std::move(held->values), fresh.values, start);
  const auto lower = static_cast<int>(from);
  return {positions(held->keys, lower, end), positions(held->values, lower, end)};
}

void Slots::append_arrays(uint32_t slot, std::vector<mx::array>& arrays) const {
  for (const auto& cache : slots_[slot]) {
    if (!cache) continue;
    arrays.push_back(cache->keys);
    arrays.push_back(cache->values);
  }
}

uint64_t Slots::size_bytes() const {
  std::unordered_set<const void*> seen;
  uint64_t size = 0;
  const auto count = [&](const mx::array& array) {
    if (seen.insert(array.data_shared_ptr().get()).second) size += array.nbytes();
  };
  for (const Slot& slot : slots_) {
    for (const auto& cache : slot) {
      if (!cache) continue;
      count(cache->keys);
      count(cache->values);
    }
  }
  return size;
}

uint32_t Slots::array_count() const noexcept {
  uint32_t count = 0;
  for (const Slot& slot : slots_) {
    for (const auto& cache : slot) count += cache ? 2 : 0;
  }
  return count;
}

}  // namespace cidery::mlx
