#include <gmock/gmock.h>
#include <torch/torch.h>

#include <array>
#include <map>
#include <optional>
#include <tuple>

#include "train/ddp/bucket_plan.h"
#include "train/ddp/pass_report.h"
#include "train/ddp/visit_tensors.h"

namespace outside {

struct Output {
  at::Tensor logits;
  std::vector<at::Tensor> hidden;
};
template <class Visitor>
void visit_tensors(const Output& output, Visitor&& visit) {
  visit(output.logits);
  gamelan::train::visit_tensors(output.hidden, visit);
}

}  // namespace outside

namespace gamelan::train {
namespace {

using tensor::DType;
using ::testing::ElementsAre;

template <class T>
std::vector<std::int64_t> sizes_in(const T& value) {
  std::vector<std::int64_t> sizes;
  visit_tensors(value, [&sizes](const at::Tensor& tensor) { sizes.push_back(tensor.numel()); });
  return sizes;
}

TEST(VisitTensors, WalksWhatModulesReturn) {
  const auto t = [](std::int64_t size) { return torch::ones({size}); };
  EXPECT_THAT(sizes_in(t(1)), ElementsAre(1));
  EXPECT_THAT(sizes_in(std::tuple(t(1), 3, std::string("x"), t(2))), ElementsAre(1, 2));
  EXPECT_THAT(sizes_in(std::pair(t(1), std::vector{t(2), t(3)})), ElementsAre(1, 2, 3));
  EXPECT_THAT(sizes_in(std::array{t(4), t(5)}), ElementsAre(4, 5));
  EXPECT_THAT(sizes_in(std::map<std::string, at::Tensor>{{"a", t(1)}, {"b", t(2)}}),
              ElementsAre(1, 2));
  EXPECT_THAT(sizes_in(std::optional<at::Tensor>()), ElementsAre());
  EXPECT_THAT(sizes_in(std::optional(t(6))), ElementsAre(6));
  EXPECT_THAT(sizes_in(std::make_shared<std::vector<at::Tensor>>(2, t(7))), ElementsAre(7, 7));
  torch::OrderedDict<std::string, at::Tensor> dict;
  dict.insert("x", t(8));
  EXPECT_THAT(sizes_in(dict), ElementsAre(8));
  EXPECT_THAT(sizes_in(std::vector{outside::Output{t(1), {t(2), t(3)}}}), ElementsAre(1, 2, 3));
}

TEST(BucketPlan, ClosesTheFirstBucketOfADtypeEarly) {
  const std::vector<GradientSize> sizes(6, {100, DType::kF32});
  const std::vector<std::size_t> order = {5, 4, 3, 2, 1, 0};
  const auto plans = plan_buckets(sizes, order, 400, 900);
  ASSERT_EQ(plans.size(), 3U);
  EXPECT_THAT(plans[0].parameters, ElementsAre(5));
  EXPECT_THAT(plans[1].parameters, ElementsAre(4, 3, 2));
  EXPECT_THAT(plans[2].parameters, ElementsAre(1, 0));
  // 100 f32 take 112 elements: each starts at 64 bytes.
  EXPECT_THAT(plans[1].offsets, ElementsAre(0, 112, 224));
  EXPECT_EQ(plans[1].count, 336U);
}

TEST(BucketPlan, KeepsDtypesApartAndSortsByCompletion) {
  const std::vector<GradientSize> sizes = {
      {8, DType::kF32}, {8, DType::kBF16}, {8, DType::kF32}, {0, DType::kBF16}, {8, DType::kF64}};
  const std::vector<std::size_t> order = {1, 0, 4, 3, 2};
  const auto plans = plan_buckets(sizes, order, 1U << 20, 25U << 20);
  ASSERT_EQ(plans.size(), 3U);
  EXPECT_THAT(plans[0].parameters, ElementsAre(4));
  EXPECT_THAT(plans[1].parameters, ElementsAre(1, 3));
  EXPECT_THAT(plans[1].offsets, ElementsAre(0, 32));
  EXPECT_EQ(plans[1].dtype, DType::kBF16);
  EXPECT_THAT(plans[2].parameters, ElementsAre(0, 2));
}

TEST(BucketPlan, NoLimitAndNoRoom) {
  const std::vector<GradientSize> sizes(3, {10, DType::kF64});
  const std::vector<std::size_t> order = {0, 1, 2};
  EXPECT_EQ(plan_buckets(sizes, order, 0, 0).size(), 3U);
  EXPECT_EQ(plan_buckets(sizes, order, SIZE_MAX, SIZE_MAX).size(), 1U);
  EXPECT_TRUE(plan_buckets({}, {}, 0, 0).empty());
}

// What 300 ranks add up to in every type that gradients have.
TEST(PassTrailer, SurvivesTheSumInEveryType) {
  for (const at::ScalarType type : {at::kFloat, at::kDouble, at::kHalf, at::kBFloat16}) {
    const auto sum_of = [type](PassStatus odd_status, std::int64_t odd_forward) {
      at::Tensor sum = torch::zeros({static_cast<std::int64_t>(PassTrailer::count(3))});
      for (int rank = 0; rank < 300; ++rank) {
        const at::Tensor one = torch::empty_like(sum).to(type);
        PassTrailer::write(one, rank == 7 ? odd_status : PassStatus::kComplete,
                           rank == 7 ? odd_forward : 9,
                           {1, 0, rank == 7 ? std::uint8_t{1} : std::uint8_t{0}});
        sum += one.to(at::kFloat);
      }
      return PassTrailer(sum.to(type));
    };
    const PassTrailer good = sum_of(PassStatus::kComplete, 9);
    EXPECT_TRUE(good.all_complete());
    EXPECT_TRUE(good.used_anywhere(0));
    EXPECT_FALSE(good.used_anywhere(1));
    EXPECT_TRUE(good.used_anywhere(2));
    EXPECT_FALSE(sum_of(PassStatus::kMissing, 9).all_complete());
    EXPECT_FALSE(sum_of(PassStatus::kComplete, 10).all_complete());
  }
}

}  // namespace
}  // namespace gamelan::train
