#include "tests/train/ddp_model.h"
#include "train/torch_view.h"

namespace gamelan::train::testing {
namespace {

using ::gamelan::testing::RankMode;
using ::gamelan::testing::run_ranks;

// Bar: gradients of N ranks against one process on the joined batch.
GAMELAN_RANK_BODY(ddp_gradients) {
  const auto group = form_group(rank);
  for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
    for (const bool as_view : {true, false}) {
      auto with = small_buckets();
      with.gradient_as_bucket_view = as_view;
      // Only rank 0's values count.
      Net net(type, rank.rank == 0 ? 0.3 : 5.0);
      NetParallel ddp(net, group, with);
      // Which ranks use the optional layer: all, none, the first, all but the first.
      int iteration = 0;
      for (const unsigned mask : {~0U, 0U, 1U, ~1U}) {
        const at::Tensor whole = batch(type, iteration);
        const bool mine = ((mask >> static_cast<unsigned>(rank.rank)) & 1U) != 0;
        net->zero_grad();
        loss_of(ddp.forward(part_of(whole, rank), mine)).backward();
        expect_close(*net, reference_gradients(whole, rank.size, mask), type,
                     "iteration " + std::to_string(iteration));
        for (const auto& item : net->named_parameters()) {
          if (item.value().grad().defined()) {
            expect_same_everywhere(*group, item.value().grad(), item.key());
          }
        }
        ++iteration;
      }
    }
  }
}
TEST(Ddp, GradientsAreThoseOfOneProcessOnTheJoinedBatch) {
  run_threads("ddp_gradients", {1, 2, 3, 4});
  for (const int size : {1, 2, 3, 4}) {
    run_ranks(RankMode::kProcesses, size, "ddp_gradients");
  }
}

// Every parameter is used, so the buckets are rebuilt after the first pass; with views and without.
GAMELAN_RANK_BODY(ddp_steps) {
  const auto group = form_group(rank);
  for (const bool as_view : {true, false}) {
    auto with = small_buckets(false);
    with.gradient_as_bucket_view = as_view;
    Net net(at::kFloat, rank.rank == 0 ? 0.3 : 5.0);
    Net alone(at::kFloat);
    NetParallel ddp(net, group, with);
    torch::optim::AdamW optimizer(net->parameters(), torch::optim::AdamWOptions(1e-2));
    torch::optim::AdamW reference(alone->parameters(), torch::optim::AdamWOptions(1e-2));
    for (int step = 0; step < 50; ++step) {
      const at::Tensor whole = batch(at::kFloat, step);
      optimizer.zero_grad(/*set_to_none=*/step % 3 != 0);
      loss_of(ddp.forward(part_of(whole, rank), true, true)).backward();
      optimizer.step();
      alone->zero_grad();
      loss_of(alone->forward(whole, true, true)).backward();
      reference.step();
    }
    const auto expected = alone->named_parameters();
    for (const auto& item : net->named_parameters()) {
      expect_same_everywhere(*group, item.value(), item.key());
      EXPECT_LE(relative_difference(item.value(), expected[item.key()]), 1e-3) << item.key();
      if (as_view) {
        EXPECT_TRUE(item.value().grad().is_contiguous());
      }
    }
  }
}
TEST(Ddp, WeightsAreBitIdenticalOnEveryRankAfterFiftySteps) {
  run_threads("ddp_steps", {2, 3});
  run_ranks(RankMode::kProcesses, 4, "ddp_steps");
}

GAMELAN_RANK_BODY(ddp_caps) {
  const auto group = form_group(rank);
  std::vector<std::vector<at::Tensor>> results;
  std::vector<std::size_t> counts;
  for (const std::size_t cap : {std::size_t{0}, std::size_t{1000}, std::size_t{25} << 20}) {
    auto with = small_buckets(false);
    with.first_bucket_bytes = cap / 2;
    with.bucket_cap_bytes = cap;
    Net net;
    NetParallel ddp(net, group, with);
    for (int step = 0; step < 3; ++step) {
      net->zero_grad();
      loss_of(ddp.forward(part_of(batch(at::kFloat, step), rank), true, true)).backward();
    }
    results.push_back(gradients(*net));
    counts.push_back(ddp.bucket_plans().size());
  }
  EXPECT_EQ(counts[0], 10U);
  EXPECT_GT(counts[1], 1U);
  EXPECT_EQ(counts[2], 1U);
  for (std::size_t i = 0; i < results[0].size(); ++i) {
    EXPECT_TRUE(torch::equal(results[0][i], results[1][i])) << i;
    EXPECT_TRUE(torch::equal(results[0][i], results[2][i])) << i;
  }
}
TEST(Ddp, BucketSizesDoNotChangeABit) {
  run_threads("ddp_caps", {3});
}

GAMELAN_RANK_BODY(ddp_no_sync) {
  const auto group = form_group(rank);
  for (const bool as_view : {true, false}) {
    auto with = small_buckets();
    with.gradient_as_bucket_view = as_view;
    Net net(at::kDouble);
    NetParallel ddp(net, group, with);
    for (int round = 0; round < 3; ++round) {
      const at::Tensor whole = batch(at::kDouble, round);
      // Three micro-batches; the optional layer only in the first two, spare in none.
      net->zero_grad(round != 1);
      std::vector<at::Tensor> expected;
      Net alone(at::kDouble);
      for (int micro = 0; micro < 3; ++micro) {
        const at::Tensor input = whole + micro;
        if (micro < 2) {
          const auto guard = ddp.no_sync();
          loss_of(ddp.forward(part_of(input, rank), true)).backward();
        } else {
          loss_of(ddp.forward(part_of(input, rank), false)).backward();
        }
        loss_of(alone->forward(input, micro < 2)).backward();
      }
      expected = gradients(*alone);
      expect_close(*net, expected, at::kDouble, "round " + std::to_string(round));
    }
  }
}
TEST(Ddp, AccumulationUnderNoSyncEqualsTheJoinedBatches) {
  run_threads("ddp_no_sync", {2, 3});
}

// A gradient that nobody uses in a pass stays what it was, to the bit, in either way of zeroing.
GAMELAN_RANK_BODY(ddp_untouched) {
  const auto group = form_group(rank);
  for (const bool as_view : {true, false}) {
    auto with = small_buckets();
    with.gradient_as_bucket_view = as_view;
    Net net;
    NetParallel ddp(net, group, with);
    const at::Tensor whole = batch(at::kFloat);
    loss_of(ddp.forward(part_of(whole, rank), true)).backward();
    const at::Tensor kept = net->optional->weight.grad().clone();
    EXPECT_FALSE(net->spare->weight.grad().defined());
    // The user's own tensor in the place of the view.
    net->optional->bias.mutable_grad() = torch::full({16}, 1.0F / 3.0F);
    net->first->zero_grad();
    net->tied->zero_grad(false);
    net->last->zero_grad();
    loss_of(ddp.forward(part_of(whole, rank), false)).backward();
    EXPECT_TRUE(torch::equal(net->optional->weight.grad(), kept));
    EXPECT_TRUE(torch::equal(net->optional->bias.grad(), torch::full({16}, 1.0F / 3.0F)));
    EXPECT_FALSE(net->spare->weight.grad().defined());
    const auto expected = reference_gradients(whole, rank.size, 0U);
    EXPECT_LE(relative_difference(net->first->weight.grad(), expected[0]), 1e-6);
  }
}
TEST(Ddp, WhatNoRankUsesStaysUntouched) {
  run_threads("ddp_untouched", {1, 3});
}

// Layers that are frozen and thawed while training goes on, without a search for unused parameters.
GAMELAN_RANK_BODY(ddp_frozen) {
  const auto group = form_group(rank);
  Net net;
  NetParallel ddp(net, group, small_buckets(false));
  const at::Tensor whole = batch(at::kFloat);
  for (const bool trains : {true, false, false, true}) {
    net->spare->weight.set_requires_grad(trains);
    net->spare->bias.set_requires_grad(trains);
    net->zero_grad();
    loss_of(ddp.forward(part_of(whole, rank), true, true)).backward();
    auto expected = reference_gradients(whole, rank.size, ~0U, true);
    if (!trains) {
      expected[6] = expected[7] = at::Tensor();
    }
    expect_close(*net, expected, at::kFloat, trains ? "thawed" : "frozen");
  }
}
TEST(Ddp, ParametersMayBeFrozenForAWhile) {
  run_threads("ddp_frozen", {2});
}

// Running again through a kept graph adds a second average.
GAMELAN_RANK_BODY(ddp_retain_graph) {
  const auto group = form_group(rank);
  Net net(at::kDouble);
  NetParallel ddp(net, group, small_buckets());
  const at::Tensor whole = batch(at::kDouble);
  const at::Tensor loss = loss_of(ddp.forward(part_of(whole, rank)));
  loss.backward({}, /*retain_graph=*/true);
  auto expected = reference_gradients(whole, rank.size);
  expect_close(*net, expected, at::kDouble);
  loss.backward();
  for (at::Tensor& gradient : expected) {
    gradient = gradient.defined() ? gradient * 2 : gradient;
  }
  expect_close(*net, expected, at::kDouble);
}
TEST(Ddp, ASecondBackwardThroughTheSameGraphIsReducedToo) {
  run_threads("ddp_retain_graph", {3});
}

// Two forwards and one backward; two forwards and two backwards in the other order; an inner
// derivative with a graph. All in one body: forming a group is the expensive part.
GAMELAN_RANK_BODY(ddp_orders) {
  const auto group = form_group(rank);
  Net net(at::kDouble);
  NetParallel ddp(net, group, small_buckets());
  const at::Tensor a = batch(at::kDouble, 1);
  const at::Tensor b = batch(at::kDouble, 2);
  const auto of_a = reference_gradients(a, rank.size, 0U);
  const auto of_b = reference_gradients(b, rank.size);
  std::vector<at::Tensor> sum;
  for (std::size_t i = 0; i < of_b.size(); ++i) {
    sum.push_back(of_a[i].defined() ? of_a[i] + of_b[i] : of_b[i]);
  }

  (loss_of(ddp.forward(part_of(a, rank), false)) + loss_of(ddp.forward(part_of(b, rank))))
      .backward();
  expect_close(*net, sum, at::kDouble, "one backward");

  net->zero_grad();
  const at::Tensor loss_a = loss_of(ddp.forward(part_of(a, rank), false));
  const at::Tensor loss_b = loss_of(ddp.forward(part_of(b, rank)));
  loss_b.backward();
  expect_close(*net, of_b, at::kDouble, "the later first");
  loss_a.backward();
  expect_close(*net, sum, at::kDouble, "then the earlier");

  const auto penalty = [](const auto& forward, const at::Tensor& input) {
    const at::Tensor x = input.clone().requires_grad_(true);
    const at::Tensor output = loss_of(forward(x));
    const at::Tensor inner =
        torch::autograd::grad({output}, {x}, {}, /*retain_graph=*/true, /*create_graph=*/true)[0];
    // A sum of squares per row, averaged over the rows of all ranks.
    return inner.square().sum() * x.size(0) + output;
  };
  net->zero_grad();
  penalty([&](const at::Tensor& x) { return ddp.forward(x); }, part_of(a, rank)).backward();
  Net alone(at::kDouble);
  at::Tensor loss;
  for (int r = 0; r < rank.size; ++r) {
    ::gamelan::testing::Rank other = rank;
    other.rank = r;
    const at::Tensor part =
        penalty([&](const at::Tensor& x) { return alone->forward(x); }, part_of(a, other)) /
        rank.size;
    loss = loss.defined() ? loss + part : part;
  }
  loss.backward();
  expect_close(*net, gradients(*alone), at::kDouble, "gradient penalty");
}
TEST(Ddp, ForwardsAndBackwardsMayInterleave) {
  run_threads("ddp_orders", {2, 3});
}

// Gradients and the module outlive the wrapper and the group.
GAMELAN_RANK_BODY(ddp_lifetime) {
  Net net;
  at::Tensor held;
  std::vector<at::Tensor> before;
  {
    auto group = form_group(rank);
    NetParallel ddp(net, group, small_buckets());
    group.reset();
    loss_of(ddp.forward(part_of(batch(at::kFloat), rank))).backward();
    held = net->first->weight.grad();
    before = gradients(*net);
  }
  const auto after = gradients(*net);
  for (std::size_t i = 0; i < before.size(); ++i) {
    EXPECT_TRUE(!before[i].defined() || torch::equal(before[i], after[i]));
  }
  EXPECT_TRUE(torch::equal(held, after[0]));
  net->zero_grad();
  loss_of(net->forward(batch(at::kFloat))).backward();
}
TEST(Ddp, GradientsOutliveTheWrapper) {
  run_threads("ddp_lifetime", {2});
}

}  // namespace
}  // namespace gamelan::train::testing
