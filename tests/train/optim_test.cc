#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "train/optim/clip_grad.h"
#include "train/optim/lr_schedule.h"
#include "train/optim/make_optimizer.h"
#include "train/optim/optimizer_state.h"

namespace gamelan::train {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const c10::Error& error) {
    return error.what_without_backtrace();
  }
  return "";
}

at::Tensor with_grad(std::vector<float> grad) {
  at::Tensor parameter = torch::zeros({static_cast<std::int64_t>(grad.size())});
  parameter.mutable_grad() = torch::tensor(grad);
  return parameter;
}

// Values of torch.nn.utils.clip_grad_norm_.
TEST(ClipGradTest, IsPythons) {
  const std::vector<at::Tensor> parameters = {with_grad({1, 2, 3}), torch::zeros({4}),
                                              with_grad({-4, 5, 0.5})};
  EXPECT_FLOAT_EQ(grad_norm(parameters), 7.433034420013428);
  EXPECT_FLOAT_EQ(clip_grad_norm(parameters, 1.0), 7.433034420013428);
  EXPECT_TRUE(torch::allclose(
      parameters[0].grad(),
      torch::tensor({0.1345345377922058, 0.2690690755844116, 0.40360361337661743}, torch::kFloat),
      1e-7, 0));
  EXPECT_TRUE(torch::allclose(
      parameters[2].grad(),
      torch::tensor({-0.5381381511688232, 0.672672688961029, 0.0672672688961029}, torch::kFloat),
      1e-7, 0));
  EXPECT_FALSE(parameters[1].grad().defined());
}

TEST(ClipGradTest, LeavesSmallGradientsAlone) {
  const std::vector<at::Tensor> parameters = {with_grad({0.3F, 0.4F})};
  EXPECT_FLOAT_EQ(clip_grad_norm(parameters, 1.0), 0.5);
  EXPECT_TRUE(torch::equal(parameters[0].grad(), torch::tensor({0.3F, 0.4F})));
  EXPECT_EQ(clip_grad_norm({}, 1.0), 0.0);
  EXPECT_TRUE(std::isnan(clip_grad_norm({with_grad({std::nanf("")})}, 1.0)));
}

std::vector<double> factors(std::int64_t warmup, std::int64_t training) {
  std::vector<double> result;
  for (std::int64_t step = 0; step < 8; ++step) {
    result.push_back(schedule_factor({ScheduleType::kLinear, warmup, training}, step));
  }
  return result;
}

// Values of transformers.get_linear_schedule_with_warmup.
TEST(ScheduleTest, IsTransformers) {
  EXPECT_THAT(factors(0, 5), ElementsAre(1.0, 0.8, 0.6, 0.4, 0.2, 0.0, 0.0, 0.0));
  EXPECT_THAT(factors(2, 6), ElementsAre(0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0));
  EXPECT_THAT(factors(3, 3), ElementsAre(0.0, 1.0 / 3, 2.0 / 3, 0.0, 0.0, 0.0, 0.0, 0.0));
  EXPECT_EQ(schedule_factor({ScheduleType::kConstant, 4, 10}, 2), 0.5);
  EXPECT_EQ(schedule_factor({ScheduleType::kConstant, 4, 10}, 9), 1.0);
  EXPECT_THAT(error_of([] { schedule_type_from_name("cosine"); }), HasSubstr("got 'cosine'"));
}

