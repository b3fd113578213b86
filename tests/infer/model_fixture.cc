#include "tests/infer/model_fixture.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

namespace gamelan::infer::testing {
namespace {

constexpr std::int64_t kBlocks = 20;
constexpr std::int64_t kBlockTokens = 4;

std::string read_all(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

std::string model_folder(const std::string& name) {
  return std::string(GAMELAN_SOURCE_DIR "/tests/infer/data/") + name;
}

std::vector<std::string> decoder_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(model_folder(""))) {
    const std::string name = entry.path().filename();
    if (name.rfind("bert", 0) != 0) {
      names.push_back(name);
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

Matrix read_npy(const std::string& path) {
  const std::string bytes = read_all(path);
  const std::size_t shape = bytes.find("'shape': (");
  if (bytes.compare(0, 6, "\x93NUMPY") != 0 || shape == bytes.npos ||
      bytes.find("'descr': '<f4'") == bytes.npos) {
    ADD_FAILURE() << path << " is not a NumPy file of f32";
    return {};
  }
  std::istringstream numbers(bytes.substr(shape + 10));
  std::int64_t rows = 0;
  std::int64_t columns = 1;
  char comma = 0;
  numbers >> rows >> comma >> columns;
  Matrix matrix(rows, columns);
  const std::size_t size = matrix.values.size() * sizeof(float);
  if (bytes.size() < size) {
    ADD_FAILURE() << path << " is too short";
    return {};
  }
  std::memcpy(matrix.values.data(), bytes.data() + bytes.size() - size, size);
  return matrix;
}

double max_difference(const Matrix& a, const Matrix& b) {
  if (a.rows != b.rows || a.columns != b.columns) {
    return std::numeric_limits<double>::infinity();
  }
  double largest = 0;
  for (std::size_t i = 0; i < a.values.size(); ++i) {
    const double difference = std::abs(static_cast<double>(a.values[i]) - b.values[i]);
    largest = difference <= largest ? largest : difference;  // a NaN wins
  }
  return largest;
}

double relative_square_error(const Matrix& values, const Matrix& exact) {
  if (values.rows != exact.rows || values.columns != exact.columns) {
    return std::numeric_limits<double>::infinity();
  }
  double size = 0;
  double error = 0;
  for (std::size_t i = 0; i < exact.values.size(); ++i) {
    const double difference = static_cast<double>(values.values[i]) - exact.values[i];
    size += static_cast<double>(exact.values[i]) * exact.values[i];
    error += difference * difference;
  }
  return error / size;
}

Expected read_expected(const std::string& name) {
  const auto json = nlohmann::json::parse(read_all(model_folder(name) + "/expected.json"));
  Expected expected;
  expected.input_ids = json.at("input_ids").get<std::vector<text::TokenId>>();
  expected.greedy = json.value("greedy", std::vector<text::TokenId>());
  expected.types = json.value("types", std::vector<text::TokenId>());
  expected.classes = json.value("classes", std::vector<float>());
  return expected;
}

TestContext::TestContext(int threads)
    : pool_({.threads = threads, .spin = std::chrono::microseconds(0)}),
      context_{.threads = &pool_, .workspace = &arena_} {}

std::unique_ptr<CausalModel> load_for_test(const std::string& name, const TestContext& context,
                                           const LoadOptions& options) {
  LoadOptions exact = options;
  exact.scheme = options.scheme.value_or(kernels::WeightScheme::kF32);
  auto model = load_causal_model(model_folder(name), *context, exact);
  if (!model.ok()) {
    ADD_FAILURE() << name << ": " << model.status();
    return nullptr;
  }
  if (options.parallel.group == nullptr) {
    const base::Status status =
        (*model)->create_cache({tensor::DType::kF32, kBlockTokens}, kBlocks);
    EXPECT_TRUE(status.ok()) << status;
  }
  return *std::move(model);
}

std::vector<std::int32_t> scattered_blocks(std::int64_t count) {
  std::vector<std::int32_t> blocks;
  for (std::int64_t i = 0; i < count; ++i) {
    blocks.push_back(static_cast<std::int32_t>((7 * i + 3) % kBlocks));
  }
  return blocks;
}

Matrix run_in_chunks(CausalModel& model, const std::vector<text::TokenId>& ids,
                     const std::vector<std::int32_t>& sizes) {
  Matrix logits(static_cast<std::int64_t>(ids.size()), model.config().vocab_size);
  std::int32_t position = 0;
  const auto step = [&](std::int32_t tokens) {
    StepPlan plan;
    plan.tokens.assign(ids.begin() + position, ids.begin() + position + tokens);
    plan.blocks = scattered_blocks((position + tokens + kBlockTokens - 1) / kBlockTokens);
    plan.sequences = {{tokens, position, tokens, 0, static_cast<std::int32_t>(plan.blocks.size())}};
    const base::Status status = model.forward(
        plan, {logits.values.data() + position * logits.columns, tokens, logits.columns});
    EXPECT_TRUE(status.ok()) << status;
    position += tokens;
  };
  for (const std::int32_t size : sizes) {
    step(size);
  }
  if (position < static_cast<std::int32_t>(ids.size())) {
    step(static_cast<std::int32_t>(ids.size()) - position);
  }
  return logits;
}

std::vector<text::TokenId> continue_greedily(CausalModel& model, std::vector<text::TokenId> ids,
                                             std::size_t count) {
  std::vector<text::TokenId> produced;
  std::int32_t position = 0;
  while (produced.size() < count) {
    StepPlan plan;
    plan.tokens.assign(ids.begin() + position, ids.end());
    const auto tokens = static_cast<std::int32_t>(plan.tokens.size());
    plan.blocks = scattered_blocks((position + tokens + kBlockTokens - 1) / kBlockTokens);
    plan.sequences = {{tokens, position, 1, 0, static_cast<std::int32_t>(plan.blocks.size())}};
    Matrix logits(1, model.config().vocab_size);
    const base::Status status = model.forward(plan, logits.view());
    if (!status.ok()) {
      ADD_FAILURE() << status;
      return produced;
    }
    position += tokens;
    const auto best = std::max_element(logits.values.begin(), logits.values.end());
    produced.push_back(static_cast<text::TokenId>(best - logits.values.begin()));
    ids.push_back(produced.back());
  }
  return produced;
}

}  // namespace gamelan::infer::testing
