// One suite for every way of moving data: shared memory and TCP, ranks as threads and as processes.

#include <gtest/gtest.h>

#include <string>
#include <tuple>
#include <vector>

#include "dist/collective/process_group.h"
#include "tests/dist/collective_values.h"
#include "tests/support/ranks.h"

namespace gamelan::dist {
namespace {

using testing::form_group_for_test;
using testing::Rank;
using testing::RankMode;
using testing::run_ranks;

using Bytes = std::vector<std::uint8_t>;

#define EXPECT_OK(expression)                                              \
  do {                                                                     \
    const base::Status expect_ok_status = (expression);                    \
    EXPECT_TRUE(expect_ok_status.ok()) << base::message(expect_ok_status); \
  } while (false)

// Around what travels with the call (64 KiB), a round of shared memory (256 KiB) and a segment of
// TCP (128 KiB).
const std::vector<std::size_t> kCounts = {0, 1, 3, 17, 4097};
const std::vector<std::size_t> kLargeCounts = {30'011, 70'001, 262'144, 300'007};

/// The cases of one element type on one group.
template <class T>
class Cases {
 public:
  Cases(ProcessGroup& group, bool large) : group_(group), counts_(kCounts) {
    if (large) {
      counts_.insert(counts_.end(), kLargeCounts.begin(), kLargeCounts.end());
    }
  }

