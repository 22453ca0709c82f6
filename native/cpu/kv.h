#pragma once

#include <cstdint>
#include <vector>

#include "base/slab.h"
#include "cpu/kernels.h"
#include "program/program.h"

namespace cidery::cpu {

/// What the caches of a program need.
struct CacheOptions {
  CacheType type = CacheType::u8;
  uint32_t slots = 1;
  uint32_t positions = 0;          // most of a slot
  uint64_t positions_in_all = 0;   // of all slots together; 0: slots * positions
};

/// Keys and values of every slot, in blocks of 16 positions of all layers. Slots share blocks by
/// reference counts; a block that is shared is copied before it is written.
class BlockCache {
 public:
  /// Maps room for all blocks, which takes memory as it is used. Throws Error `out_of_memory`.
  BlockCache(const std::vector<program::Cache>& caches, const CacheOptions& options);

  void retire(uint32_t slot) noexcept;
  /// `to` becomes the first `positions` positions of `from`.
  void copy(uint32_t from, uint32_t to, uint32_t positions) noexcept;
  /// Forgets what the slot holds from position `first` on and makes room to write `count` positions
  /// there. False when no block is left: the slot is then of no more use.
  bool extend(uint32_t slot, uint32_t first, uint32_t count) noexcept;

  /// The slot's blocks in order of position; they hold until the next call of one of those above.
  uint8_t* const* blocks(uint32_t slot) const noexcept { return slots_[slot].data(); }
  /// Where one key head of a layer's cache lies within a block.
  CacheHead head(uint32_t cache, uint32_t key_head) const noexcept;

  uint64_t used_bytes() const noexcept;

 private:
  struct Layer {
    CacheHead first;        // of key head 0
    size_t head_bytes = 0;  // from one key head to the next
  };

  uint32_t index_of(const uint8_t* block) const noexcept;
  uint8_t* take() noexcept;
  void release(uint8_t* block) noexcept;
  void cut(std::vector<uint8_t*>& blocks, size_t count) noexcept;

  std::vector<Layer> layers_;
  size_t block_bytes_ = 0;
  Slab slab_;
  std::vector<uint32_t> references_;  // of each block
  std::vector<uint32_t> free_;        // the last is the next to be taken
  std::vector<std::vector<uint8_t*>> slots_;
};

}  // namespace cidery::cpu