TEST(ScheduleTest, SetsTheRatesOfAllGroupsAndContinues) {
  const at::Tensor a = torch::zeros({1});
  const at::Tensor b = torch::zeros({1});
  torch::optim::SGD optimizer(
      {torch::optim::OptimizerParamGroup({a}, std::make_unique<torch::optim::SGDOptions>(1.0)),
       torch::optim::OptimizerParamGroup({b}, std::make_unique<torch::optim::SGDOptions>(0.5))},
      torch::optim::SGDOptions(1.0));
  const ScheduleOptions options{ScheduleType::kLinear, 2, 6};
  LrSchedule schedule(optimizer, options);
  EXPECT_EQ(optimizer.param_groups()[0].options().get_lr(), 0.0);
  for (int i = 0; i < 3; ++i) {
    schedule.step();
  }
  EXPECT_EQ(optimizer.param_groups()[0].options().get_lr(), 0.75);
  EXPECT_EQ(optimizer.param_groups()[1].options().get_lr(), 0.375);
  const nlohmann::json state = schedule.state();

  torch::optim::SGD other({a}, torch::optim::SGDOptions(3.0));
  LrSchedule wrong(other, options);
  EXPECT_THAT(error_of([&] { wrong.load_state(state); }), HasSubstr("1 'base_lrs'"));
  optimizer.param_groups()[0].options().set_lr(9);
  LrSchedule again(optimizer, options);
  again.load_state(state);
  EXPECT_EQ(again.last_step(), 3);
  EXPECT_EQ(again.last_lr(), 0.75);
  EXPECT_EQ(optimizer.param_groups()[0].options().get_lr(), 0.75);
}

struct NetImpl : torch::nn::Module {
  NetImpl() {
    dense = register_module("dense", torch::nn::Linear(4, 3));
    norm = register_module("anything", torch::nn::LayerNorm(torch::nn::LayerNormOptions({3})));
    own = register_module("attention_norm",
                          torch::nn::Linear(torch::nn::LinearOptions(3, 3).bias(false)));
    frozen = register_parameter("frozen", torch::ones({2}), /*requires_grad=*/false);
    register_parameter("relative_attention_bias", torch::ones({2}));
    // A shared one: under two names, once in the optimizer.
    register_module("tied", dense);
  }
  torch::Tensor forward(torch::Tensor x) { return own(norm(dense(x))); }
  torch::nn::Linear dense{nullptr};
  torch::nn::LayerNorm norm{nullptr};
  torch::nn::Linear own{nullptr};
  torch::Tensor frozen;
};
TORCH_MODULE(Net);

TEST(DecayGroupsTest, SplitsAsHuggingFace) {
  Net net;
  const DecayGroups groups = decay_groups(*net);
  EXPECT_THAT(groups.decay_names, ElementsAre("dense.weight"));
  EXPECT_THAT(groups.no_decay_names,
              UnorderedElementsAre("relative_attention_bias", "dense.bias", "anything.weight",
                                   "anything.bias", "attention_norm.weight"));
}

TEST(MakeOptimizerTest, GivesEachGroupItsDecay) {
  Net net;
  const DecayGroups groups = decay_groups(*net);
  for (const char* name : {"adamw", "adam", "sgd"}) {
    // 0.01 is AdamW's own default, which LibTorch takes for "not given".
    for (const double decay : {0.0, 0.01, 0.1}) {
      OptimizerOptions options;
      options.name = name;
      options.learning_rate = 1e-3;
      options.weight_decay = decay;
      const auto optimizer = make_optimizer(options, groups);
      const OptimizerState state = optimizer_state(*optimizer);
      EXPECT_EQ(state.param_groups[0]["weight_decay"], decay) << name;
      EXPECT_EQ(state.param_groups[1]["weight_decay"], 0.0) << name;
      EXPECT_EQ(state.param_groups[1]["lr"], 1e-3) << name;
      EXPECT_EQ(state.param_groups[0]["params"], nlohmann::json({0}));
      EXPECT_EQ(state.param_groups[1]["params"], nlohmann::json({1, 2, 3, 4, 5}));
    }
  }
  EXPECT_THAT(error_of([&] {
                OptimizerOptions options;
                options.name = "lion";
                make_optimizer(options, groups);
              }),
              HasSubstr("got 'lion'"));
}

/// A few steps that depend on everything an optimizer keeps.
void run_steps(Net& net, torch::optim::Optimizer& optimizer, int first, int last) {
  for (int step = first; step < last; ++step) {
    torch::manual_seed(static_cast<std::uint64_t>(step));
    optimizer.zero_grad();
    net(torch::randn({5, 4})).pow(2).sum().backward();
    optimizer.step();
  }
}

