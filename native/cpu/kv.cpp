#include "cpu/kv.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

namespace cidery::cpu {
namespace {

constexpr uint32_t block_positions = lanes;

constexpr uint64_t blocks_of(uint64_t positions) {
  return (positions + block_positions - 1) / block_positions;
}

}  // namespace

BlockCache::BlockCache(const std::vector<program::Cache>& caches, const CacheOptions& options) {
  for (const program::Cache& cache : caches) {
    Layer& layer = layers_.emplace_back();
    const size_t keys = key_block_bytes(options.type, cache.head_width);
    layer.first = {options.type, block_bytes_, block_bytes_ + keys, cache.head_width,
                   cache.value_width};
    layer.head_bytes = keys + value_block_bytes(options.type, cache.value_width);
    block_bytes_ += layer.head_bytes * cache.key_heads;
  }
  const uint64_t in_slots = uint64_t{options.slots} * blocks_of(options.positions);
  // The scheduler may go beyond its budget by a context while a prefix's source stays for its copy.
  const uint64_t in_all =
      blocks_of(options.positions_in_all) + blocks_of(options.positions) + options.slots;
  const uint64_t wanted = options.positions_in_all == 0 ? in_slots : std::min(in_slots, in_all);
  if (wanted > 0xffffffffu) throw Error("out_of_memory", "the cache has too many blocks");
  slab_ = Slab(wanted * std::max<size_t>(block_bytes_, 1));
  references_.assign(wanted, 0);
  free_.reserve(wanted);
  for (uint64_t i = wanted; i > 0; --i) free_.push_back(static_cast<uint32_t>(i - 1));
  slots_.resize(options.slots);
  for (auto& blocks : slots_) blocks.reserve(blocks_of(options.positions));
}

CacheHead BlockCache::head(uint32_t cache, uint32_t key_head) const noexcept {
  const Layer& layer = layers_[cache];
  CacheHead head = layer.first;
  head.key_offset += key_head * layer.head_bytes;
  head.value_offset += key_head * layer.head_bytes;
  return head;
}

uint64_t BlockCache::used_bytes() const noexcept {
  return (references_.size() - free_.size()) * block_bytes_;
}

uint32_t BlockCache::index_of(const uint8_t* block) const noexcept {
  const auto offset = static_cast<size_t>(block - reinterpret_cast<uint8_t*>(slab_.data()));
  return static_cast<uint32_t>(offset / std::max<size_t>(block_bytes_, 1));
}

/// A block with one reference, or null.
uint8_t* BlockCache::take() noexcept {
  if (free_.empty()) return nullptr;
  const uint32_t index = free_.back();
  free_.pop_back();
  references_[index] = 1;
  return reinterpret_cast<uint8_t*>(slab_.data()) + index * std::max<size_t>(block_bytes_, 1);
}

void BlockCache::release(uint8_t* block) noexcept {
  const uint32_t index = index_of(block);
  if (--references_[index] == 0) free_.push_back(index);
}

/// Leaves the first `count` blocks.
void BlockCache::cut(std::vector<uint8_t*>& blocks, size_t count) noexcept {
  while (blocks.size() > count) {
    release(blocks.back());
    blocks.pop_back();
  }
}

void BlockCache::retire(uint32_t slot) noexcept { cut(slots_[slot], 0); }

void BlockCache::copy(uint32_t from, uint32_t to, uint32_t positions) noexcept {
  if (from != to) {
    cut(slots_[to], 0);
    for (uint8_t* block : slots_[from]) {
      if (slots_[to].size() == blocks_of(positions)) break;
      ++references_[index_of(block)];
      slots_[to].push_back(block);
    }
  }
  cut(slots_[to], blocks_of(positions));
}

bool BlockCache::extend(uint32_t slot, uint32_t first, uint32_t count) noexcept {
  std::vector<uint8_t*>& blocks = slots_[slot];
  cut(blocks, blocks_of(first));
  const bool partial = first % block_positions != 0;
  if (partial && references_[index_of(blocks.back())] > 1) {
    uint8_t* own = take();
    if (own == nullptr) return false;
    std::memcpy(own, blocks.back(), block_bytes_);
    release(blocks.back());
    blocks.back() = own;
  }
  while (blocks.size() < blocks_of(uint64_t{first} + count)) {
    uint8_t* block = take();
    if (block == nullptr) return false;
    blocks.push_back(block);
  }
  return true;
}

}  // namespace cidery::cpu
