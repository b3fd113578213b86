#include "train/data/distributed_sampler.h"

#include <gtest/gtest.h>
#include <torch/serialize.h>

#include <set>
#include <sstream>

namespace gamelan::train {
namespace {

using Indices = std::vector<std::size_t>;

DistributedSampler sampler(std::size_t size, int ranks, int rank,
                           SamplerTail tail = SamplerTail::kRepeat, std::int64_t seed = 0,
                           bool shuffle = true) {
  return {size,
          {.world_size = ranks, .rank = rank, .shuffle = shuffle, .seed = seed, .tail = tail}};
}

TEST(DistributedSampler, GivesPythonsIndices) {
  const std::vector<Indices> repeat = {{4, 3, 6}, {1, 9, 2}, {7, 0, 4}, {5, 8, 1}};
  const std::vector<Indices> drop = {{4, 3}, {1, 9}, {7, 0}, {5, 8}};
  for (int rank = 0; rank < 4; ++rank) {
    EXPECT_EQ(sampler(10, 4, rank).indices(), repeat[static_cast<std::size_t>(rank)]);
    EXPECT_EQ(sampler(10, 4, rank, SamplerTail::kDrop).indices(),
              drop[static_cast<std::size_t>(rank)]);
  }
  EXPECT_EQ(sampler(10, 1, 0).indices(), (Indices{4, 1, 7, 5, 3, 9, 0, 8, 6, 2}));
  EXPECT_EQ(sampler(10, 1, 0, SamplerTail::kRepeat, 1).indices(),
            (Indices{5, 6, 1, 2, 0, 8, 9, 3, 7, 4}));
  for (int rank = 0; rank < 8; ++rank) {
    EXPECT_TRUE(sampler(3, 8, rank, SamplerTail::kDrop).indices().empty());
    EXPECT_EQ(sampler(1, 8, rank).indices(), Indices{0});
  }
}

// One line for each data set, as torch.utils.data.DistributedSampler of PyTorch 2.15 deals it out:
// all ranks' indices, rank after rank, in an FNV-1a-like hash over 64-bit words.
struct Golden {
  std::size_t size;
  int ranks;
  std::int64_t seed;
  std::int64_t epoch;
  bool drop_last;
  bool shuffle;
  std::size_t total;
  std::uint64_t hash;
};
constexpr Golden kGolden[] = {
    {1000, 5, 42, 50, 0, 0, 1000, 17578738014949673179ULL},
    {4099, 9, 0, 53, 1, 0, 4095, 3545093719888955686ULL},
    {4099, 1, 1, 7, 1, 0, 4099, 3916236757123547838ULL},
    {10, 9, 0, 36, 1, 1, 9, 12380097674041378233ULL},
    {10, 5, 1, 58, 0, 1, 10, 14493071463041398550ULL},
    {1, 3, 1099511627776, 39, 1, 1, 0, 1469598103934665603ULL},
    {0, 4, 1, 10, 0, 1, 0, 1469598103934665603ULL},
    {3, 9, 1, 11, 0, 1, 9, 1510827010865147762ULL},
    {10, 5, 0, 23, 1, 0, 10, 4965649407098228384ULL},
    {5, 2, 42, 19, 0, 1, 6, 410280232311883574ULL},
    {1000, 6, 0, 19, 1, 1, 996, 8637189884431450139ULL},
    {7, 3, 8589934599, 30, 0, 1, 9, 5533924378154132533ULL},
    {0, 6, 8589934599, 1, 0, 1, 0, 1469598103934665603ULL},
    {10, 1, 8589934599, 2, 0, 1, 10, 3269899358235464574ULL},
    {3, 2, 1, 59, 0, 1, 4, 16768433650156877312ULL},
    {100, 6, 1099511627776, 16, 0, 1, 102, 4438051574919369717ULL},
    {7, 5, 0, 27, 0, 1, 10, 14916944894770713979ULL},
    {7, 9, 1099511627776, 23, 0, 1, 9, 4058213054971554137ULL},
    {100, 2, 42, 43, 1, 1, 100, 3139563457473932941ULL},
    {1, 3, 42, 30, 1, 1, 0, 1469598103934665603ULL},
    {1000, 9, 8589934599, 2, 1, 1, 999, 3738462370689519246ULL},
    {5, 8, 8589934599, 9, 1, 0, 0, 1469598103934665603ULL},
    {0, 8, 42, 53, 1, 0, 0, 1469598103934665603ULL},
    {1000, 3, 8589934599, 6, 1, 1, 999, 6159692584839606731ULL},
    {0, 7, 42, 9, 1, 0, 0, 1469598103934665603ULL},
    {2, 9, 8589934599, 31, 0, 1, 9, 1217535708049609750ULL},
    {5, 5, 8589934599, 25, 0, 1, 5, 16353343092332947151ULL},
    {100, 3, 8589934599, 55, 1, 1, 99, 17033461741911370772ULL},
    {5, 9, 1099511627776, 55, 0, 1, 9, 11081828003514249721ULL},
    {7, 1, 42, 23, 0, 1, 7, 4085697736862585810ULL},
    {17, 5, 42, 60, 1, 1, 15, 12098128477612620570ULL},
    {0, 8, 1099511627776, 49, 1, 1, 0, 1469598103934665603ULL},
    {17, 5, 1099511627776, 41, 0, 1, 20, 3441730903391557301ULL},
    {5, 6, 8589934599, 22, 0, 1, 6, 5453113632750004417ULL},
    {17, 6, 42, 33, 1, 0, 12, 10081097702510487001ULL},
    {3, 6, 8589934599, 18, 0, 1, 6, 9973444349666527529ULL},
    {10, 3, 1099511627776, 49, 0, 1, 12, 17837364715598076487ULL},
    {10, 5, 1099511627776, 35, 0, 1, 10, 17340355877582044722ULL},
    {0, 4, 1, 37, 1, 1, 0, 1469598103934665603ULL},
    {3, 3, 0, 30, 0, 1, 3, 12198861948134627104ULL},
    {2, 2, 42, 11, 1, 1, 2, 11125488673309971922ULL},
    {10, 8, 42, 24, 0, 1, 16, 12055675577073470980ULL},
    {3, 4, 42, 0, 1, 0, 0, 1469598103934665603ULL},
    {10, 2, 1099511627776, 23, 0, 1, 10, 13813168971845959978ULL},
    {5, 2, 42, 34, 0, 0, 6, 17451338407640498017ULL},
    {5, 6, 1, 26, 1, 1, 0, 1469598103934665603ULL},
    {100, 6, 8589934599, 9, 1, 1, 96, 14093811699144438056ULL},
    {17, 4, 1, 38, 1, 0, 16, 12154344524262621347ULL},
};

TEST(DistributedSampler, GivesPythonsIndicesForManySizesSeedsAndEpochs) {
  for (const Golden& golden : kGolden) {
    std::uint64_t hash = 1469598103934665603ULL;
    std::size_t total = 0;
    for (int rank = 0; rank < golden.ranks; ++rank) {
      auto part = sampler(golden.size, golden.ranks, rank,
                          golden.drop_last ? SamplerTail::kDrop : SamplerTail::kRepeat, golden.seed,
                          golden.shuffle);
      part.set_epoch(golden.epoch);
      part.reset();
      while (const auto batch = part.next(7)) {
        for (const std::size_t index : *batch) {
          hash = (hash ^ index) * 1099511628211ULL;
          ++total;
        }
      }
    }
    EXPECT_EQ(total, golden.total) << golden.size << " samples, " << golden.ranks << " ranks";
    EXPECT_EQ(hash, golden.hash) << golden.size << " samples, " << golden.ranks << " ranks, epoch "
                                 << golden.epoch;
  }
}

TEST(DistributedSampler, TheEpochChangesTheOrderOnlyAtReset) {
  auto part = sampler(100, 2, 0);
  const Indices first = part.indices();
  part.set_epoch(1);
  EXPECT_EQ(part.indices(), first);
  part.reset();
  EXPECT_NE(part.indices(), first);
  part.set_epoch(0);
  part.reset();
  EXPECT_EQ(part.indices(), first);
  part.reset(10);
  EXPECT_EQ(part.local_size(), 5U);
}

TEST(DistributedSampler, UnevenPartsCoverEverySampleOnce) {
  for (const std::size_t size : {0U, 1U, 2U, 7U, 12U, 25U}) {
    for (int ranks = 1; ranks <= 5; ++ranks) {
      std::multiset<std::size_t> seen;
      for (int rank = 0; rank < ranks; ++rank) {
        const Indices part = sampler(size, ranks, rank, SamplerTail::kUneven, 3).indices();
        seen.insert(part.begin(), part.end());
      }
      EXPECT_EQ(seen.size(), size);
      EXPECT_EQ(std::set<std::size_t>(seen.begin(), seen.end()).size(), size);
    }
  }
}

TEST(DistributedSampler, ResumesInsideAnEpoch) {
  auto undisturbed = sampler(53, 3, 1);
  undisturbed.set_epoch(4);
  undisturbed.reset();
  const Indices all = undisturbed.indices();
  undisturbed.next(4);
  undisturbed.next(4);
  const SamplerState state = undisturbed.state();
  EXPECT_EQ(state, (SamplerState{53, 0, 4, 24}));

  auto resumed = sampler(53, 3, 1);
  resumed.restore(state);
  EXPECT_EQ(resumed.epoch(), 4);
  // What a training loop does at the top of each epoch.
  resumed.set_epoch(4);
  resumed.reset();
  EXPECT_EQ(resumed.indices(), Indices(all.begin() + 8, all.end()));
  resumed.next(2);
  EXPECT_EQ(resumed.state(), (SamplerState{53, 0, 4, 30}));
  // Only once: the next epoch, or the same one again, begins at its start.
  resumed.set_epoch(5);
  resumed.reset();
  EXPECT_EQ(resumed.local_size(), 18U);
  resumed.set_epoch(4);
  resumed.reset();
  EXPECT_EQ(resumed.indices(), all);
}

TEST(DistributedSampler, ALoaderThatReadsAheadSaysWhatItConsumed) {
  auto part = sampler(40, 2, 0);
  part.next(16);
  EXPECT_EQ(part.state(4).consumed, 8);
  EXPECT_THROW(part.state(21), c10::ValueError);
}

// Every sample exactly once, when 4 ranks stop after `steps` samples each and other numbers of
// ranks go on.
TEST(DistributedSampler, ResumesExactlyWithAnotherNumberOfRanks) {
  const std::size_t size = 101;
  for (const std::size_t steps : {0U, 1U, 7U, 25U}) {
    for (const int ranks : {1, 2, 3, 5, 7}) {
      std::vector<int> seen(size, 0);
      SamplerState state;
      for (int rank = 0; rank < 4; ++rank) {
        auto before = sampler(size, 4, rank);
        for (const std::size_t index : before.next(steps).value_or(Indices{})) {
          ++seen[index];
        }
        state = before.state();
      }
      std::size_t repeated = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        auto after = sampler(size, ranks, rank);
        after.restore(state);
        repeated += after.local_size();
        for (const std::size_t index : after.indices()) {
          ++seen[index];
        }
      }
      repeated -= size - 4 * steps;
      EXPECT_LT(repeated, static_cast<std::size_t>(ranks));
      std::size_t twice = 0;
      for (const int count : seen) {
        EXPECT_GE(count, 1);
        twice += static_cast<std::size_t>(count - 1);
      }
      EXPECT_EQ(twice, repeated);
    }
  }
}

TEST(DistributedSampler, AFinishedEpochResumesAsFinished) {
  auto part = sampler(10, 4, 3);
  part.next(100);
  auto resumed = sampler(10, 4, 3);
  resumed.restore(part.state());
  EXPECT_EQ(resumed.local_size(), 0U);
  EXPECT_FALSE(resumed.next(1).has_value());
}

TEST(DistributedSampler, StateTravelsThroughAnArchive) {
  auto part = sampler(30, 2, 1, SamplerTail::kDrop, 9);
  part.set_epoch(2);
  part.reset();
  part.next(5);
  std::stringstream file;
  torch::serialize::OutputArchive out;
  part.save(out);
  out.save_to(file);
  torch::serialize::InputArchive in;
  in.load_from(file);
  auto resumed = sampler(30, 2, 1, SamplerTail::kDrop, 9);
  resumed.load(in);
  EXPECT_EQ(resumed.state(), part.state());
  EXPECT_EQ(resumed.next(3), part.next(3));
}

TEST(DistributedSampler, RefusesWhatCannotBeRight) {
  EXPECT_THROW(sampler(10, 4, 4), c10::ValueError);
  EXPECT_THROW(sampler(10, 4, -1), c10::ValueError);
  EXPECT_THROW(sampler(10, 0, 0), c10::ValueError);
  auto part = sampler(10, 2, 0);
  EXPECT_THROW(part.restore({11, 0, 0, 0}), c10::ValueError);
  EXPECT_THROW(part.restore({10, 1, 0, 0}), c10::ValueError);
  EXPECT_THROW(part.restore({10, 0, 0, -1}), c10::ValueError);
  EXPECT_THROW(part.index(5), c10::IndexError);
}

}  // namespace
}  // namespace gamelan::train
