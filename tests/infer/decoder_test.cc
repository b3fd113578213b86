// Decoders of every architecture against transformers' outputs (make_golden.py).
#include "infer/model/decoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/status.h"
#include "tests/apps/bloom_folder.h"
#include "tests/infer/model_fixture.h"
#include "tests/io/temporary_folder.h"

namespace gamelan::infer {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::Matrix;
using testing::TestContext;

// Logits are sums over 32 to 80 products of numbers of size 1 in f32.
constexpr double kTolerance = 1e-4;

class DecoderTest : public ::testing::TestWithParam<std::string> {
 protected:
  Matrix golden(const std::string& file) const {
    return testing::read_npy(testing::model_folder(GetParam()) + "/" + file + ".npy");
  }
  /// What a run whose rotation depends on the length so far gives; else the same as in one step.
  Matrix golden_if_other(const std::string& file) const {
    const bool other =
        std::filesystem::exists(testing::model_folder(GetParam()) + "/" + file + ".npy");
    return golden(other ? file : "logits");
  }
  TestContext context_;
};

TEST_P(DecoderTest, LogitsAreTransformers) {
  const auto model = testing::load_for_test(GetParam(), context_);
  ASSERT_NE(model, nullptr);
  const auto ids = testing::read_expected(GetParam()).input_ids;
  EXPECT_LT(testing::max_difference(testing::run_in_chunks(*model, ids, {}), golden("logits")),
            kTolerance);
}

TEST_P(DecoderTest, ChunksAndSingleTokensGiveTheSame) {
  const auto model = testing::load_for_test(GetParam(), context_);
  ASSERT_NE(model, nullptr);
  const auto ids = testing::read_expected(GetParam()).input_ids;
  const Matrix whole = testing::run_in_chunks(*model, ids, {});
  const Matrix chunked = testing::run_in_chunks(*model, ids, {5, 1});
  const Matrix single = testing::run_in_chunks(*model, ids, std::vector<std::int32_t>(13, 1));
  EXPECT_LT(testing::max_difference(chunked, golden_if_other("chunked")), kTolerance);
  EXPECT_LT(testing::max_difference(single, golden_if_other("stepwise")), kTolerance);
  if (GetParam() != "llama_dynamic" && GetParam() != "llama_longrope") {
    // The order of every sum is that of the positions, whatever the steps are.
    EXPECT_EQ(testing::max_difference(chunked, whole), 0);
    EXPECT_EQ(testing::max_difference(single, whole), 0);
  }
}

TEST_P(DecoderTest, ContinuesGreedilyAsTransformersDoes) {
  const auto model = testing::load_for_test(GetParam(), context_);
  ASSERT_NE(model, nullptr);
  const auto expected = testing::read_expected(GetParam());
  EXPECT_EQ(testing::continue_greedily(*model, expected.input_ids, expected.greedy.size()),
            expected.greedy);
}

/// The part of the logits' square that their error's may be.
double tolerance(kernels::WeightScheme scheme, std::int64_t layers) {
  if (scheme != kernels::WeightScheme::kInt4) {
    return testing::kNarrowTolerance;
  }
  // 16 levels for groups of 32 normal numbers leave an error of 0.0075 of their square, and so of
  // each product's. The weights have a variance of 1.3^2 / inputs (make_golden.py), scores of
  // normed rows therefore one of 1.3^4 = 2.9, and an error in queries and in keys is one of 2 * 2.9
  // times as much in the logarithm of attention's weights. To these a layer adds the errors of
  // values, output, gate, up and down, the head its own. At worst nothing but such outputs is in
  // the residual stream, and independent errors add up.
  return 0.0075 * ((2 * 2.9 + 5) * static_cast<double>(layers) + 1);
}

TEST_P(DecoderTest, NarrowWeightsAndCachesStayClose) {
  const auto ids = testing::read_expected(GetParam()).input_ids;
  const Matrix exact = golden_if_other("chunked");
  for (const kernels::WeightScheme scheme :
       {kernels::WeightScheme::kBF16, kernels::WeightScheme::kF16, kernels::WeightScheme::kInt8,
        kernels::WeightScheme::kInt8Dynamic, kernels::WeightScheme::kInt4}) {
    for (const tensor::DType cache :
         {tensor::DType::kBF16, tensor::DType::kF16, tensor::DType::kI8}) {
      const auto model =
          testing::load_for_test(GetParam(), context_, {.scheme = scheme, .parallel = {}});
      ASSERT_NE(model, nullptr);
      ASSERT_TRUE(model->create_cache({cache, 4}, 20).ok());
      const Matrix logits = testing::run_in_chunks(*model, ids, {5, 1});
      EXPECT_LT(testing::relative_square_error(logits, exact),
                tolerance(scheme, model->config().num_layers))
          << kernels::name_of(scheme) << ", cache " << tensor::name_of(cache);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, DecoderTest, ::testing::ValuesIn(testing::decoder_names()));

TEST(DecoderStepTest, RowsDoNotDependOnTheirNeighbours) {
  const TestContext context;
  const auto model = testing::load_for_test("mistral", context);
  ASSERT_NE(model, nullptr);
  const auto ids = testing::read_expected("mistral").input_ids;
  const Matrix alone = testing::run_in_chunks(*model, ids, {});
  // The same text, its beginning, and a part of it, together in one step.
  StepPlan plan;
  const std::vector<std::int32_t> lengths = {13, 6, 1};
  std::int32_t block = 0;
  for (const std::int32_t length : lengths) {
    plan.tokens.insert(plan.tokens.end(), ids.begin(), ids.begin() + length);
    const std::int32_t count = (length + 3) / 4;
    plan.sequences.push_back({length, 0, 1, static_cast<std::int32_t>(plan.blocks.size()), count});
    for (std::int32_t i = 0; i < count; ++i) {
      plan.blocks.push_back(19 - block++);
    }
  }
  Matrix logits(3, model->config().vocab_size);
  ASSERT_TRUE(model->forward(plan, logits.view()).ok());
  for (std::int64_t i = 0; i < 3; ++i) {
    const float* const expected = alone.row(lengths[static_cast<std::size_t>(i)] - 1);
    EXPECT_TRUE(std::equal(expected, expected + alone.columns, logits.row(i))) << i;
  }
}

TEST(DecoderStepTest, CopiesBlocksBeforeItWrites) {
  const TestContext context;
  const auto model = testing::load_for_test("gpt2", context);
  ASSERT_NE(model, nullptr);
  const auto ids = testing::read_expected("gpt2").input_ids;
  const Matrix expected = testing::run_in_chunks(*model, ids, {});
  StepPlan plan;
  plan.tokens.assign(ids.begin(), ids.begin() + 6);
  plan.blocks = {0, 1};
  plan.sequences = {{6, 0, 0, 0, 2}};
  ASSERT_TRUE(model->forward(plan, {nullptr, 0, model->config().vocab_size}).ok());
  // Another sequence takes over the second block, which is half full.
  plan.tokens.assign(ids.begin() + 6, ids.begin() + 7);
  plan.blocks = {0, 9};
  plan.copies = {{1, 9}};
  plan.sequences = {{1, 6, 1, 0, 2}};
  Matrix logits(1, model->config().vocab_size);
  ASSERT_TRUE(model->forward(plan, logits.view()).ok());
  EXPECT_TRUE(std::equal(logits.values.begin(), logits.values.end(), expected.row(6)));
}

TEST_P(DecoderTest, TakesTheMemoryOfItsStepsBeforeTheFirst) {
  for (const kernels::WeightScheme scheme :
       {kernels::WeightScheme::kF32, kernels::WeightScheme::kBF16, kernels::WeightScheme::kInt8,
        kernels::WeightScheme::kInt8Dynamic, kernels::WeightScheme::kInt4}) {
    base::StatusOr<io::ModelFiles> files = io::load_model_files(testing::model_folder(GetParam()));
    ASSERT_TRUE(files.ok()) << files.status();
    auto loaded = Decoder::load(*std::move(files), *context_, {.scheme = scheme, .parallel = {}});
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    Decoder& decoder = **loaded;
    // Larger than the arena's least block, so that nothing fits by chance.
    constexpr std::int32_t kTokens = 4000;
    constexpr std::int32_t kEach = 40;
    ASSERT_TRUE(decoder.create_cache({tensor::DType::kI8, 4, kTokens, kTokens}, 5000).ok());
    const std::int64_t planned = decoder.arena().allocations();
    Matrix logits(kTokens, decoder.config().vocab_size);
    // Texts of 40 tokens, of one, and a continuation of each of the former.
    for (const std::int32_t each : {kEach, 1}) {
      StepPlan plan;
      for (std::int32_t i = 0; i < kTokens / each; ++i) {
        const bool continues = each == 1 && i < kTokens / kEach;
        const std::int32_t position = continues ? kEach - 1 : 0;
        const auto first = static_cast<std::int32_t>(plan.blocks.size());
        for (std::int32_t block = 0; block * 4 < position + each; ++block) {
          plan.blocks.push_back(static_cast<std::int32_t>(plan.blocks.size()));
        }
        const auto count = static_cast<std::int32_t>(plan.blocks.size()) - first;
        plan.sequences.push_back({each, position, each, first, count});
        plan.tokens.insert(plan.tokens.end(), static_cast<std::size_t>(each), i % 97);
      }
      ASSERT_TRUE(decoder.forward(plan, logits.view()).ok());
      EXPECT_EQ(decoder.arena().allocations(), planned)
          << kernels::name_of(scheme) << ", texts of " << each;
    }
    EXPECT_GT(decoder.arena().peak_bytes(), std::size_t{1} << 20);
  }
}

TEST_P(DecoderTest, LetsItsMemoryGrowWhenNobodySaidHowMuch) {
  const auto model = testing::load_for_test(GetParam(), context_);
  ASSERT_NE(model, nullptr);
  ASSERT_TRUE(model->create_cache({tensor::DType::kF32, 4, 1, 1}, 20).ok());
  const auto ids = testing::read_expected(GetParam()).input_ids;
  EXPECT_LT(testing::max_difference(testing::run_in_chunks(*model, ids, {}), golden("logits")),
            kTolerance);
}

/// The most memory that the steps of a BLOOM of so many layers took.
std::size_t peak_of_layers(std::int64_t layers) {
  const io::TemporaryFolder folder;
  gamelan::testing::write_bloom_folder(folder.path(),
                                       {.heads = 3, .head_dim = 16, .layers = layers, .vocab = 97});
  const TestContext context;
  base::StatusOr<io::ModelFiles> files = io::load_model_files(folder.path());
  EXPECT_TRUE(files.ok()) << files.status();
  const auto decoder = Decoder::load(*std::move(files), *context, {});
  EXPECT_TRUE(decoder.ok()) << decoder.status();
  EXPECT_TRUE((*decoder)->create_cache({tensor::DType::kF32, 4}, 20).ok());
  testing::run_in_chunks(**decoder, std::vector<text::TokenId>(70, 5), {40, 10, 1, 1});
  return (*decoder)->arena().peak_bytes();
}

TEST(DecoderStepTest, LayersShareOneMemory) {
  const std::size_t two = peak_of_layers(2);
  EXPECT_GT(two, 40U * 48 * 4);
  for (const std::int64_t layers : {3, 9}) {
    EXPECT_EQ(peak_of_layers(layers), two) << layers;
  }
}

TEST(DecoderStepTest, BadPlansAreRefused) {
  const TestContext context;
  const auto model = testing::load_for_test("gpt2", context);
  ASSERT_NE(model, nullptr);
  Matrix logits(1, model->config().vocab_size);
  const auto message = [&](const StepPlan& plan) {
    return std::string(model->forward(plan, logits.view()).message());
  };
  const StepPlan good{{5, 6}, {{2, 0, 1, 0, 1}}, {3}, {}};
  EXPECT_TRUE(model->forward(good, logits.view()).ok());
  StepPlan plan = good;
  plan.tokens[1] = 97;
  EXPECT_THAT(message(plan), HasSubstr("token 97, expected 0 … 96"));
  plan = good;
  plan.blocks[0] = 20;
  EXPECT_THAT(message(plan), HasSubstr("block 20, the cache has 20"));
  plan = good;
  plan.sequences[0].position = 3;
  EXPECT_THAT(message(plan), HasSubstr("5 tokens in blocks of 4"));
  plan = good;
  plan.tokens.push_back(1);
  EXPECT_THAT(message(plan), HasSubstr("its sequences have 2 tokens, it has 3"));
  plan = good;
  plan.sequences[0].position = 63;
  plan.sequences[0].block_count = 1;
  EXPECT_THAT(message(plan), HasSubstr("65 tokens, the model has 64 positions"));
  plan = good;
  plan.copies = {{0, -1}};
  EXPECT_THAT(message(plan), HasSubstr("copies block 0 to -1"));
  Matrix narrow(1, 96);
  EXPECT_THAT(std::string(model->forward(good, narrow.view()).message()),
              HasSubstr("expected room for logits [1, 97], got [1, 96]"));
}

/// A copy of a model's folder that a test may spoil.
class SpoiledFolder {
 public:
  explicit SpoiledFolder(const std::string& name)
      : path_(::testing::TempDir() + "spoiled-" + name + "-" + std::to_string(::getpid())) {
    std::filesystem::remove_all(path_);
    std::filesystem::copy(testing::model_folder(name), path_);
  }
  ~SpoiledFolder() { std::filesystem::remove_all(path_); }
  std::string load_error() const {
    const TestContext context;
    const auto model = load_causal_model(path_, *context, {});
    return model.ok() ? "" : std::string(model.status().message());
  }
  void replace(const std::string& file, const std::string& from, const std::string& to) const {
    std::ifstream in(path_ + "/" + file, std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(in)), {});
    const std::size_t at = bytes.find(from);
    ASSERT_NE(at, bytes.npos) << from;
    bytes.replace(at, from.size(), to);
    std::ofstream(path_ + "/" + file, std::ios::binary) << bytes;
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

TEST(DecoderLoadTest, ErrorsNameFileAndTensor) {
  {
    const SpoiledFolder folder("gpt2");
    folder.replace("model.safetensors", "h.1.mlp.c_fc.weight", "h.1.mlp.c_fx.weight");
    EXPECT_THAT(folder.load_error(), AllOf(HasSubstr(folder.path()), HasSubstr("no tensor"),
                                           HasSubstr("h.1.mlp.c_fc.weight")));
  }
  {
    const SpoiledFolder folder("gpt2");
    folder.replace("config.json", "\"n_embd\": 32", "\"n_embd\": 64");
    EXPECT_THAT(folder.load_error(), AllOf(HasSubstr("model.safetensors"), HasSubstr("wte.weight"),
                                           HasSubstr("[97, 64]"), HasSubstr("[97, 32]")));
  }
  {
    const SpoiledFolder folder("gpt2");
    std::filesystem::resize_file(folder.path() + "/model.safetensors", 5000);
    EXPECT_THAT(folder.load_error(), HasSubstr("model.safetensors"));
  }
  {
    const SpoiledFolder folder("gpt2");
    folder.replace("config.json", "\"model_type\": \"gpt2\"", "\"model_type\": \"mamba\"");
    EXPECT_THAT(folder.load_error(), AllOf(HasSubstr("mamba"), HasSubstr("bloom"),
                                           HasSubstr("gpt_neox"), HasSubstr("qwen2")));
  }
}

TEST(DecoderLoadTest, AnEncoderIsRefused) {
  const TestContext context;
  const auto model = load_causal_model(testing::model_folder("bert"), *context, {});
  EXPECT_THAT(std::string(model.status().message()),
              AllOf(HasSubstr("bert"), HasSubstr("does not"), HasSubstr("bloom, gpt2")));
}

TEST(DecoderLoadTest, ADeviceWithoutAnImplementationIsRefused) {
  const TestContext context;
  kernels::Context elsewhere = *context;
  elsewhere.device.type = static_cast<tensor::DeviceType>(7);
  const auto model = load_causal_model(testing::model_folder("gpt2"), elsewhere, {});
  EXPECT_EQ(model.status().code(), base::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(model.status().message()),
              AllOf(HasSubstr("gpt2"), HasSubstr("the CPU"), HasSubstr("got type 7")));
}

TEST(DecoderLoadTest, ParallelSizesNeedRanks) {
  const TestContext context;
  LoadOptions options;
  options.parallel.tensor_size = 2;
  const auto model = load_causal_model(testing::model_folder("gpt2"), *context, options);
  EXPECT_THAT(std::string(model.status().message()), HasSubstr("expected as many ranks, got 1"));
}

}  // namespace
}  // namespace gamelan::infer
