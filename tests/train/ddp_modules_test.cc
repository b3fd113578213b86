// Modules with buffers, undefined gradients, several types and layouts.

#include "tests/train/ddp_model.h"

namespace gamelan::train::testing {
namespace {

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
    auto with = small_buckets(false);
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

}  // namespace
}  // namespace gamelan::train::testing
