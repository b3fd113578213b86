#include "infer/parallel/partition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "infer/model/step_plan.h"
#include "infer/parallel/plan_codec.h"

namespace gamelan::infer {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

io::ModelConfig config_of(std::int64_t heads, std::int64_t kv_heads) {
  io::ModelConfig config;
  config.num_heads = heads;
  config.num_kv_heads = kv_heads;
  config.num_layers = 7;
  config.intermediate_size = 50;
  config.vocab_size = 97;
  return config;
}

TEST(PartitionTest, PartsCoverEverythingOnce) {
  for (const std::int64_t total : {1, 7, 64, 97, 50257, 250880}) {
    for (const int parts : {1, 2, 3, 4, 5, 8}) {
      for (const std::int64_t unit : {1, 64}) {
        std::int64_t next = 0;
        for (int part = 0; part < parts; ++part) {
          const Range range = part_of(total, parts, part, unit);
          EXPECT_EQ(range.first, next);
          EXPECT_GE(range.count, 0);
          next = range.end();
        }
        EXPECT_EQ(next, total);
      }
    }
  }
}

TEST(PartitionTest, LayersHeadsAndRowsAreSplit) {
  const auto partition = partition_of(config_of(12, 12), 4, 2, 6);
  ASSERT_TRUE(partition.ok()) << partition.status();
  EXPECT_EQ(partition->tensor_rank, 2);
  EXPECT_EQ(partition->stage, 1);
  EXPECT_TRUE(partition->last_stage());
  EXPECT_EQ(partition->layers, (Range{3, 4}));
  EXPECT_EQ(partition->heads.queries, (Range{6, 3}));
  EXPECT_THAT(partition->heads.kv_heads, ElementsAre(6, 7, 8));
  EXPECT_EQ(partition->mlp, (Range{25, 12}));
  EXPECT_EQ(partition->vocabulary, (Range{48, 24}));
  EXPECT_EQ(partition->widest_vocabulary, 25);
}

TEST(PartitionTest, TheLastStageHasFewerBlocksForItsHead) {
  io::ModelConfig config = config_of(16, 16);
  config.num_layers = 24;
  config.hidden_size = config.embedding_size = 1024;
  config.head_dim = 64;
  config.intermediate_size = 4096;
  config.vocab_size = 50257;  // the head is 4.1 blocks
  EXPECT_EQ(partition_of(config, 1, 2, 0)->layers, (Range{0, 14}));
  EXPECT_EQ(partition_of(config, 1, 2, 1)->layers, (Range{14, 10}));
  EXPECT_EQ(partition_of(config, 1, 1, 0)->layers, (Range{0, 24}));
  // The stages cover the blocks in order, and each has one, however large the head.
  for (const std::int64_t vocabulary : {100, 50257, 5000000}) {
    config.vocab_size = vocabulary;
    for (int stages = 1; stages <= 24; ++stages) {
      std::int64_t next = 0;
      for (int stage = 0; stage < stages; ++stage) {
        const Range layers = partition_of(config, 1, stages, stage)->layers;
        EXPECT_EQ(layers.first, next);
        EXPECT_GE(layers.count, 1) << vocabulary << " " << stages << " " << stage;
        next = layers.end();
      }
      EXPECT_EQ(next, 24);
    }
  }
}

TEST(PartitionTest, SharedKeyHeadsFollowTheirQueries) {
  // Two key heads over two ranks: one each. Over four: each twice.
  EXPECT_THAT(head_share(config_of(8, 2), 2, 1).kv_heads, ElementsAre(1));
  EXPECT_THAT(head_share(config_of(8, 2), 4, 1).kv_heads, ElementsAre(0));
  EXPECT_THAT(head_share(config_of(8, 2), 4, 3).kv_heads, ElementsAre(1));
  // Groups of three over ranks of four: queries 4 … 7 are one of group 1 and ... in runs of one.
  EXPECT_THAT(head_share(config_of(12, 4), 3, 1).kv_heads, ElementsAre(1, 1, 2, 2));
}

TEST(PartitionTest, SizesThatDoNotFitAreRefused) {
  const auto error = [](int tensor, int pipeline) {
    return std::string(partition_of(config_of(12, 12), tensor, pipeline, 0).status().message());
  };
  EXPECT_THAT(error(5, 1), HasSubstr("tensor parallel size 5: expected a divisor of the model's "
                                     "12 attention heads"));
  EXPECT_THAT(error(1, 8), HasSubstr("pipeline parallel size 8: the model has 7 layers only"));
  EXPECT_THAT(error(0, 1), HasSubstr("expected at least 1, got 0 and 1"));
}

TEST(PlanCodecTest, RoundTripsAndRefusesDamage) {
  const StepPlan plan{{1, 2, 3}, {{2, 0, 1, 0, 1}, {1, 9, 1, 1, 3}}, {4, 5, 6, 7}, {{8, 9}}};
  std::vector<std::byte> bytes;
  encode_plan(plan, bytes);
  StepPlan copy;
  ASSERT_TRUE(decode_plan(bytes, copy).ok());
  EXPECT_EQ(copy.tokens, plan.tokens);
  EXPECT_EQ(copy.blocks, plan.blocks);
  ASSERT_EQ(copy.sequences.size(), 2U);
  EXPECT_EQ(copy.sequences[1].position, 9);
  ASSERT_EQ(copy.copies.size(), 1U);
  EXPECT_EQ(copy.copies[0].to, 9);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(decode_plan(std::span(bytes).first(size), copy).ok()) << size;
  }
  bytes[3] = std::byte{255};  // a count of 4 billion tokens
  EXPECT_THAT(std::string(decode_plan(bytes, copy).message()), HasSubstr("do not hold"));
}

}  // namespace
}  // namespace gamelan::infer
