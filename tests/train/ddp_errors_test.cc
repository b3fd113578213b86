#include <gmock/gmock.h>

#include <csignal>

#include "tests/train/ddp_model.h"

namespace gamelan::train::testing {
namespace {

using ::gamelan::testing::RankMode;
using ::gamelan::testing::run_ranks;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// A good pass after whatever happened: clean, and right.
void expect_works(NetParallel& ddp, const ::gamelan::testing::Rank& rank,
                  const std::string& after) {
  const at::Tensor whole = batch(at::kFloat, 3);
  ddp.module()->zero_grad();
  loss_of(ddp.forward(part_of(whole, rank), true, true)).backward();
  expect_close(*ddp.module(), reference_gradients(whole, rank.size, ~0U, true), at::kFloat, after);
}

// The message is the same on every rank.
GAMELAN_RANK_BODY(ddp_refusals) {
  const auto group = form_group(rank);
  const auto wrap = [&](torch::nn::Sequential module, DistributedDataParallelOptions options = {}) {
    return error_of(
        [&] { DistributedDataParallel<torch::nn::Sequential> ddp(module, group, options); });
  };
  using torch::nn::Linear;
  using torch::nn::Sequential;
  const bool odd = rank.rank == 1;
  EXPECT_THAT(wrap(Sequential(odd ? Linear(4, 3) : Linear(3, 4))),
              AllOf(HasSubstr("rank 1: has params[0] '0.weight' Float[3, 4] where rank 0 has "
                              "params[0] '0.weight' Float[4, 3]"),
                    Not(HasSubstr("rank 0:")), Not(HasSubstr("rank 2:"))));
  EXPECT_THAT(wrap(odd ? Sequential(Linear(3, 4), Linear(4, 1)) : Sequential(Linear(3, 4))),
              HasSubstr("rank 1: has params[2] '1.weight' Float[1, 4], which rank 0 has not"));
  EXPECT_THAT(wrap(odd ? Sequential(Linear(3, 4)) : Sequential(Linear(3, 4), Linear(4, 1))),
              HasSubstr("rank 1: has no params[2] '1.weight' Float[1, 4], which rank 0 has"));
  Sequential other(Linear(3, 4));
  if (odd) {
    other->to(at::kDouble);
  }
  EXPECT_THAT(wrap(other),
              HasSubstr("rank 1: has params[0] '0.weight' Double[4, 3] where rank 0 has"));
  DistributedDataParallelOptions options;
  options.find_unused_parameters = odd;
  EXPECT_THAT(wrap(Sequential(Linear(3, 4)), options), HasSubstr("find_unused_parameters=true"));

  Sequential frozen(Linear(3, 4));
  for (const at::Tensor& parameter : frozen->parameters()) {
    parameter.set_requires_grad(!odd);
  }
  EXPECT_THAT(wrap(frozen), HasSubstr("rank 1: none of the 2 parameters requires grad"));
  EXPECT_THAT(wrap(Sequential(torch::nn::ReLU())),
              HasSubstr("none of the 0 parameters requires grad"));
  Sequential complex(Linear(3, 4));
  complex->to(at::kComplexFloat);
  EXPECT_THAT(wrap(complex), HasSubstr("'0.weight': expected a real or boolean element type"));
  EXPECT_EQ(wrap(Sequential(Linear(3, 4))), "");
  EXPECT_THAT(error_of([&] { NetParallel ddp(Net(), nullptr); }),
              HasSubstr("expected a process group"));
}
TEST(DdpErrors, EveryRankSaysWhichReplicaDiffers) {
  run_threads("ddp_refusals", {3});
}

// In the same iteration, on every rank, by name; then all go on.
GAMELAN_RANK_BODY(ddp_missing) {
  const auto group = form_group(rank);
  Net net;
  NetParallel ddp(net, group, small_buckets(false));
  const at::Tensor mine = part_of(batch(at::kFloat), rank);
  for (int round = 0; round < 2; ++round) {
    // Rank 1 leaves out the optional layer, the others nothing.
    std::string error =
        error_of([&] { loss_of(ddp.forward(mine, rank.rank != 1, true)).backward(); });
    EXPECT_THAT(error, AllOf(HasSubstr("rank 1: no gradient for 2 of 10 parameters, "
                                       "'optional.weight', 'optional.bias'"),
                             HasSubstr("find_unused_parameters"), Not(HasSubstr("rank 0:"))));
    // All leave out the same.
    error = error_of([&] { loss_of(ddp.forward(mine, true, false)).backward(); });
    EXPECT_THAT(error,
                AllOf(HasSubstr("rank 0: no gradient for 2 of 10 parameters, 'spare.weight'"),
                      HasSubstr("rank 1:")));
    expect_works(ddp, rank, "after missing gradients");
  }
  EXPECT_THAT(error_of([&] {
                loss_of(ddp.forward(mine, true, true))
                    .backward({}, std::nullopt, false, {net->last->weight});
              }),
              HasSubstr("rank 0: no gradient for 9 of 10 parameters"));
  expect_works(ddp, rank, "after a partial backward");
}
TEST(DdpErrors, MissingGradientsAreNamedAtOnceOnEveryRank) {
  run_threads("ddp_missing", {2, 3});
  run_ranks(RankMode::kProcesses, 3, "ddp_missing");
}

struct Bomb : torch::autograd::Function<Bomb> {
  static at::Tensor forward(torch::autograd::AutogradContext*, const at::Tensor& x) {
    return x.clone();
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext*,
                                                 const torch::autograd::variable_list&) {
    throw std::runtime_error("boom");
  }
};
enum class Where { kNowhere, kBeforeAnyParameter, kInTheMiddle, kAfterEveryParameter };
struct FragileImpl : torch::nn::Module {
  FragileImpl()
      : first(register_module("first", torch::nn::Linear(6, 8))),
        second(register_module("second", torch::nn::Linear(8, 8))),
        last(register_module("last", torch::nn::Linear(8, 3))) {}
  at::Tensor forward(at::Tensor x, Where where) {
    x = where == Where::kAfterEveryParameter ? Bomb::apply(x) : x;
    x = torch::tanh(first(x));
    x = where == Where::kInTheMiddle ? Bomb::apply(x) : x;
    x = last(torch::tanh(second(x)));
    return where == Where::kBeforeAnyParameter ? Bomb::apply(x) : x;
  }
  torch::nn::Linear first, second, last;
};
TORCH_MODULE(Fragile);

GAMELAN_RANK_BODY(ddp_throws) {
  const auto group = form_group(rank);
  for (const bool with_buckets : {true, false}) {
    auto options = with_buckets ? small_buckets(false) : DistributedDataParallelOptions{};
    options.find_unused_parameters = with_buckets;
    Fragile net;
    DistributedDataParallel<Fragile> ddp(net, group, options);
    Fragile alone;
    for (std::size_t i = 0; i < net->parameters().size(); ++i) {
      const torch::NoGradGuard no_grad;
      alone->parameters()[i].copy_(net->parameters()[i]);
    }
    for (const Where where :
         {Where::kBeforeAnyParameter, Where::kInTheMiddle, Where::kAfterEveryParameter}) {
      const at::Tensor whole = batch(at::kFloat, static_cast<double>(where));
      const at::Tensor mine = part_of(whole, rank).clone().requires_grad_(true);
      const bool odd = rank.rank == 1;
      const std::string error =
          error_of([&] { loss_of(ddp.forward(mine, odd ? where : Where::kNowhere)).backward(); });
      EXPECT_THAT(error, odd ? HasSubstr("boom")
                             : HasSubstr("rank 1: its backward ended with an exception"));
      net->zero_grad();
      loss_of(ddp.forward(mine, Where::kNowhere)).backward();
      alone->zero_grad();
      loss_of(alone->forward(whole, Where::kNowhere)).backward();
      expect_close(*net, gradients(*alone), at::kFloat,
                   "after a throw at " + std::to_string(static_cast<int>(where)));
    }
    // Everybody throws.
    EXPECT_THAT(
        error_of([&] {
          loss_of(ddp.forward(part_of(batch(at::kFloat), rank), Where::kInTheMiddle)).backward();
        }),
        HasSubstr("boom"));
  }
}
TEST(DdpErrors, ARankThatThrowsInBackwardFailsTheOthersAtOnceAndAllGoOn) {
  run_threads("ddp_throws", {2, 3});
  run_ranks(RankMode::kProcesses, 3, "ddp_throws");
}

// Rank 1 fails between forward and backward: the ranks come out of step, which the next pass finds.
GAMELAN_RANK_BODY(ddp_out_of_step) {
  const auto group = form_group(rank);
  Net net;
  NetParallel ddp(net, group, small_buckets(false));
  expect_works(ddp, rank, "first");
  const at::Tensor mine = part_of(batch(at::kFloat), rank);
  if (rank.rank == 1) {
    ddp.forward(mine, true, true);
  }
  EXPECT_THAT(error_of([&] { loss_of(ddp.forward(mine, true, true)).backward(); }),
              HasSubstr(rank.size == 2 ? "numbers 2, 3 of ranks 0 to 1"
                                       : "numbers 2, 3, 2 of ranks 0 to 2"));
  expect_works(ddp, rank, "in step again");
  if (rank.rank == 1) {
    const torch::NoGradGuard no_grad;
    ddp.forward(mine, true, true);
  }
  expect_works(ddp, rank, "a forward without gradients is nobody's business");
}
TEST(DdpErrors, RanksOutOfStepAreToldSo) {
  run_threads("ddp_out_of_step", {2, 3});
}

// Runs a layer again in backward instead of keeping what it computed.
struct Checkpointed : torch::autograd::Function<Checkpointed> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x,
                            torch::nn::Linear layer) {
    context->save_for_backward({x});
    context->saved_data["layer"] = reinterpret_cast<std::int64_t>(layer.get());
    const torch::NoGradGuard no_grad;
    return layer(x);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& grads) {
    auto* layer = reinterpret_cast<torch::nn::LinearImpl*>(context->saved_data["layer"].toInt());
    const at::Tensor x = context->get_saved_variables()[0].detach().requires_grad_(true);
    {
      const at::AutoGradMode with_graph(true);
      const at::Tensor again = layer->forward(x);
      torch::autograd::backward({again}, {grads[0]});
    }
    return {x.grad(), at::Tensor()};
  }
};
struct CheckpointedNetImpl : torch::nn::Module {
  CheckpointedNetImpl()
      : first(register_module("first", torch::nn::Linear(6, 6))),
        twice(register_module("twice", torch::nn::Linear(6, 6))),
        never(register_module("never", torch::nn::Linear(2, 2))) {
    const torch::NoGradGuard no_grad;
    for (at::Tensor& parameter : parameters()) {
      parameter.copy_(pattern(parameter.sizes(), at::kFloat, 1) * 0.3);
    }
  }
  at::Tensor forward(const at::Tensor& x, bool checkpointed = true) {
    const auto layer = [&](const at::Tensor& h) {
      return checkpointed ? Checkpointed::apply(h, twice) : twice(h);
    };
    return layer(torch::tanh(layer(first(x))));
  }
  torch::nn::Linear first, twice, never;
};
TORCH_MODULE(CheckpointedNet);