  void run() {
    for (const std::size_t count : counts_) {
      SCOPED_TRACE(std::string(tensor::name_of(kDTypeOf<T>)) + "[" + std::to_string(count) + "]");
      broadcast(count);
      all_gather(count);
      gather(count);
      for (const ReduceOp op :
           {ReduceOp::kSum, ReduceOp::kAvg, ReduceOp::kProduct, ReduceOp::kMin, ReduceOp::kMax}) {
        const bool every =
            count < 100 || op == ReduceOp::kSum || (op == ReduceOp::kAvg && count < 100'000);
        if (every && !(std::is_same_v<T, bool> && op == ReduceOp::kAvg)) {
          all_reduce(count, op);
          reduce_scatter(count, op);
        }
      }
    }
  }

 private:
  int rank() const { return group_.rank(); }
  int size() const { return group_.size(); }

  void broadcast(std::size_t count) {
    for (int root = 0; root < size(); root += count < 100 ? 1 : 3) {
      Bytes data = rank() == root ? values<T>(root, count) : Bytes(count * sizeof(T), 0xcc);
      EXPECT_OK(group_.broadcast(view<T>(data), {{}, root}).wait());
      EXPECT_TRUE(data == values<T>(root, count)) << "broadcast from " << root;
    }
  }

  void all_reduce(std::size_t count, ReduceOp op) {
    Bytes data = values<T>(rank(), count);
    EXPECT_OK(group_.all_reduce(view<T>(data), {{}, op}).wait());
    EXPECT_TRUE(data == reduced<T>(size(), count, op)) << "all_reduce, op " << static_cast<int>(op);
  }

  void all_gather(std::size_t count) {
    Bytes input = values<T>(rank(), count);
    Bytes output(input.size() * static_cast<std::size_t>(size()), 0xcc);
    EXPECT_OK(group_.all_gather(view<T>(input), view<T>(output)).wait());
    Bytes expected;
    for (int other = 0; other < size(); ++other) {
      const Bytes part = values<T>(other, count);
      expected.insert(expected.end(), part.begin(), part.end());
    }
    EXPECT_TRUE(output == expected) << "all_gather";
  }

  void gather(std::size_t count) {
    const int root = size() - 1;
    Bytes input = values<T>(rank(), count);
    Bytes output(rank() == root ? input.size() * static_cast<std::size_t>(size()) : 0);
    EXPECT_OK(group_.gather(view<T>(input), view<T>(output), {{}, root}).wait());
    for (int other = 0; other < size() && rank() == root; ++other) {
      const auto begin = output.begin() + static_cast<std::ptrdiff_t>(input.size()) * other;
      EXPECT_TRUE(Bytes(begin, begin + static_cast<std::ptrdiff_t>(input.size())) ==
                  values<T>(other, count))
          << "gather from " << other;
    }
  }

  void reduce_scatter(std::size_t count, ReduceOp op) {
    const auto ranks = static_cast<std::size_t>(size());
    Bytes input = values<T>(rank(), count * ranks);
    Bytes output(count * sizeof(T), 0xcc);
    EXPECT_OK(group_.reduce_scatter(view<T>(input), view<T>(output), {{}, op}).wait());
    EXPECT_TRUE(output == reduced<T>(size(), count, op, count * static_cast<std::size_t>(rank())))
        << "reduce_scatter, op " << static_cast<int>(op);
    EXPECT_TRUE(input == values<T>(rank(), count * ranks)) << "reduce_scatter changed its input";
  }

  ProcessGroup& group_;
  std::vector<std::size_t> counts_;
};

GAMELAN_RANK_BODY(every_type) {
  const auto group = form_group_for_test(rank, rank.argument);
  EXPECT_EQ(group->rank(), rank.rank);
  EXPECT_EQ(group->size(), rank.size);
  EXPECT_EQ(group->backend_name(), rank.argument == "tcp" ? "tcp" : "shm");
  EXPECT_OK(group->barrier().wait());
  Cases<float>(*group, true).run();
  Cases<tensor::BFloat16>(*group, false).run();
  Cases<tensor::Float16>(*group, false).run();
  Cases<double>(*group, false).run();
  Cases<std::int64_t>(*group, false).run();
  Cases<std::int32_t>(*group, false).run();
  Cases<std::int16_t>(*group, false).run();
  Cases<std::int8_t>(*group, false).run();
  Cases<std::uint8_t>(*group, rank.size == 3).run();
  Cases<bool>(*group, false).run();
  EXPECT_OK(group->barrier().wait());
}

GAMELAN_RANK_BODY(in_order_without_waiting) {
  const auto group = form_group_for_test(rank, rank.argument);
  constexpr std::size_t kOperations = 40;
  std::vector<Bytes> buffers;
  std::vector<Work> works;
  for (std::size_t i = 0; i < kOperations; ++i) {
    buffers.push_back(values<float>(rank.rank, 1 + i * i * 29));
  }
  for (Bytes& buffer : buffers) {
    works.push_back(group->all_reduce(view<float>(buffer)));
    works.push_back(group->barrier());
  }
  for (std::size_t i = works.size(); i-- > 0;) {
    EXPECT_OK(works[i].wait());
    EXPECT_TRUE(works[i].done());
    EXPECT_OK(works[i].wait());
  }
  for (std::size_t i = 0; i < kOperations; ++i) {
    EXPECT_TRUE(buffers[i] == reduced<float>(rank.size, 1 + i * i * 29, ReduceOp::kSum)) << i;
  }
  // An operation that nobody waits for happens, too.
  Bytes last = values<float>(rank.rank, 100);
  const Work unwatched = group->all_reduce(view<float>(last));
  EXPECT_OK(group->barrier().wait());
  EXPECT_TRUE(unwatched.done());
  EXPECT_TRUE(last == reduced<float>(rank.size, 100, ReduceOp::kSum));
}

GAMELAN_RANK_BODY(messages) {
  const auto group = form_group_for_test(rank, rank.argument);
  const int next = (rank.rank + 1) % rank.size;
  const int previous = (rank.rank + rank.size - 1) % rank.size;
  for (const std::size_t count :
       {std::size_t{0}, std::size_t{1}, std::size_t{5'000}, std::size_t{600'000}}) {
    // Tags arrive in another order than they are asked for, and twice within a tag.
    std::vector<Bytes> out;
    for (int i = 0; i < 4; ++i) {
      out.push_back(values<float>(rank.rank * 4 + i, count));
    }
    std::vector<Bytes> in(4, Bytes(count * sizeof(float), 0xcc));
    std::vector<Work> works;
    for (std::size_t i = 0; i < 4; ++i) {
      works.push_back(
          group->send(view<float>(out[i]), next, {{}, static_cast<std::uint32_t>(i / 2)}));
    }
    for (const std::size_t i : {2, 3, 0, 1}) {
      works.push_back(
          group->recv(view<float>(in[i]), previous, {{}, static_cast<std::uint32_t>(i / 2)}));
    }
    // Messages and collectives do not wait for each other.
    EXPECT_OK(group->barrier().wait());
    for (const Work& work : works) {
      EXPECT_OK(work.wait());
    }
    for (int i = 0; i < 4; ++i) {
      EXPECT_TRUE(in[static_cast<std::size_t>(i)] == values<float>(previous * 4 + i, count))
          << "message " << i << " of " << count;
    }
  }
}

GAMELAN_RANK_BODY(many_small_messages) {
  const auto group = form_group_for_test(rank, rank.argument);
  // More than the receiver keeps for a sender: the rest is offered.
  constexpr int kMessages = 300;
  std::vector<Bytes> buffers;
  for (int i = 0; i < kMessages; ++i) {
    buffers.push_back(rank.rank == 0 ? values<float>(i, 4096) : Bytes(4096 * sizeof(float)));
  }
  std::vector<Work> works;
  if (rank.rank == 0) {
    for (Bytes& buffer : buffers) {
      works.push_back(group->send(view<float>(buffer), 1));
    }
  }
  EXPECT_OK(group->barrier().wait());
  if (rank.rank == 1) {
    for (Bytes& buffer : buffers) {
      works.push_back(group->recv(view<float>(buffer), 0));
    }
  }
  for (const Work& work : works) {
    EXPECT_OK(work.wait());
  }
  for (int i = 0; i < kMessages && rank.rank == 1; ++i) {
    EXPECT_TRUE(buffers[static_cast<std::size_t>(i)] == values<float>(i, 4096)) << i;
  }
  EXPECT_OK(group->barrier().wait());
}

GAMELAN_RANK_BODY(registered_memory) {
  const auto group = form_group_for_test(rank, rank.argument);
  constexpr std::size_t kCount = 300'007;
  const auto ranks = static_cast<std::size_t>(rank.size);
  auto memory = group->allocate(kCount * ranks * sizeof(float) + 64);
  ASSERT_TRUE(memory.ok()) << base::message(memory.status());
  ASSERT_GE(memory->size_bytes(), kCount * ranks * sizeof(float));
  ASSERT_EQ(reinterpret_cast<std::uintptr_t>(memory->data()) % 64, 0U);
  Bytes plain(kCount * ranks * sizeof(float));
  for (const bool all_registered : {true, false}) {
    const bool registered = all_registered || rank.rank % 2 == 0;
    // Not at the start of the segment, where it can be.
    std::uint8_t* const data =
        registered ? static_cast<std::uint8_t*>(memory->data()) + 16 : plain.data();
    const auto fill = [&](std::size_t count) {
      const Bytes own = values<float>(rank.rank, count);
      std::memcpy(data, own.data(), own.size());
    };
    const auto holds = [&](const Bytes& expected) {
      return std::memcmp(data, expected.data(), expected.size()) == 0;
    };
    const tensor::BufferView buffer{data, kCount, tensor::DType::kF32, {}};
    fill(kCount);
    EXPECT_OK(group->all_reduce(buffer).wait());
    EXPECT_TRUE(holds(reduced<float>(rank.size, kCount, ReduceOp::kSum)));
    fill(kCount);
    EXPECT_OK(group->broadcast(buffer, {{}, rank.size - 1}).wait());
    EXPECT_TRUE(holds(values<float>(rank.size - 1, kCount)));
    fill(kCount);
    Bytes gathered(kCount * ranks * sizeof(float));
    EXPECT_OK(group->all_gather(buffer, view<float>(gathered)).wait());
    std::memset(gathered.data(), 0, gathered.size());
    EXPECT_OK(group->gather(buffer, view<float>(gathered), {{}, 0}).wait());
    for (int other = 0; other < rank.size && rank.rank == 0; ++other) {
      const Bytes part = values<float>(other, kCount);
      EXPECT_EQ(std::memcmp(gathered.data() + static_cast<std::size_t>(other) * part.size(),
                            part.data(), part.size()),
                0);
    }
    fill(kCount * ranks);
    Bytes own_part(kCount * sizeof(float));
    EXPECT_OK(
        group
            ->reduce_scatter({data, kCount * ranks, tensor::DType::kF32, {}}, view<float>(own_part))
            .wait());
    EXPECT_TRUE(own_part == reduced<float>(rank.size, kCount, ReduceOp::kSum,
                                           kCount * static_cast<std::size_t>(rank.rank)));
  }
  // Memory that is given back and taken again.
  for (int i = 0; i < 5; ++i) {
    auto again = group->allocate(100'000 * sizeof(float));
    ASSERT_TRUE(again.ok());
    const Bytes own = values<float>(rank.rank, 100'000);
    std::memcpy(again->data(), own.data(), own.size());
    EXPECT_OK(group->all_reduce({again->data(), 100'000, tensor::DType::kF32, {}}).wait());
    EXPECT_EQ(std::memcmp(again->data(), reduced<float>(rank.size, 100'000, ReduceOp::kSum).data(),
                          own.size()),
              0);
  }
}

GAMELAN_RANK_BODY(in_place) {
  const auto group = form_group_for_test(rank, rank.argument);
  const auto ranks = static_cast<std::size_t>(rank.size);
  for (const std::size_t count : {std::size_t{9}, std::size_t{100'000}}) {
    Bytes all(count * ranks * sizeof(float));
    const Bytes own = values<float>(rank.rank, count);
    std::uint8_t* const part = all.data() + static_cast<std::size_t>(rank.rank) * own.size();
    std::memcpy(part, own.data(), own.size());
    const tensor::BufferView part_view{part, count, tensor::DType::kF32, {}};
    EXPECT_OK(group->all_gather(part_view, view<float>(all)).wait());
    for (int other = 0; other < rank.size; ++other) {
      const Bytes expected = values<float>(other, count);
      EXPECT_EQ(std::memcmp(all.data() + static_cast<std::size_t>(other) * own.size(),
                            expected.data(), own.size()),
                0);
    }
    const Bytes whole = values<float>(rank.rank, count * ranks);
    std::memcpy(all.data(), whole.data(), whole.size());
    EXPECT_OK(group->reduce_scatter(view<float>(all), part_view).wait());
    const Bytes expected = reduced<float>(rank.size, count, ReduceOp::kSum,
                                          count * static_cast<std::size_t>(rank.rank));
    EXPECT_EQ(std::memcmp(part, expected.data(), expected.size()), 0);
  }
}

class CollectiveTest : public ::testing::TestWithParam<std::tuple<std::string, RankMode>> {
 protected:
  void run(const std::vector<int>& sizes, const std::string& body) {
    const auto& [backend, mode] = GetParam();
    for (const int size : sizes) {
      run_ranks(mode, size, body, backend);
    }
  }
};

TEST_P(CollectiveTest, EveryTypeOnOneToThreeRanks) {
  run({1, 2, 3}, "every_type");
}
TEST_P(CollectiveTest, EveryTypeOnFourAndFiveRanks) {
  run({4, 5}, "every_type");
}
TEST_P(CollectiveTest, EveryTypeOnEightRanks) {
  run({8}, "every_type");
}
TEST_P(CollectiveTest, OperationsHappenInOrder) {
  run({1, 2, 5}, "in_order_without_waiting");
}
TEST_P(CollectiveTest, Messages) {
  run({2, 3, 5}, "messages");
}
TEST_P(CollectiveTest, ManySmallMessages) {
  run({2}, "many_small_messages");
}
TEST_P(CollectiveTest, RegisteredMemory) {
  run({1, 2, 3, 5}, "registered_memory");
}
TEST_P(CollectiveTest, InPlace) {
  run({1, 2, 3}, "in_place");
}

INSTANTIATE_TEST_SUITE_P(Backends, CollectiveTest,
                         ::testing::Combine(::testing::Values("cpu", "tcp"),
                                            ::testing::Values(RankMode::kThreads,
                                                              RankMode::kProcesses)),
                         [](const auto& info) {
                           return std::get<0>(info.param) + "_" +
                                  testing::to_string(std::get<1>(info.param));
                         });

}  // namespace
}  // namespace gamelan::dist
