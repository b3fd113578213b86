#include "train/data/ordered_gather.h"

#include <gmock/gmock.h>
#include <torch/torch.h>

#include "tests/support/ranks.h"
#include "train/data/distributed_sampler.h"

namespace gamelan::train {
namespace {

using ::testing::HasSubstr;

at::Tensor rows_for(const std::vector<std::size_t>& indices) {
  at::Tensor rows = torch::empty({static_cast<std::int64_t>(indices.size()), 2}, at::kDouble);
  for (std::size_t i = 0; i < indices.size(); ++i) {
    rows[static_cast<std::int64_t>(i)] = static_cast<double>(indices[i]);
  }
  return rows;
}

// Row i of the result is [i, i], whatever the sampler did.
GAMELAN_RANK_BODY(ordered_gather) {
  const auto group = ::gamelan::testing::form_group_for_test(rank);
  for (const std::size_t size : {0U, 1U, 2U, 5U, 13U}) {
    for (const SamplerTail tail : {SamplerTail::kUneven, SamplerTail::kRepeat}) {
      const DistributedSampler sampler(
          size, {.world_size = rank.size, .rank = rank.rank, .seed = 5, .tail = tail});
      const auto indices = sampler.indices();
      for (const int root : {0, rank.size - 1, OrderedGatherOptions::kAllRanks}) {
        const at::Tensor result =
            gather_in_order(*group, rows_for(indices), indices, size, {.root = root});
        ASSERT_EQ(result.defined(), root == rank.rank || root < 0);
        if (result.defined()) {
          const at::Tensor expected = torch::arange(static_cast<std::int64_t>(size), at::kDouble)
                                          .unsqueeze(1)
                                          .expand({-1, 2});
          EXPECT_TRUE(torch::equal(result, expected)) << size;
        }
      }
    }
  }
}
TEST(OrderedGather, RestoresTheOrderOfTheDataSet) {
  for (const int size : {1, 2, 3, 4}) {
    ::gamelan::testing::run_ranks(::gamelan::testing::RankMode::kThreads, size, "ordered_gather");
  }
  ::gamelan::testing::run_ranks(::gamelan::testing::RankMode::kProcesses, 3, "ordered_gather");
}

GAMELAN_RANK_BODY(ordered_gather_errors) {
  const auto group = ::gamelan::testing::form_group_for_test(rank);
  const auto error_of = [&](const at::Tensor& rows, const std::vector<std::size_t>& indices,
                            std::size_t size) -> std::string {
    try {
      gather_in_order(*group, rows, indices, size);
    } catch (const c10::Error& error) {
      return error.what_without_backtrace();
    }
    return "";
  };
  const bool odd = rank.rank == 1;
  const std::vector<std::size_t> mine = {static_cast<std::size_t>(rank.rank)};
  const at::Tensor row = rows_for(mine);
  EXPECT_THAT(error_of(row, odd ? std::vector<std::size_t>{} : mine, 2),
              HasSubstr("rank 1 has 1 rows and 0 indices"));
  EXPECT_THAT(error_of(odd ? row.to(at::kFloat) : row, mine, 2),
              HasSubstr("rank 1 has rows [2] of f32, rank 0 rows [2] of f64"));
  EXPECT_THAT(error_of(odd ? row.unsqueeze(1) : row, mine, 2),
              HasSubstr("rank 1 has rows [1, 2] of f64"));
  EXPECT_THAT(error_of(row, mine, odd ? 3 : 2),
              HasSubstr("rank 1 expects a data set of 3 samples"));
  EXPECT_THAT(error_of(row, {0}, 2), HasSubstr("no rank has a row for sample 1; 1 of 2"));
  EXPECT_THAT(error_of(row, mine, 1),
              HasSubstr("rank 1 has a row for sample 1 of a data set of 1"));
  EXPECT_EQ(error_of(row, mine, 2), "");
}
TEST(OrderedGather, SaysOnEveryRankWhatIsWrong) {
  ::gamelan::testing::run_ranks(::gamelan::testing::RankMode::kThreads, 2, "ordered_gather_errors");
}

}  // namespace
}  // namespace gamelan::train
