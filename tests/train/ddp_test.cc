#include "tests/train/ddp_model.h"
#include "train/torch_view.h"

namespace gamelan::train::testing {
namespace {

using ::gamelan::testing::RankMode;
using ::gamelan::testing::run_ranks;

// Small enough that the module has several buckets.
constexpr std::size_t kFirstBytes = 128;
constexpr std::size_t kCapBytes = 700;

DistributedDataParallelOptions options(bool find_unused = true) {
  DistributedDataParallelOptions result;
  result.first_bucket_bytes = kFirstBytes;
  result.bucket_cap_bytes = kCapBytes;
  result.find_unused_parameters = find_unused;
  return result;
}

void run_threads(const std::string& body, std::initializer_list<int> sizes,
                 const std::string& argument = "") {
  for (const int size : sizes) {
    run_ranks(RankMode::kThreads, size, body, argument);
  }
}

// Bar: gradients of N ranks against one process on the joined batch.
GAMELAN_RANK_BODY(ddp_gradients) {
  const auto group = form_group(rank);
  for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
    for (const bool as_view : {true, false}) {
      auto with = options();
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
    auto with = options(false);
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
    auto with = options(false);
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
    auto with = options();
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
    auto with = options();
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
  NetParallel ddp(net, group, options(false));
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
  NetParallel ddp(net, group, options());
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
  NetParallel ddp(net, group, options());
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

struct NormalisedImpl : torch::nn::Module {
  NormalisedImpl()
      : layer(register_module("layer", torch::nn::Linear(6, 4))),
        norm(register_module("norm", torch::nn::BatchNorm1d(4))) {}
  at::Tensor forward(const at::Tensor& x) { return norm(layer(x)); }
  torch::nn::Linear layer;
  torch::nn::BatchNorm1d norm;
};
TORCH_MODULE(Normalised);

GAMELAN_RANK_BODY(ddp_buffers) {
  const auto group = form_group(rank);
  Normalised net;
  DistributedDataParallel<Normalised> ddp(net, group);
  const at::Tensor whole = batch(at::kFloat);
  for (int step = 0; step < 3; ++step) {
    net->zero_grad();
    // Two forwards in one pass: the second replaces the buffers that the first's graph has seen.
    (loss_of(ddp.forward(part_of(whole, rank) * (rank.rank + 1))) +
     loss_of(ddp.forward(part_of(whole, rank))))
        .backward();
  }
  net->eval();
  {
    const torch::NoGradGuard no_grad;
    ddp.forward(part_of(whole, rank));
  }
  for (const auto& item : net->named_buffers()) {
    expect_same_everywhere(*group, item.value(), item.key());
  }
  EXPECT_EQ(net->norm->num_batches_tracked.item<std::int64_t>(), 6);

  DistributedDataParallelOptions own;
  own.broadcast_buffers = false;
  Normalised separate;
  DistributedDataParallel<Normalised> each(separate, group, own);
  loss_of(each.forward(part_of(whole, rank) * (rank.rank + 1))).backward();
  loss_of(each.forward(part_of(whole, rank) * (rank.rank + 1))).backward();
  const at::Tensor mean = separate->norm->running_mean.clone();
  const at::Tensor others = mean.clone();
  throw_if_error(group->broadcast(view_of(others)).wait());
  EXPECT_EQ(torch::equal(mean, others), rank.rank == 0);
}
TEST(Ddp, BuffersFollowRankZero) {
  run_threads("ddp_buffers", {2});
}

// A function whose second output gets no gradient when it is not used: its parameter's hook runs
// with an undefined gradient.
struct TwoOutputs : torch::autograd::Function<TwoOutputs> {
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context,
                                                const at::Tensor& a, const at::Tensor& b) {
    context->set_materialize_grads(false);
    return {a * 2, b * 2};
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext*,
                                                 const torch::autograd::variable_list& grads) {
    return {grads[0].defined() ? grads[0] * 2 : at::Tensor(),
            grads[1].defined() ? grads[1] * 2 : at::Tensor()};
  }
};
struct PairImpl : torch::nn::Module {
  PairImpl()
      : a(register_parameter("a", torch::ones({3}))),
        b(register_parameter("b", torch::ones({4}))) {}
  std::pair<at::Tensor, at::Tensor> forward() {
    auto both = TwoOutputs::apply(a, b);
    return {both[0], both[1]};
  }
  at::Tensor a, b;
};
TORCH_MODULE(Pair);

GAMELAN_RANK_BODY(ddp_undefined) {
  const auto group = form_group(rank);
  Pair net;
  DistributedDataParallel<Pair> ddp(net, group);
  for (int step = 0; step < 2; ++step) {
    net->zero_grad();
    ddp.forward().first.sum().backward();
    EXPECT_TRUE(torch::equal(net->a.grad(), torch::full({3}, 2.0F)));
    EXPECT_FALSE(net->b.grad().defined()) << "no rank has a gradient";
  }
  net->zero_grad();
  const auto [a, b] = ddp.forward();
  (rank.rank == 0 ? a.sum() + b.sum() : a.sum()).backward();
  EXPECT_LE(relative_difference(net->b.grad(), torch::full({4}, 2.0F / rank.size)), 1e-6);
}
TEST(Ddp, UndefinedGradientsCountAsUnused) {
  run_threads("ddp_undefined", {1, 2, 3});
}

// Two dtypes, a channels_last weight, a frozen parameter, a scalar one and an empty one.
struct MixedImpl : torch::nn::Module {
  MixedImpl()
      : wide(register_parameter("wide", pattern({4, 3}, at::kDouble, 1))),
        half(register_parameter("half", pattern({3}, at::kBFloat16, 2))),
        image(register_parameter(
            "image",
            pattern({2, 3, 2, 2}, at::kFloat, 3).contiguous(at::MemoryFormat::ChannelsLast))),
        frozen(register_parameter("frozen", torch::ones({3}), false)),
        scalar(register_parameter("scalar", torch::tensor(0.5F))),
        empty(register_parameter("empty", torch::empty({0, 3}))) {}
  std::vector<std::optional<at::Tensor>> forward(double x) {
    return {(wide * x).sum() + (half.to(at::kDouble) * x).sum(), std::nullopt,
            (image * x).square().sum().to(at::kDouble) * scalar + empty.sum() + frozen.sum()};
  }
  at::Tensor wide, half, image, frozen, scalar, empty;
};
TORCH_MODULE(Mixed);

GAMELAN_RANK_BODY(ddp_mixed) {
  const auto group = form_group(rank);
  for (const bool as_view : {true, false}) {
    auto with = options(false);
    with.gradient_as_bucket_view = as_view;
    Mixed net;
    DistributedDataParallel<Mixed> ddp(net, group, with);
    EXPECT_GE(ddp.bucket_plans().size(), 3U);
    for (int step = 0; step < 3; ++step) {
      net->zero_grad(step != 1);
      const auto output = ddp.forward(rank.rank + 1.0);
      (*output[0] + *output[2]).backward();
      // The mean of 1 … N and of its squares.
      const double mean = (rank.size + 1) / 2.0;
      const double square = (rank.size + 1) * (2 * rank.size + 1) / 6.0;
      EXPECT_LE(relative_difference(net->wide.grad(), torch::full({4, 3}, mean, at::kDouble)),
                1e-12);
      EXPECT_LE(relative_difference(net->half.grad().to(at::kDouble),
                                    torch::full({3}, mean, at::kDouble)),
                0.02);
      EXPECT_LE(relative_difference(net->image.grad(), net->image.detach() * square), 1e-6);
      EXPECT_EQ(net->image.grad().strides(), net->image.strides());
      EXPECT_FALSE(net->frozen.grad().defined());
      EXPECT_EQ(net->empty.grad().numel(), 0);
    }
  }
}
TEST(Ddp, MixedTypesLayoutsAndSizes) {
  run_threads("ddp_mixed", {2});
}

// Gradients and the module outlive the wrapper and the group.
GAMELAN_RANK_BODY(ddp_lifetime) {
  Net net;
  at::Tensor held;
  std::vector<at::Tensor> before;
  {
    auto group = form_group(rank);
    NetParallel ddp(net, group, options());
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