GAMELAN_RANK_BODY(ddp_twice) {
  const auto group = form_group(rank);
  const at::Tensor whole = batch(at::kFloat);
  const at::Tensor mine = part_of(whole, rank);
  for (const bool find_unused : {true, false}) {
    auto options = small_buckets(false);
    options.find_unused_parameters = find_unused;
    CheckpointedNet net;
    DistributedDataParallel<CheckpointedNet> ddp(net, group, options);
    EXPECT_THAT(error_of([&] { loss_of(ddp.forward(mine)).backward(); }),
                AllOf(HasSubstr(find_unused ? "was not in the graph when the pass began"
                                            : "was marked ready twice"),
                      HasSubstr("'twice."), HasSubstr("set static_graph")));
  }
  auto options = small_buckets(false);
  options.static_graph = true;
  for (const bool as_view : {true, false}) {
    options.gradient_as_bucket_view = as_view;
    CheckpointedNet net;
    DistributedDataParallel<CheckpointedNet> ddp(net, group, options);
    CheckpointedNet alone;
    loss_of(alone->forward(whole, false)).backward();
    for (int step = 0; step < 3; ++step) {
      net->zero_grad(step != 2);
      loss_of(ddp.forward(mine)).backward();
      expect_close(*net, gradients(*alone), at::kFloat, "static graph");
    }
    const std::string error =
        error_of([&] { loss_of(ddp.forward(mine, rank.rank != 1)).backward(); });
    EXPECT_THAT(error,
                HasSubstr(rank.rank == 1 ? "rank 1: no gradient for 2 of 6 parameters" : "rank 1"));
    net->zero_grad();
    loss_of(ddp.forward(mine)).backward();
    expect_close(*net, gradients(*alone), at::kFloat, "static graph after an error");
  }
}
TEST(DdpErrors, GradientsThatComeTwiceNeedAStaticGraph) {
  run_threads("ddp_twice", {2});
}

