#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "text/tokenizer.h"

namespace gamelan::text {

/// The merges of a byte-pair encoding over token ids (Sennrich et al. 2016): of all adjacent pairs
/// that a merge names, the one of the lowest rank, of equal ones the leftmost, becomes one symbol,
/// until no pair is named. Immutable; thread-safe.
class BpeModel {
 public:
  struct Merge {
    TokenId left = 0;
    TokenId right = 0;
    TokenId result = 0;
  };

  /// merges[rank]; of two with the same pair the later one counts, as in the reference. Ids are at
  /// least 0. kInvalidArgument when there are over 2^28 of them.
  static base::StatusOr<BpeModel> create(std::span<const Merge> merges);

  BpeModel() : BpeModel(1) {}

  /// Merges `symbols` in place. O(n log n) for n symbols.
  void apply(std::vector<TokenId>& symbols) const;

  /// A merge as found in the table; rank kNoRank: the pair has none.
  struct Found {
    std::uint32_t rank = kNoRank;
    TokenId result = -1;
  };
  static constexpr std::uint32_t kNoRank = 0xFFFFFFFF;
  Found find(TokenId left, TokenId right) const {
    const std::uint64_t key = key_of(left, right);
    for (std::size_t i = hash(key) & mask_;; i = (i + 1) & mask_) {
      const Slot& slot = slots_[i];
      if (slot.key == key) {
        return {slot.rank, slot.result};
      }
      if (slot.key == kFree) {
        return {};
      }
    }
  }

 private:
  struct Slot {
    std::uint64_t key = kFree;
    std::uint32_t rank = kNoRank;
    TokenId result = -1;
  };
  static constexpr std::uint64_t kFree = ~std::uint64_t{0};

  explicit BpeModel(std::size_t slots) : slots_(slots), mask_(slots - 1) {}
  static std::uint64_t key_of(TokenId left, TokenId right) {
    return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32) |
           static_cast<std::uint32_t>(right);
  }
  /// Fibonacci hashing: the high bits of a product with 2^64 over the golden ratio.
  static std::size_t hash(std::uint64_t key) {
    return static_cast<std::size_t>(((key ^ (key >> 29)) * 0x9E3779B97F4A7C15U) >> 32);
  }
  void apply_short(std::vector<TokenId>& symbols) const;
  void apply_long(std::vector<TokenId>& symbols) const;

  std::vector<Slot> slots_;  // open addressing, at most half full
  std::size_t mask_;
};

}  // namespace gamelan::text
