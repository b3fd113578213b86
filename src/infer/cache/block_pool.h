#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <vector>

#include "text/tokenizer.h"

namespace gamelan::infer {

/// Names what a full block holds: its tokens and everything before them. Never given twice; 0 is
/// the empty beginning.
using ContentId = std::uint64_t;

/// Who uses which block of the cache of keys and values (paged attention, Kwon et al. 2023). Blocks
/// are counted by their users; a full one can be published under its tokens and those before it,
/// and then stays to be found until its memory is needed, least recently used first. One thread.
class BlockPool {
 public:
  BlockPool(std::int64_t blocks, std::int64_t block_tokens);

  /// A block with one user, whose content is undefined; nullopt when all are in use.
  std::optional<std::int32_t> allocate();
  void retain(std::int32_t block);
  void release(std::int32_t block);
  /// Releases all, the last one first, so that it is also forgotten first; empties `blocks`.
  void release_all(std::vector<std::int32_t>& blocks);

  struct Published {
    ContentId content = 0;
    std::int32_t block = 0;
  };
  /// The block that continues `parent` by exactly `tokens` [block_tokens]. The tokens are compared,
  /// not only their hash, and a parent's id stands for all before. Does not retain.
  std::optional<Published> find(ContentId parent, std::span<const text::TokenId> tokens) const;
  /// Lets `block` be found; when an equal one was published before, returns that one.
  Published publish(std::int32_t block, ContentId parent, std::span<const text::TokenId> tokens);

  std::int32_t users(std::int32_t block) const { return entries_[index(block)].users; }
  std::int64_t block_tokens() const { return block_tokens_; }
  std::int64_t size() const { return static_cast<std::int64_t>(entries_.size()); }
  /// Blocks that allocate() could give, those that can still be found among them.
  std::int64_t free_blocks() const {
    return static_cast<std::int64_t>(unused_.size() + kept_.size());
  }

 private:
  struct Entry {
    std::int32_t users = 0;
    ContentId content = 0;  // 0 = not published
    ContentId parent = 0;
    std::uint64_t hash = 0;
    std::vector<text::TokenId> tokens;
    std::list<std::int32_t>::iterator kept;
  };
  static std::size_t index(std::int32_t block) { return static_cast<std::size_t>(block); }
  void forget(std::int32_t block);

  std::int64_t block_tokens_;
  std::vector<Entry> entries_;
  std::vector<std::int32_t> unused_;
  std::list<std::int32_t> kept_;  // published, without users; least recently used first
  absl::flat_hash_map<std::uint64_t, std::vector<std::int32_t>> by_hash_;
  ContentId last_content_ = 0;
};

}  // namespace gamelan::infer