GAMELAN_RANK_BODY(ddp_unsupported) {
  const auto group = form_group(rank);
  torch::nn::Sequential sparse(
      torch::nn::Embedding(torch::nn::EmbeddingOptions(10, 4).sparse(true)));
  DistributedDataParallel<torch::nn::Sequential> embedding(sparse, group);
  EXPECT_THAT(error_of([&] { embedding.forward(torch::arange(3)).sum().backward(); }),
              HasSubstr("parameter '0.weight' has a sparse gradient"));

  Net net;
  NetParallel ddp(net, group);
  EXPECT_THAT(error_of([&] {
                loss_of(ddp.forward(part_of(batch(at::kFloat), rank), true, true))
                    .backward({}, true, /*create_graph=*/true);
              }),
              HasSubstr("has a graph of its own (backward with create_graph)"));
  // create_graph makes a cycle of gradient and parameter.
  net->zero_grad();
  expect_works(ddp, rank, "after create_graph");
}
TEST(DdpErrors, WhatCannotBeAveragedIsRefusedByName) {
  run_threads("ddp_unsupported", {2});
}

// Rank 1 has a batch less and is done: the others must not wait for it until a deadline.
GAMELAN_RANK_BODY(ddp_uneven) {
  auto group = form_group(rank);
  Net net;
  auto ddp = std::make_unique<NetParallel>(net, group, small_buckets(false));
  expect_works(*ddp, rank, "while all have data");
  if (rank.rank == 1) {
    ddp.reset();
    group.reset();
    return;
  }
  const std::string error = error_of(
      [&] { loss_of(ddp->forward(part_of(batch(at::kFloat), rank), true, true)).backward(); });
  EXPECT_THAT(error, AllOf(HasSubstr("DistributedDataParallel"), HasSubstr("rank 1")));
}
TEST(DdpErrors, ARankThatIsDoneEarlierIsNamedByTheOthers) {
  run_threads("ddp_uneven", {2, 3});
}

