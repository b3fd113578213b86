// Against transformers: golden/generation.json by make_generation_golden.py,
// golden/group_beams.json by make_group_beam_golden.py.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "infer/engine/engine.h"
#include "infer/sampling/logits_processor.h"
#include "infer/sampling/sampler.h"
#include "model_fixture.h"

namespace gamelan::infer {
namespace {

using Json = nlohmann::json;
using Tokens = std::vector<text::TokenId>;

Json read_golden(const std::string& name) {
  std::ifstream file(std::string(GAMELAN_SOURCE_DIR) + "/tests/infer/golden/" + name);
  return Json::parse(file);
}

Json golden(const std::string& part) {
  return read_golden("generation.json").at(part);
}

TEST(GenerationGolden, LogitsBecomeTheProbabilitiesThatTransformersDrawsFrom) {
  int cases = 0;
  for (const Json& one : golden("sampling")) {
    Request request;
    SamplingOptions& sampling = request.sampling;
    sampling.temperature = one["temperature"];
    sampling.top_k = one["top_k"];
    sampling.top_p = one["top_p"];
    sampling.min_p = one["min_p"];
    sampling.repetition_penalty = one["repetition_penalty"];
    request.min_new_tokens = one["min_new_tokens"];
    request.bad_words = one["bad_words"].get<std::vector<Tokens>>();
    const auto ids = one["input_ids"].get<Tokens>();
    const std::int64_t prompt = one["prompt_tokens"];
    TokenCounts counts;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      counts[ids[i]] += static_cast<std::int64_t>(i) < prompt ? 0 : 1;
    }
    const Tokens end{2};
    auto logits = one["logits"].get<std::vector<float>>();
    process_logits(request, {ids, prompt, &counts, end}, logits);
    Sampler sampler;
    std::map<text::TokenId, double> mine;
    double sum = 0;
    for (const Candidate& candidate : sampler.candidates(sampling, logits)) {
      mine[candidate.token] = candidate.weight;
      sum += candidate.weight;
    }
    const auto kept = one["kept"].get<Tokens>();
    const auto probabilities = one["probabilities"].get<std::vector<double>>();
    ASSERT_EQ(mine.size(), kept.size()) << one["temperature"] << " case " << cases;
    std::vector<double> theirs = probabilities;
    std::vector<double> ours;
    for (const auto& [token, weight] : mine) {
      ours.push_back(weight / sum);
    }
    std::ranges::sort(theirs);
    std::ranges::sort(ours);
    for (std::size_t i = 0; i < kept.size(); ++i) {
      EXPECT_NEAR(ours[i], theirs[i], 1e-5) << "case " << cases;
      // Which of several equal ones are kept is chance: every sixth case has such.
      EXPECT_TRUE(cases % 6 == 5 || mine.contains(kept[i])) << "case " << cases;
    }
    ++cases;
  }
  EXPECT_EQ(cases, 24);
}

/// The beams that `model` finds.
std::vector<Event> run_beams(CausalModel& model, Request request) {
  EngineOptions options;
  options.cache = {tensor::DType::kF32, 4};
  options.cache_bytes = model.cache_block_bytes(options.cache) * 60;
  const auto engine = Engine::create(model, options);
  std::vector<Event> texts;
  if (!engine.ok() || !(*engine)->submit(std::move(request)).ok()) {
    ADD_FAILURE() << "no engine, or no request: " << engine.status();
    return texts;
  }
  while (!(*engine)->idle()) {
    auto events = (*engine)->step();
    if (!events.ok()) {
      ADD_FAILURE() << events.status();
      return texts;
    }
    texts.insert(texts.end(), events->begin(), events->end());
  }
  return texts;
}

Request beams_of(const Json& one) {
  Request request;
  request.prompt = one["input_ids"].get<Tokens>();
  request.max_new_tokens = one["max_new_tokens"];
  request.beam.width = one["width"];
  request.beam.length_penalty = one["length_penalty"];
  request.beam.early_stopping = one["early_stopping"];
  request.beam.groups = one.value("groups", 1);
  request.beam.diversity_penalty = one.value("diversity_penalty", 0.0);
  request.n = request.beam.width;
  return request;
}

void expect_beams(const Json& one) {
  const testing::TestContext context;
  const auto model = testing::load_for_test(one["model"], context);
  ASSERT_NE(model, nullptr);
  Request request = beams_of(one);
  request.end_tokens = Tokens{one["end"]};
  const std::vector<Event> texts = run_beams(*model, request);
  ASSERT_EQ(texts.size(), one["tokens"].size()) << one;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    EXPECT_EQ(texts[i].tokens, one["tokens"][i].get<Tokens>()) << i << " of " << one;
    EXPECT_NEAR(texts[i].score, one["scores"][i].get<double>(), 2e-4) << i << " of " << one;
    EXPECT_EQ(texts[i].index, static_cast<int>(i));
  }
  EXPECT_TRUE(texts.back().last);
}

TEST(GenerationGolden, BeamsAreTransformers) {
  for (const Json& one : golden("beams")) {
    expect_beams(one);
  }
}

