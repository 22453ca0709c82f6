// What attention over bytes asks memory for ahead of its use. Blocks lie apart, so the processor
// does not guess where the next one is; and arithmetic takes about as long as reading, so that
// none of it may run with nothing under way. While scores are computed the values are asked for,
// from then on the keys of what comes next.

/// Blocks that keys are asked for ahead where no call before has done it.
inline constexpr uint32_t blocks_ahead = 8;

/// Asks for every `parts`-th line of 64 bytes, from line `part` on.
ALWAYS_INLINE void ask_lines(const uint8_t* from, size_t bytes, uint32_t part, uint32_t parts) {
  // Into the second cache: the first does not hold what a span has.
  for (size_t at = size_t{64} * part; at < bytes; at += size_t{64} * parts) {
    __builtin_prefetch(from + at, 0, 2);
  }
}

struct Reading {
  const AttentionArguments& arguments;
  bool needed;  // the first tile of a call asks for all of them

  /// Keys of a group of channels; `block` is below `end`.
  ALWAYS_INLINE void ask_keys(uint32_t block, uint32_t end, size_t offset, size_t bytes) const {
    if (!needed || arguments.keys_asked || block + blocks_ahead >= end) return;
    ask_lines(arguments.blocks[block + blocks_ahead] + offset, bytes, 0, 1);
  }
  ALWAYS_INLINE void ask_values(uint32_t block, uint32_t part, uint32_t parts) const {
    if (!needed) return;
    const CacheHead& head = arguments.head;
    ask_lines(arguments.blocks[block] + head.value_offset,
              value_block_bytes(CacheType::u8, head.value_width), part, parts);
  }
  /// Of the next span's keys those of its block `block`, in three parts.
  ALWAYS_INLINE void ask_next(uint32_t block, uint32_t part) const {
    if (!needed || block >= arguments.next_count) return;
    ask_lines(arguments.next_blocks[block] + arguments.next_key_offset,
              key_block_bytes(CacheType::u8, arguments.head.key_width), part, 3);
  }
};
