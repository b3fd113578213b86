#include <gtest/gtest.h>

#include "fake_model.h"
#include "infer/engine/lookup.h"

namespace gamelan::infer {
namespace {

using testing::FakeModel;
using testing::FakeModelOptions;
using testing::run_all;
using testing::some_tokens;
using Tokens = std::vector<text::TokenId>;

Tokens looked_up(const Tokens& tokens, int ngram, std::int64_t count) {
  Tokens proposals;
  look_up(tokens, ngram, count, proposals);
  return proposals;
}

TEST(LookUp, ProposesWhatFollowedBefore) {
  EXPECT_EQ(looked_up({1, 2, 3, 4, 5, 1, 2}, 2, 3), (Tokens{3, 4, 5}));
  EXPECT_EQ(looked_up({1, 2, 3, 4, 5, 1, 2}, 2, 10), (Tokens{3, 4, 5, 1, 2}));
  // The longest match counts first, then the latest place with enough after it.
  EXPECT_EQ(looked_up({7, 1, 2, 8, 9, 2, 6, 5, 1, 2}, 2, 2), (Tokens{8, 9}));
  EXPECT_EQ(looked_up({2, 4, 4, 2, 5, 5, 2}, 3, 2), (Tokens{5, 5}));
  EXPECT_EQ(looked_up({9, 9, 9, 9}, 3, 2), (Tokens{9}));
}

TEST(LookUp, ProposesNothingWhenNothingRepeats) {
  EXPECT_EQ(looked_up({1, 2, 3}, 3, 4), Tokens());
  EXPECT_EQ(looked_up({1}, 3, 4), Tokens());
  EXPECT_EQ(looked_up({1, 1}, 3, 0), Tokens());
}

std::unique_ptr<Engine> engine_of(FakeModel& model, FakeModel* draft, std::int64_t blocks) {
  EngineOptions options;
  options.cache.block_tokens = 4;
  options.cache_bytes = static_cast<std::size_t>(blocks * 4 * (draft == nullptr ? 1 : 2));
  options.max_step_tokens = 40;
  auto engine = Engine::create(model, options, draft);
  EXPECT_TRUE(engine.ok()) << engine.status();
  return *std::move(engine);
}

std::vector<Request> mixed_requests() {
  std::vector<Request> requests;
  for (int i = 0; i < 16; ++i) {
    Request request;
    request.prompt = some_tokens(3 + i * 3, static_cast<std::uint64_t>(i));
    request.max_new_tokens = 20 + i;
    request.sampling.temperature = i % 2 == 0 ? 0.0 : 0.8;
    request.sampling.repetition_penalty = i % 3 == 0 ? 1.2 : 1.0;
    request.sampling.seed = static_cast<std::uint64_t>(i);
    request.n = i % 4 == 1 ? 2 : 1;
    requests.push_back(request);
  }
  return requests;
}

/// Speculation never changes a token, drawn ones included, whoever proposes, and also when blocks
/// run out.
TEST(Speculation, ChangesNoToken) {
  FakeModelOptions options;
  options.memory = 2;  // so that texts repeat
  FakeModel plain(options);
  const auto expected = run_all(*engine_of(plain, nullptr, 2000), mixed_requests());
  for (const std::int64_t blocks : {2000, 40}) {
    FakeModel model(options);
    auto requests = mixed_requests();
    for (Request& request : requests) {
      request.lookup_tokens = 4;
      request.lookup_ngram = 2;
    }
    const auto engine = engine_of(model, nullptr, blocks);
    EXPECT_EQ(run_all(*engine, requests), expected) << blocks;
    EXPECT_GT(engine->statistics().accepted_tokens, 0U);
    EXPECT_LT(engine->statistics().accepted_tokens, engine->statistics().proposed_tokens);
  }
}

TEST(Speculation, ADraftModelChangesNoTokenEither) {
  FakeModel plain;
  const auto expected = run_all(*engine_of(plain, nullptr, 2000), mixed_requests());
  for (const bool good : {true, false}) {
    for (const std::int64_t blocks : {2000, 40}) {
      FakeModel model;
      FakeModelOptions other;
      other.seed = good ? 1 : 2;
      FakeModel draft(other);
      auto requests = mixed_requests();
      for (std::size_t i = 0; i < requests.size(); ++i) {
        requests[i].draft_tokens = static_cast<int>(i % 5);
      }
      const auto engine = engine_of(model, &draft, blocks);
      EXPECT_EQ(run_all(*engine, requests), expected) << good << " " << blocks;
      const EngineStatistics statistics = engine->statistics();
      EXPECT_GT(statistics.proposed_tokens, 0U);
      if (good && blocks == 2000) {
        // The same model: all is accepted but where a penalty sees the proposals later.
        EXPECT_GT(static_cast<double>(statistics.accepted_tokens),
                  0.9 * static_cast<double>(statistics.proposed_tokens));
      }
    }
  }
}

TEST(Speculation, SparesSteps) {
  FakeModelOptions options;
  options.memory = 1;
  FakeModel model(options);
  Request request;
  request.prompt = some_tokens(10, 1);
  request.max_new_tokens = 200;
  request.lookup_tokens = 8;
  const auto engine = engine_of(model, nullptr, 200);
  run_all(*engine, {request});
  EXPECT_LT(model.steps, 60);
}

TEST(Speculation, RefusesDraftsThatDoNotFit) {
  FakeModel model;
  FakeModelOptions other;
  other.vocab_size = 30;
  FakeModel draft(other);
  const auto wrong = Engine::create(model, {}, &draft);
  EXPECT_EQ(base::message(wrong.status()),
            "draft model: expected the model's vocabulary of 31 tokens, got 30");
  FakeModelOptions short_options;
  short_options.max_positions = 64;
  FakeModel short_draft(short_options);
  EXPECT_EQ(base::message(Engine::create(model, {}, &short_draft).status()),
            "draft model: expected texts as long as the model's, without a limit, got at most 64 "
            "tokens");
}

}  // namespace
}  // namespace gamelan::infer