TEST(GenerationGolden, BeamsInGroupsAreTransformers) {
  for (const Json& one : read_golden("group_beams.json")) {
    expect_beams(one);
  }
}

void expect_beam(const Event& text, const Json& theirs, const Json& one) {
  EXPECT_EQ(text.tokens, theirs["tokens"].get<Tokens>()) << one;
  EXPECT_EQ(name_of(text.finish), theirs["finish"].get<std::string>()) << one;
  EXPECT_NEAR(text.score, theirs["score"].get<double>(), 2e-4) << one;
  const auto values = theirs["log_probabilities"].get<std::vector<float>>();
  ASSERT_EQ(text.log_probabilities.size(), values.size()) << one;
  double sum = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    EXPECT_NEAR(text.log_probabilities[i], values[i], 2e-4) << i << " of " << one;
    sum += text.log_probabilities[i];
  }
  if (text.finish != FinishReason::kStopWord) {  // whose log-probability is in the score too
    const double length = std::pow(values.size(), one["length_penalty"].get<double>());
    EXPECT_NEAR(text.score, sum / length, 1e-5) << one;
  }
}

TEST(GenerationGolden, BeamsEndAndScoreTheirTokensAsTransformers) {
  const testing::TestContext context;
  for (const Json& one : golden("beam_endings")) {
    const auto model = testing::load_for_test(one["model"], context);
    ASSERT_NE(model, nullptr);
    Request request = beams_of(one);
    request.end_tokens = one["end_tokens"].get<Tokens>();
    request.stop_words = one["stop_words"].get<std::vector<Tokens>>();
    request.log_probabilities = true;
    const std::vector<Event> texts = run_beams(*model, request);
    ASSERT_EQ(texts.size(), one["texts"].size()) << one;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      expect_beam(texts[i], one["texts"][i], one);
    }
  }
}

TEST(Penalties, PresenceAndFrequencyCountWhatWasGenerated) {
  Request request;
  request.sampling.presence_penalty = 0.5;
  request.sampling.frequency_penalty = 0.25;
  const Tokens tokens{1, 3, 3};
  const TokenCounts counts{{1, 0}, {3, 2}};
  std::vector<float> logits{1, 1, 1, 1};
  process_logits(request, {tokens, 1, &counts, {}}, logits);
  EXPECT_EQ(logits, (std::vector<float>{1, 1, 1, 0}));  // 1 - 0.5 - 2 * 0.25
}

/// The frequencies of many draws against the probabilities: a chi-square test with a fixed seed.
TEST(Sampler, DrawsWithTheProbabilities) {
  std::vector<float> logits;
  for (int i = 0; i < 20; ++i) {
    logits.push_back(static_cast<float>(std::sin(i * 1.7) * 2));
  }
  SamplingOptions options;
  options.temperature = 1.3;
  Sampler sampler;
  std::vector<double> expected(20);
  double sum = 0;
  for (const Candidate& candidate : sampler.candidates(options, logits)) {
    expected[static_cast<std::size_t>(candidate.token)] = candidate.weight;
    sum += candidate.weight;
  }
  std::vector<double> seen(20);
  constexpr int kDraws = 40000;
  for (int i = 0; i < kDraws; ++i) {
    const DrawPlace place{static_cast<std::uint64_t>(i % 7), static_cast<std::uint32_t>(i), 0};
    ++seen[static_cast<std::size_t>(*sampler.choose(options, place, logits))];
  }
  double chi = 0;
  for (std::size_t i = 0; i < 20; ++i) {
    const double mean = expected[i] / sum * kDraws;
    chi += (seen[i] - mean) * (seen[i] - mean) / mean;
  }
  EXPECT_LT(chi, 43.8);  // 19 degrees of freedom, p = 0.001
}

/// Weights that are too small for a float, and temperatures that are.
TEST(Sampler, LowTemperaturesTakeTheLargest) {
  const std::vector<float> logits{-30, -2, 7, -40};
  for (const double temperature : {0.1, 1e-6, 1e-38, 1e-50}) {
    SamplingOptions options;
    options.temperature = temperature;
    for (std::uint32_t i = 0; i < 50; ++i) {
      EXPECT_EQ(Sampler().choose(options, {5, i, 0}, logits), 2) << temperature;
    }
  }
}

TEST(Sampler, TakesTheLargestAndNothingFromNothing) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float low = -std::numeric_limits<float>::infinity();
  EXPECT_EQ(largest_logit(std::vector<float>{1, 4, nan, 4}), 1);
  EXPECT_EQ(largest_logit(std::vector<float>{low, nan}), std::nullopt);
  SamplingOptions options;
  options.temperature = 1;
  EXPECT_EQ(Sampler().choose(options, {}, std::vector<float>{low, low}), std::nullopt);
  options.top_k = 1;
  EXPECT_EQ(Sampler().choose(options, {}, std::vector<float>{nan, 1, 3, low}), 2);
  EXPECT_NEAR(log_sum_exp(std::vector<float>{1000, 1000}), 1000 + std::log(2.0), 1e-9);
}

}  // namespace
}  // namespace gamelan::infer