struct Killer : torch::autograd::Function<Killer> {
  static at::Tensor forward(torch::autograd::AutogradContext*, const at::Tensor& x) {
    return x.clone();
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext*,
                                                 const torch::autograd::variable_list&) {
    raise(SIGKILL);
    return {};
  }
};

GAMELAN_RANK_BODY(ddp_killed) {
  const auto group = form_group(rank);
  Net net;
  NetParallel ddp(net, group, small_buckets(false));
  expect_works(ddp, rank, "before");
  const at::Tensor mine = part_of(batch(at::kFloat), rank);
  const std::string error = error_of([&] {
    at::Tensor output = ddp.forward(mine, true, true);
    loss_of(rank.rank == 1 ? Killer::apply(output) : output).backward();
  });
  EXPECT_THAT(error, AllOf(HasSubstr("DistributedDataParallel"), HasSubstr("rank 1")));
  EXPECT_NE(error_of([&] { loss_of(ddp.forward(mine, true, true)).backward(); }), "");
}
TEST(DdpErrors, AKilledRankIsNamedByTheSurvivors) {
  ::gamelan::testing::RankProcesses ranks(3, "ddp_killed");
  EXPECT_EQ(ranks.wait(0).code, 0);
  EXPECT_EQ(ranks.wait(2).code, 0);
  EXPECT_EQ(ranks.wait(1).signal, SIGKILL);
}

}  // namespace
}  // namespace gamelan::train::testing
