#include "infer/cache/block_pool.h"

#include <algorithm>

#include "base/status.h"

namespace gamelan::infer {
namespace {

std::uint64_t mix(std::uint64_t value) {  // splitmix64's finaliser
  value ^= value >> 30;
  value *= 0xbf58476d1ce4e5b9U;
  value ^= value >> 27;
  value *= 0x94d049bb133111ebU;
  return value ^ (value >> 31);
}

std::uint64_t hash_of(ContentId parent, std::span<const text::TokenId> tokens) {
  std::uint64_t hash = mix(parent + 0x9e3779b97f4a7c15U);
  for (const text::TokenId token : tokens) {
    hash = mix(hash ^ static_cast<std::uint32_t>(token)) + 0x9e3779b97f4a7c15U;
  }
  return hash;
}

}  // namespace

BlockPool::BlockPool(std::int64_t blocks, std::int64_t block_tokens)
    : block_tokens_(block_tokens), entries_(static_cast<std::size_t>(blocks)) {
  unused_.reserve(entries_.size());
  for (std::int64_t block = blocks; block-- > 0;) {
    unused_.push_back(static_cast<std::int32_t>(block));
  }
}

std::optional<std::int32_t> BlockPool::allocate() {
  std::int32_t block = 0;
  if (!unused_.empty()) {
    block = unused_.back();
    unused_.pop_back();
  } else if (!kept_.empty()) {
    block = kept_.front();
    kept_.pop_front();
    forget(block);
  } else {
    return std::nullopt;
  }
  entries_[index(block)].users = 1;
  return block;
}

void BlockPool::retain(std::int32_t block) {
  Entry& entry = entries_[index(block)];
  if (entry.users == 0) {
    GAMELAN_CHECK(entry.content != 0, "block {} is retained but nobody has it", block);
    kept_.erase(entry.kept);
  }
  ++entry.users;
}

void BlockPool::release(std::int32_t block) {
  Entry& entry = entries_[index(block)];
  GAMELAN_CHECK(entry.users > 0, "block {} is released more often than it was retained", block);
  if (--entry.users > 0) {
    return;
  }
  if (entry.content != 0) {
    entry.kept = kept_.insert(kept_.end(), block);
  } else {
    unused_.push_back(block);
  }
}

void BlockPool::release_all(std::vector<std::int32_t>& blocks) {
  while (!blocks.empty()) {
    release(blocks.back());
    blocks.pop_back();
  }
}

std::optional<BlockPool::Published> BlockPool::find(ContentId parent,
                                                    std::span<const text::TokenId> tokens) const {
  const auto found = by_hash_.find(hash_of(parent, tokens));
  if (found == by_hash_.end()) {
    return std::nullopt;
  }
  for (const std::int32_t block : found->second) {
    const Entry& entry = entries_[index(block)];
    if (entry.parent == parent && std::ranges::equal(entry.tokens, tokens)) {
      return Published{entry.content, block};
    }
  }
  return std::nullopt;
}

BlockPool::Published BlockPool::publish(std::int32_t block, ContentId parent,
                                        std::span<const text::TokenId> tokens) {
  if (const auto found = find(parent, tokens)) {
    return *found;
  }
  Entry& entry = entries_[index(block)];
  GAMELAN_CHECK(entry.content == 0, "block {} is published twice", block);
  entry.content = ++last_content_;
  entry.parent = parent;
  entry.hash = hash_of(parent, tokens);
  entry.tokens.assign(tokens.begin(), tokens.end());
  by_hash_[entry.hash].push_back(block);
  return {entry.content, block};
}

void BlockPool::forget(std::int32_t block) {
  Entry& entry = entries_[index(block)];
  const auto found = by_hash_.find(entry.hash);
  std::erase(found->second, block);
  if (found->second.empty()) {
    by_hash_.erase(found);
  }
  entry.content = 0;
}

}  // namespace gamelan::infer
