#include "infer/cache/block_pool.h"

#include <gtest/gtest.h>

namespace gamelan::infer {
namespace {

using Tokens = std::vector<text::TokenId>;

TEST(BlockPool, GivesEachBlockOnceAndTakesItBack) {
  BlockPool pool(3, 2);
  std::vector<std::int32_t> blocks;
  while (const auto block = pool.allocate()) {
    blocks.push_back(*block);
  }
  EXPECT_EQ(blocks, (std::vector<std::int32_t>{0, 1, 2}));
  EXPECT_EQ(pool.free_blocks(), 0);
  pool.retain(1);
  pool.release(1);
  EXPECT_EQ(pool.free_blocks(), 0);
  pool.release_all(blocks);
  EXPECT_EQ(pool.free_blocks(), 3);
  EXPECT_TRUE(blocks.empty());
}

TEST(BlockPool, FindsWhatWasPublishedUntilItsMemoryIsNeeded) {
  BlockPool pool(3, 2);
  const Tokens first{1, 2};
  const Tokens second{3, 4};
  const std::int32_t a = *pool.allocate();
  const std::int32_t b = *pool.allocate();
  const ContentId content = pool.publish(a, 0, first).content;
  pool.publish(b, content, second);
  EXPECT_FALSE(pool.find(0, second));       // not at the beginning
  EXPECT_FALSE(pool.find(content, first));  // not after itself
  std::vector<std::int32_t> table{a, b};
  pool.release_all(table);
  EXPECT_EQ(pool.free_blocks(), 3);
  ASSERT_TRUE(pool.find(0, first));
  EXPECT_EQ(pool.find(content, second)->block, b);
  const std::int32_t c = *pool.allocate();  // the one that never held anything
  EXPECT_NE(c, a);
  EXPECT_EQ(pool.allocate(), b);  // then the end of the text, before its beginning
  EXPECT_FALSE(pool.find(content, second));
  EXPECT_TRUE(pool.find(0, first));
  pool.retain(a);  // used again: not to be given away
  EXPECT_EQ(pool.allocate(), std::nullopt);
}

TEST(BlockPool, EqualContentIsPublishedOnce) {
  BlockPool pool(4, 2);
  const Tokens tokens{1, 2};
  const std::int32_t a = *pool.allocate();
  const std::int32_t b = *pool.allocate();
  const auto published = pool.publish(a, 0, tokens);
  EXPECT_EQ(published.block, a);
  EXPECT_EQ(pool.publish(b, 0, tokens).block, a);
  EXPECT_EQ(pool.publish(b, 0, tokens).content, published.content);
  // What is forgotten gets another name, so that what stood after it is not found by mistake.
  pool.release(a);
  pool.release(b);
  while (pool.allocate()) {
  }
  EXPECT_FALSE(pool.find(0, tokens));
  EXPECT_NE(pool.publish(0, 0, tokens).content, published.content);
}

}  // namespace
}  // namespace gamelan::infer