Net copy_of(Net& net) {
  Net copy;
  torch::NoGradGuard no_grad;
  auto from = net->named_parameters();
  for (auto& item : copy->named_parameters()) {
    item.value().copy_(from[item.key()]);
  }
  return copy;
}

class OptimizerStateTest : public ::testing::TestWithParam<const char*> {};

TEST_P(OptimizerStateTest, ContinuesBitExactly) {
  OptimizerOptions options;
  options.name = GetParam();
  options.learning_rate = 0.01;
  options.weight_decay = 0.1;
  options.momentum = 0.9;
  torch::manual_seed(1);
  Net net;
  const auto optimizer = make_optimizer(options, decay_groups(*net));
  run_steps(net, *optimizer, 0, 4);
  const OptimizerState state = optimizer_state(*optimizer);
  EXPECT_FALSE(state.state.contains(1)) << "this parameter never had a gradient";
  Net other = copy_of(net);
  options.learning_rate = 5;
  const auto continued = make_optimizer(options, decay_groups(*other));
  load_optimizer_state(*continued, state);
  EXPECT_EQ(optimizer_state(*continued).param_groups, state.param_groups);
  run_steps(net, *optimizer, 4, 8);
  run_steps(other, *continued, 4, 8);
  auto expected = net->named_parameters();
  for (const auto& item : other->named_parameters()) {
    EXPECT_TRUE(torch::equal(item.value(), expected[item.key()])) << item.key();
  }
}

INSTANTIATE_TEST_SUITE_P(All, OptimizerStateTest, ::testing::Values("adamw", "adam", "sgd"));

TEST(OptimizerStateTest, RefusesWhatDoesNotFit) {
  Net net;
  OptimizerOptions options;
  const auto optimizer = make_optimizer(options, decay_groups(*net));
  run_steps(net, *optimizer, 0, 1);
  const OptimizerState good = optimizer_state(*optimizer);
  const auto error = [&](const std::function<void(OptimizerState&)>& spoil) {
    OptimizerState bad = good;
    spoil(bad);
    return error_of([&] { load_optimizer_state(*optimizer, bad); });
  };
  EXPECT_THAT(error([](auto& s) { s.type = "SGD"; }),
              HasSubstr("expected that of AdamW, got that of SGD"));
  EXPECT_THAT(error([](auto& s) { s.param_groups.erase(0); }),
              HasSubstr("expected 2 parameter groups"));
  EXPECT_THAT(error([](auto& s) { s.param_groups[1]["params"].erase(0); }), HasSubstr("group 1"));
  EXPECT_THAT(error([](auto& s) { s.param_groups[0].erase("lr"); }), HasSubstr("'lr'"));
  EXPECT_THAT(error([](auto& s) { s.param_groups[0]["betas"] = "x"; }), HasSubstr("'betas'"));
  EXPECT_THAT(error([](auto& s) { s.state[99] = s.state[0]; }), HasSubstr("got 99"));
  EXPECT_THAT(error([](auto& s) { s.state[0].erase("step"); }), HasSubstr("'step'"));
  EXPECT_THAT(error([](auto& s) {
                s.state[0]["exp_avg"] = torch::zeros({4, 3});
              }),
              HasSubstr("expected 'exp_avg' of shape [3, 4]"));
  EXPECT_THAT(error([](auto& s) {
                s.state[0]["velocity"] = torch::zeros({3, 4});
              }),
              HasSubstr("no state named 'velocity'"));
  EXPECT_EQ(error_of([&] { load_optimizer_state(*optimizer, good); }), "");
  torch::optim::Adagrad other(net->parameters());
  EXPECT_THAT(error_of([&] { optimizer_state(other); }), HasSubstr("AdamW, Adam or SGD"));
}

}  // namespace
}  // namespace gamelan::train
