#include "infer/engine/sequence.h"

namespace gamelan::infer {
namespace {

std::span<const text::TokenId> block_of(const Sequence& sequence, std::size_t block,
                                        const BlockPool& pool) {
  const auto size = static_cast<std::size_t>(pool.block_tokens());
  return std::span(sequence.tokens).subspan(block * size, size);
}

ContentId last_content(const Sequence& sequence) {
  return sequence.contents.empty() ? 0 : sequence.contents.back();
}

}  // namespace

void reserve_text(Sequence& sequence, const Request& request, const BlockPool& pool) {
  const std::size_t tokens =
      request.prompt.size() + static_cast<std::size_t>(request.max_new_tokens);
  const std::size_t blocks = tokens / static_cast<std::size_t>(pool.block_tokens()) + 1;
  sequence.tokens.reserve(tokens);
  sequence.blocks.reserve(blocks);
  sequence.contents.reserve(blocks);
}

std::unique_ptr<Sequence> fork(const Sequence& sequence, BlockPool& pool) {
  auto child = std::make_unique<Sequence>(sequence);
  for (const std::int32_t block : child->blocks) {
    pool.retain(block);
  }
  return child;
}

void append(Sequence& sequence, text::TokenId token, const SamplingOptions& sampling) {
  sequence.tokens.push_back(token);
  if (needs_counts(sampling)) {
    ++sequence.counts[token];
  }
}

void drop_blocks(Sequence& sequence, BlockPool& pool) {
  pool.release_all(sequence.blocks);
  sequence.contents.clear();
  sequence.computed = 0;
  sequence.draft_computed = 0;
  sequence.scheduled = 0;
  sequence.logits = 0;
  sequence.proposals.clear();
}

void trim_blocks(Sequence& sequence, BlockPool& pool) {
  const auto needed =
      static_cast<std::size_t>((sequence.computed + pool.block_tokens() - 1) / pool.block_tokens());
  while (sequence.blocks.size() > needed) {
    pool.release(sequence.blocks.back());
    sequence.blocks.pop_back();
  }
}

void publish_blocks(Sequence& sequence, BlockPool& pool) {
  const auto full = static_cast<std::size_t>(sequence.computed / pool.block_tokens());
  while (sequence.contents.size() < full) {
    const std::size_t block = sequence.contents.size();
    const BlockPool::Published published = pool.publish(
        sequence.blocks[block], last_content(sequence), block_of(sequence, block, pool));
    if (published.block != sequence.blocks[block]) {
      pool.retain(published.block);
      pool.release(sequence.blocks[block]);
      sequence.blocks[block] = published.block;
    }
    sequence.contents.push_back(published.content);
  }
}

std::int64_t adopt_blocks(Sequence& sequence, BlockPool& pool) {
  const auto full = static_cast<std::size_t>((sequence.length() - 1) / pool.block_tokens());
  while (sequence.contents.size() < full) {
    const auto found =
        pool.find(last_content(sequence), block_of(sequence, sequence.contents.size(), pool));
    if (!found) {
      break;
    }
    pool.retain(found->block);
    sequence.blocks.push_back(found->block);
    sequence.contents.push_back(found->content);
  }
  sequence.computed = static_cast<std::int64_t>(sequence.contents.size()) * pool.block_tokens();
  sequence.draft_computed = sequence.computed;
  return sequence.computed;
}

}  // namespace gamelan::infer
