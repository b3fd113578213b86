#include "infer/engine/engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "fake_model.h"

namespace gamelan::infer {
namespace {

using testing::FakeModel;
using testing::greedy_by_hand;
using testing::run_all;
using testing::some_tokens;
using Tokens = std::vector<text::TokenId>;

/// Blocks of four tokens, `blocks` of them.
std::unique_ptr<Engine> engine_of(FakeModel& model, std::int64_t blocks,
                                  EngineOptions options = {}) {
  options.cache.block_tokens = 4;
  options.cache_bytes = static_cast<std::size_t>(blocks * 4);
  auto engine = Engine::create(model, options);
  EXPECT_TRUE(engine.ok()) << engine.status();
  return *std::move(engine);
}

Request request_of(Tokens prompt, int max_new_tokens) {
  Request request;
  request.prompt = std::move(prompt);
  request.max_new_tokens = max_new_tokens;
  return request;
}

Request sampled(Tokens prompt, int max_new_tokens, std::uint64_t seed) {
  Request request = request_of(std::move(prompt), max_new_tokens);
  request.sampling.temperature = 0.9;
  request.sampling.seed = seed;
  return request;
}

TEST(Engine, ContinuesGreedily) {
  FakeModel model;
  const auto engine = engine_of(model, 100);
  const Tokens prompt = some_tokens(13, 1);
  EXPECT_EQ(run_all(*engine, {request_of(prompt, 20)})[0][0], greedy_by_hand(model, prompt, 20));
  EXPECT_EQ(engine->statistics().generated_tokens, 20U);
  EXPECT_EQ(engine->statistics().prompt_tokens, 13U);
  EXPECT_EQ(engine->statistics().free_blocks, engine->statistics().cache_blocks);
}

TEST(Engine, TakesPromptsOfAnyLengthInSteps) {
  for (const int budget : {1, 2, 3, 7, 64}) {
    FakeModel model;
    EngineOptions options;
    options.max_step_tokens = budget;
    const auto engine = engine_of(model, 100, options);
    std::vector<Request> requests;
    for (std::int64_t length = 1; length < 14; ++length) {
      requests.push_back(request_of(some_tokens(length, 7), 5));  // prefixes of each other
    }
    const auto texts = run_all(*engine, requests);
    for (std::size_t i = 0; i < requests.size(); ++i) {
      EXPECT_EQ(texts[i][0], greedy_by_hand(model, requests[i].prompt, 5)) << budget << " " << i;
    }
    EXPECT_LE(model.most_tokens, budget);
  }
}

TEST(Engine, ManyRequestsAreAsGoodAsEachAlone) {
  std::vector<Request> requests;
  for (int i = 0; i < 60; ++i) {
    requests.push_back(sampled(some_tokens(1 + i * 7 % 40, static_cast<std::uint64_t>(i)),
                               1 + i * 5 % 30, static_cast<std::uint64_t>(i)));
    if (i % 5 == 0) {
      requests.back().n = 3;
    }
  }
  FakeModel model;
  EngineOptions options;
  options.max_sequences = 20;
  options.max_step_tokens = 50;
  const auto engine = engine_of(model, 2000, options);
  const auto together = run_all(*engine, requests);
  EXPECT_LE(model.most_sequences, 20);
  EXPECT_EQ(engine->statistics().preemptions, 0U);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    FakeModel other;
    EXPECT_EQ(run_all(*engine_of(other, 2000), {requests[i]})[0], together[i]) << i;
  }
}

TEST(Engine, RunsOutOfBlocksAndGoesOn) {
  for (const bool sharing : {true, false}) {
    std::vector<Request> requests;
    for (int i = 0; i < 30; ++i) {
      requests.push_back(sampled(some_tokens(1 + i % 9, static_cast<std::uint64_t>(i)),
                                 10 + i * 5 % 30, static_cast<std::uint64_t>(i)));
      if (i % 4 == 1) {
        requests.back().n = 2;
      }
      if (i % 7 == 0) {
        requests.back().sampling.temperature = 0;
        requests.back().beam.width = 2;
        requests.back().n = 1;
      }
    }
    FakeModel model;
    EngineOptions options;
    options.prefix_sharing = sharing;
    options.max_step_tokens = 24;
    const auto engine = engine_of(model, 30, options);
    const auto tight = run_all(*engine, requests);
    EXPECT_GT(engine->statistics().preemptions, 0U) << sharing;
    EXPECT_EQ(engine->statistics().free_blocks, 30U);
    FakeModel roomy;
    EXPECT_EQ(run_all(*engine_of(roomy, 5000), requests), tight) << sharing;
    // It costs something, but does not run in circles.
    EXPECT_LT(model.computed_tokens, 4 * roomy.computed_tokens);
  }
}

TEST(Engine, RequestsJoinAndLeaveBetweenSteps) {
  FakeModel model;
  const auto engine = engine_of(model, 200);
  const Tokens first = some_tokens(5, 1);
  const Tokens second = some_tokens(6, 2);
  ASSERT_TRUE(engine->submit(request_of(first, 12)).ok());
  std::map<RequestId, Tokens> texts;
  for (int step = 0; !engine->idle(); ++step) {
    if (step == 3) {
      EXPECT_EQ(texts[1].size(), 3U);  // told as they come
      ASSERT_TRUE(engine->submit(request_of(second, 4)).ok());
    }
    const auto events = engine->step();
    ASSERT_TRUE(events.ok());
    for (const Event& event : *events) {
      texts[event.request].insert(texts[event.request].end(), event.tokens.begin(),
                                  event.tokens.end());
      EXPECT_EQ(event.last, event.finish != FinishReason::kNone);
      if (event.last) {
        EXPECT_EQ(event.finish, FinishReason::kLength);
      }
    }
  }
  EXPECT_EQ(texts[1], greedy_by_hand(model, first, 12));
  EXPECT_EQ(texts[2], greedy_by_hand(model, second, 4));
  EXPECT_EQ(model.steps, 12);  // the second ran beside the first
}

TEST(Engine, ComputesACommonPrefixOnce) {
  FakeModel model;
  EngineOptions options;
  options.max_step_tokens = 256;
  const auto engine = engine_of(model, 2000, options);
  const Tokens prefix = some_tokens(1000, 1);
  std::vector<Request> requests;
  for (int i = 0; i < 32; ++i) {
    Tokens prompt = prefix;
    const Tokens own = some_tokens(5, static_cast<std::uint64_t>(i) + 100);
    prompt.insert(prompt.end(), own.begin(), own.end());
    requests.push_back(request_of(std::move(prompt), 3));
  }
  const auto texts = run_all(*engine, requests);
  for (std::size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(texts[i][0], greedy_by_hand(model, requests[i].prompt, 3));
  }
  // The prefix once, five own tokens each, two continuations each.
  EXPECT_EQ(model.computed_tokens, 1000 + 32 * 5 + 32 * 2);
  EXPECT_EQ(engine->statistics().shared_tokens, 31U * 1000U);
  // And never again, while its blocks are there.
  const auto again = run_all(*engine, {requests[7]});
  EXPECT_EQ(again[0], texts[7]);
  EXPECT_EQ(model.computed_tokens, 1000 + 32 * 7 + (1005 - 1004) + 2);
}

TEST(Engine, KeepsPrefixesUntilTheirMemoryIsNeeded) {
  FakeModel model;
  const auto engine = engine_of(model, 10);
  const Tokens old = some_tokens(16, 1);
  run_all(*engine, {request_of(old, 1)});
  run_all(*engine, {request_of(some_tokens(36, 2), 1)});  // needs 9 of the 10 blocks
  const std::int64_t before = model.computed_tokens;
  EXPECT_EQ(run_all(*engine, {request_of(old, 1)})[0][0], greedy_by_hand(model, old, 1));
  EXPECT_GE(model.computed_tokens - before, 12);
}

TEST(Engine, SharesNothingWhenItShouldNot) {
  FakeModel model;
  EngineOptions options;
  options.prefix_sharing = false;
  const auto engine = engine_of(model, 100, options);
  const Tokens prompt = some_tokens(16, 1);
  run_all(*engine, {request_of(prompt, 1), request_of(prompt, 1)});
  EXPECT_EQ(model.computed_tokens, 32);
  EXPECT_EQ(engine->statistics().shared_tokens, 0U);
}

TEST(Engine, TextsOfOneRequestShareThePrompt) {
  FakeModel model;
  const auto engine = engine_of(model, 100);
  Request request = sampled(some_tokens(18, 1), 8, 5);
  request.n = 4;
  const auto texts = run_all(*engine, {request})[0];
  EXPECT_EQ(model.computed_tokens, 18 + 4 * 7);
  std::set<Tokens> different(texts.begin(), texts.end());
  EXPECT_EQ(different.size(), 4U);
  // The first of them is what the request alone gives.
  request.n = 1;
  EXPECT_EQ(run_all(*engine, {request})[0][0], texts[0]);
}

TEST(Engine, SeedsAreWhatTheySay) {
  FakeModel model;
  const auto engine = engine_of(model, 100);
  const Tokens prompt = some_tokens(6, 1);
  const auto texts =
      run_all(*engine, {sampled(prompt, 12, 5), sampled(prompt, 12, 5), sampled(prompt, 12, 6)});
  EXPECT_EQ(texts[0], texts[1]);
  EXPECT_NE(texts[0], texts[2]);
  Request without = sampled(prompt, 12, 0);
  without.sampling.seed.reset();
  EXPECT_NE(run_all(*engine, {without}), run_all(*engine, {without}));
}

TEST(Engine, GivesTheBestOfSeveral) {
  FakeModel model;
  const auto engine = engine_of(model, 200);
  Request request = sampled(some_tokens(6, 1), 10, 5);
  request.n = 6;
  request.log_probabilities = true;
  std::vector<std::pair<double, Tokens>> all(6);
  ASSERT_TRUE(engine->submit(request).ok());
  while (!engine->idle()) {
    const auto events = engine->step();
    ASSERT_TRUE(events.ok());
    for (const Event& event : *events) {
      auto& [score, tokens] = all[static_cast<std::size_t>(event.index)];
      tokens.insert(tokens.end(), event.tokens.begin(), event.tokens.end());
      ASSERT_EQ(event.log_probabilities.size(), event.tokens.size());
      for (const float value : event.log_probabilities) {
        score += value;
      }
      if (event.finish != FinishReason::kNone) {
        EXPECT_NEAR(event.score, score, 1e-5);
      }
    }
  }
  std::ranges::sort(all, [](const auto& a, const auto& b) { return a.first > b.first; });
  request.n = 2;
  request.best_of = 6;
  request.log_probabilities = false;
  const auto best = run_all(*engine, {request})[0];
  EXPECT_EQ(best[0], all[0].second);
  EXPECT_EQ(best[1], all[1].second);
}

/// What a stop word takes away counts: else the text of which nothing is left would be the best.
TEST(Engine, TheBestOfSeveralCountsStopWords) {
  FakeModel model;
  const auto engine = engine_of(model, 200);
  Request request = sampled(some_tokens(6, 1), 4, 5);
  request.n = 6;
  request.log_probabilities = true;
  ASSERT_TRUE(engine->submit(request).ok());
  const auto first = engine->step();
  ASSERT_TRUE(first.ok());
  ASSERT_EQ(first->size(), 6U);
  const auto least = std::ranges::min_element(
      *first, {}, [](const Event& event) { return event.log_probabilities.at(0); });
  request.stop_words = {{least->tokens.at(0)}};
  request.n = 1;
  request.best_of = 6;
  request.log_probabilities = false;
  const auto best = run_all(*engine_of(model, 200), {request})[0];
  EXPECT_FALSE(best[0].empty());
}

TEST(Engine, LogProbabilitiesAreTheModelsOwn) {
  FakeModel model;
  const auto engine = engine_of(model, 200);
  Request request = sampled(some_tokens(6, 1), 4, 5);
  request.sampling.repetition_penalty = 1.5;
  request.sampling.top_k = 5;
  request.log_probabilities = true;
  request.top_log_probabilities = 3;
  ASSERT_TRUE(engine->submit(request).ok());
  Tokens text = request.prompt;
  while (!engine->idle()) {
    const auto events = engine->step();
    ASSERT_TRUE(events.ok());
    for (const Event& event : *events) {
      ASSERT_EQ(event.tokens.size(), event.alternatives.size());
      for (std::size_t i = 0; i < event.tokens.size(); ++i) {
        const std::vector<float> logits = model.logits_after(text);
        double sum = 0;
        for (const float logit : logits) {
          sum += std::exp(static_cast<double>(logit));
        }
        const auto chosen = static_cast<std::size_t>(event.tokens[i]);
        EXPECT_NEAR(event.log_probabilities[i], logits[chosen] - std::log(sum), 1e-5);
        ASSERT_EQ(event.alternatives[i].size(), 3U);
        EXPECT_NEAR(event.alternatives[i][0].log_probability,
                    *std::ranges::max_element(logits) - std::log(sum), 1e-5);
        EXPECT_GT(event.alternatives[i][1].log_probability,
                  event.alternatives[i][2].log_probability);
        text.push_back(event.tokens[i]);
      }
    }
  }
}

TEST(Engine, EndTokensEndTheText) {
  FakeModel model;
  const Tokens prompt = some_tokens(5, 3);
  const Tokens all = greedy_by_hand(model, prompt, 12);
  const text::TokenId end = all[6];
  const auto first = static_cast<std::size_t>(std::ranges::find(all, end) - all.begin());
  const Tokens expected(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(first) + 1);
  model.config_.eos_token_ids = {end};
  const auto engine = engine_of(model, 100);
  EXPECT_EQ(run_all(*engine, {request_of(prompt, 12)})[0][0], expected);
  Request never = request_of(prompt, 12);
  never.end_tokens.emplace();
  EXPECT_EQ(run_all(*engine, {never})[0][0], all);
  Request later = request_of(prompt, 12);
  later.min_new_tokens = 9;
  const Tokens text = run_all(*engine, {later})[0][0];
  EXPECT_GE(text.size(), 9U);
  EXPECT_TRUE(std::all_of(text.begin(), text.begin() + 9, [&](auto t) { return t != end; }));
}

TEST(Engine, WithholdsStopWordsUntilSure) {
  FakeModel model;
  const Tokens prompt = some_tokens(5, 3);
  const Tokens all = greedy_by_hand(model, prompt, 12);
  const auto engine = engine_of(model, 100);
  Request request = request_of(prompt, 12);
  // The first three tokens look like the first word, and are not; then the second one comes.
  const text::TokenId other = all[3] == 0 ? 1 : 0;
  request.stop_words = {{all[0], all[1], all[2], other}, {all[5], all[6]}};
  ASSERT_TRUE(engine->submit(request).ok());
  std::vector<std::size_t> sizes;
  Tokens text;
  Event last;
  while (!engine->idle()) {
    const auto events = engine->step();
    ASSERT_TRUE(events.ok());
    sizes.push_back(0);
    for (const Event& event : *events) {
      text.insert(text.end(), event.tokens.begin(), event.tokens.end());
      sizes.back() += event.tokens.size();
      last = event;
    }
  }
  EXPECT_EQ(text, Tokens(all.begin(), all.begin() + 5));
  EXPECT_EQ(last.finish, FinishReason::kStopWord);
  EXPECT_TRUE(last.last);
  EXPECT_EQ(sizes, (std::vector<std::size_t>{0, 0, 0, 4, 1, 0, 0}));
}

TEST(Engine, CancelsWaitingAndRunningRequests) {
  FakeModel model;
  EngineOptions options;
  options.max_sequences = 1;
  const auto engine = engine_of(model, 100, options);
  const auto first = engine->submit(request_of(some_tokens(5, 1), 50));
  const auto second = engine->submit(request_of(some_tokens(5, 2), 50));
  const auto third = engine->submit(request_of(some_tokens(5, 3), 2));
  ASSERT_TRUE(first.ok() && second.ok() && third.ok());
  ASSERT_TRUE(engine->step().ok());
  EXPECT_EQ(engine->statistics().waiting_requests, 2U);
  ASSERT_TRUE(engine->cancel(*second).ok());
  ASSERT_TRUE(engine->cancel(*first).ok());
  EXPECT_EQ(base::message(engine->cancel(*first)), "cancel: request 1 is not there, or has ended");
  std::map<RequestId, FinishReason> ends;
  while (!engine->idle()) {
    const auto events = engine->step();
    ASSERT_TRUE(events.ok());
    for (const Event& event : *events) {
      if (event.last) {
        EXPECT_TRUE(ends.emplace(event.request, event.finish).second);
      }
    }
  }
  EXPECT_EQ(ends, (std::map<RequestId, FinishReason>{{1, FinishReason::kCancelled},
                                                     {2, FinishReason::kCancelled},
                                                     {3, FinishReason::kLength}}));
  EXPECT_EQ(engine->statistics().free_blocks, 100U);
}

TEST(Engine, LogitsThatAreNoNumbersEndTheRequestAlone) {
  FakeModel model;
  const auto engine = engine_of(model, 100);
  Request several = sampled(some_tokens(4, 1), 5, 1);
  several.n = 2;
  ASSERT_TRUE(engine->submit(several).ok());
  Request beams = request_of(some_tokens(4, 1), 5);
  beams.beam.width = 2;
  ASSERT_TRUE(engine->submit(beams).ok());
  model.broken = true;
  std::map<RequestId, int> errors;
  while (!engine->idle()) {
    const auto events = engine->step();
    ASSERT_TRUE(events.ok());
    for (const Event& event : *events) {
      EXPECT_EQ(event.finish, FinishReason::kError);
      EXPECT_NE(event.error.find("no token can follow"), std::string::npos);
      ++errors[event.request];
    }
  }
  EXPECT_EQ(errors, (std::map<RequestId, int>{{1, 2}, {2, 1}}));
  model.broken = false;
  EXPECT_EQ(run_all(*engine, {request_of(some_tokens(4, 1), 5)})[0][0],
            greedy_by_hand(model, some_tokens(4, 1), 5));
}

}  // namespace
}  // namespace gamelan::infer
