// What beams tell: log-probabilities, stop words and end tokens, against a search by hand.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "fake_model.h"
#include "infer/sampling/beam_search.h"
#include "infer/sampling/beam_trace.h"
#include "infer/sampling/stop_words.h"

namespace gamelan::infer {
namespace {

using testing::FakeModel;
using testing::some_tokens;
using Tokens = std::vector<text::TokenId>;

testing::FakeModelOptions options_of(float scale, std::uint64_t seed) {
  testing::FakeModelOptions options;
  options.vocab_size = 16;
  options.scale = scale;
  options.seed = seed;
  return options;
}

std::vector<double> log_probabilities_after(const FakeModel& model, const Tokens& tokens) {
  std::vector<double> row;
  double sum = 0;
  for (const float logit : model.logits_after(tokens)) {
    row.push_back(logit);
    sum += std::exp(row.back());
  }
  for (double& value : row) {
    value -= std::log(sum);
  }
  return row;
}

struct Text {
  Tokens tokens;  // without the stop word
  std::vector<double> log_probabilities;
  double score = 0;
  FinishReason finish = FinishReason::kNone;
};

/// Every text that `request` allows, best first.
class Exhaustive {
 public:
  Exhaustive(const FakeModel& model, const Request& request) : model_(model), request_(request) {
    extend({}, {});
    std::ranges::sort(texts_, std::greater<>(), &Text::score);
  }
  const std::vector<Text>& texts() const { return texts_; }

 private:
  FinishReason finish_of(const Tokens& tokens, std::size_t& cut) const {
    if (std::ranges::find(*request_.end_tokens, tokens.back()) != request_.end_tokens->end()) {
      return FinishReason::kEndToken;
    }
    for (const Tokens& word : request_.stop_words) {
      if (word.size() <= tokens.size() && std::equal(word.rbegin(), word.rend(), tokens.rbegin())) {
        cut = std::max(cut, word.size());
      }
    }
    if (cut > 0) {
      return FinishReason::kStopWord;
    }
    return static_cast<int>(tokens.size()) == request_.max_new_tokens ? FinishReason::kLength
                                                                      : FinishReason::kNone;
  }

  void extend(const Tokens& generated, const std::vector<double>& values) {
    Tokens all = request_.prompt;
    all.insert(all.end(), generated.begin(), generated.end());
    const std::vector<double> row = log_probabilities_after(model_, all);
    for (std::size_t token = 0; token < row.size(); ++token) {
      Text text{generated, values, 0, FinishReason::kNone};
      text.tokens.push_back(static_cast<text::TokenId>(token));
      text.log_probabilities.push_back(row[token]);
      std::size_t cut = 0;
      text.finish = finish_of(text.tokens, cut);
      if (text.finish == FinishReason::kNone) {
        extend(text.tokens, text.log_probabilities);
        continue;
      }
      for (const double value : text.log_probabilities) {
        text.score += value;
      }
      text.score /= std::pow(static_cast<double>(text.tokens.size()), request_.beam.length_penalty);
      text.tokens.resize(text.tokens.size() - cut);
      text.log_probabilities.resize(text.tokens.size());
      texts_.push_back(std::move(text));
    }
  }

  const FakeModel& model_;
  const Request& request_;
  std::vector<Text> texts_;
};

std::vector<Event> run_alone(FakeModel& model, const Request& request) {
  EngineOptions options;
  options.cache.block_tokens = 4;
  options.cache_bytes = 4 * 200;
  const auto engine = Engine::create(model, options);
  EXPECT_TRUE(engine.ok()) << engine.status();
  const auto id = (*engine)->submit(request);
  EXPECT_TRUE(id.ok()) << id.status();
  std::vector<Event> all;
  while (!(*engine)->idle()) {
    const auto events = (*engine)->step();
    EXPECT_TRUE(events.ok()) << events.status();
    all.insert(all.end(), events->begin(), events->end());
  }
  return all;
}

Request beams_of(std::uint64_t seed, int width) {
  Request request;
  request.prompt = some_tokens(6, seed, 16);
  request.max_new_tokens = 4;
  request.end_tokens = Tokens{3, 9};
  request.beam.width = width;
  request.n = width;
  request.log_probabilities = true;
  request.top_log_probabilities = 2;
  return request;
}

void expect_equal(const Event& event, const Text& text) {
  EXPECT_EQ(event.tokens, text.tokens);
  EXPECT_EQ(event.finish, text.finish);
  EXPECT_NEAR(event.score, text.score, 1e-5);
  ASSERT_EQ(event.log_probabilities.size(), text.tokens.size());
  for (std::size_t i = 0; i < text.tokens.size(); ++i) {
    EXPECT_NEAR(event.log_probabilities[i], text.log_probabilities[i], 1e-5);
  }
}

/// Each returned beam is one of all possible texts with its own numbers, and the best one is the
/// best of all: beams of half the vocabulary over logits this far apart lose nothing.
TEST(BeamReport, IsThatOfASearchThroughAllTexts) {
  std::set<FinishReason> reasons;
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    FakeModel model(options_of(6.0F, seed));
    Request request = beams_of(seed, 8);
    request.beam.length_penalty = seed % 2 == 0 ? 1.0 : 0.5;
    const Tokens likely = testing::greedy_by_hand(model, request.prompt, 4);
    request.stop_words = {{likely[1], likely[2]}, {likely[2]}, {7, 1, 2}};
    const Exhaustive all(model, request);
    const std::vector<Event> events = run_alone(model, request);
    ASSERT_EQ(events.size(), 8U);
    expect_equal(events.front(), all.texts().front());
    for (const Event& event : events) {
      const auto found = std::ranges::find_if(all.texts(), [&](const Text& text) {
        return text.tokens == event.tokens && text.finish == event.finish &&
               std::abs(text.score - event.score) < 1e-5;
      });
      ASSERT_NE(found, all.texts().end()) << seed;
      expect_equal(event, *found);
      reasons.insert(event.finish);
    }
    EXPECT_TRUE(std::ranges::is_sorted(events, std::greater<>(), &Event::score));
  }
  EXPECT_EQ(reasons,
            (std::set{FinishReason::kEndToken, FinishReason::kStopWord, FinishReason::kLength}));
}

TEST(BeamReport, AlternativesAreTheBestOfEachPlace) {
  FakeModel model(options_of(3.0F, 1));
  const Request request = beams_of(5, 4);
  for (const Event& event : run_alone(model, request)) {
    Tokens text = request.prompt;
    ASSERT_EQ(event.alternatives.size(), event.tokens.size());
    for (std::size_t i = 0; i < event.tokens.size(); ++i) {
      const std::vector<double> row = log_probabilities_after(model, text);
      const auto best = std::ranges::max_element(row);
      ASSERT_EQ(event.alternatives[i].size(), 2U);
      EXPECT_EQ(event.alternatives[i][0].token, best - row.begin());
      EXPECT_NEAR(event.alternatives[i][0].log_probability, *best, 1e-5);
      text.push_back(event.tokens[i]);
    }
  }
}

/// The score is of what penalties made of the probabilities; these are the model's own.
TEST(BeamReport, LogProbabilitiesAreTheModelsOwn) {
  FakeModel model(options_of(3.0F, 1));
  Request request = beams_of(2, 4);
  request.sampling.repetition_penalty = 1.7;
  request.bad_words = {{testing::greedy_by_hand(model, request.prompt, 1)[0]}};
  request.beam.groups = 2;
  request.beam.diversity_penalty = 0.8;
  for (const Event& event : run_alone(model, request)) {
    Tokens text = request.prompt;
    for (std::size_t i = 0; i < event.tokens.size(); ++i) {
      const std::vector<double> row = log_probabilities_after(model, text);
      EXPECT_NEAR(event.log_probabilities[i], row[static_cast<std::size_t>(event.tokens[i])], 1e-5);
      text.push_back(event.tokens[i]);
    }
  }
}

TEST(BeamReport, ScoresChangeNoToken) {
  for (std::uint64_t seed = 1; seed < 6; ++seed) {
    FakeModel model(options_of(3.0F, seed));
    Request request = beams_of(seed, 3);
    request.stop_words = {{1}, {4, 5}};
    const std::vector<Event> scored = run_alone(model, request);
    request.log_probabilities = false;
    request.top_log_probabilities = 0;
    const std::vector<Event> plain = run_alone(model, request);
    ASSERT_EQ(plain.size(), scored.size());
    for (std::size_t i = 0; i < plain.size(); ++i) {
      EXPECT_EQ(plain[i].tokens, scored[i].tokens);
      EXPECT_EQ(plain[i].score, scored[i].score);
      EXPECT_TRUE(plain[i].log_probabilities.empty());
    }
  }
}

TEST(BeamTrace, FollowsEachBeamsPath) {
  const std::vector<float> first{-1, -2, -3};
  const std::vector<float> second{-4, -5, -6, -7, -8, -9};
  BeamTrace trace(1);
  trace.begin_step({first.data(), 1, 3});
  const std::int32_t left = trace.add(BeamTrace::kNothing, 0, 1);
  const std::int32_t right = trace.add(BeamTrace::kNothing, 0, 2);
  trace.begin_step({second.data(), 2, 3});
  const std::int32_t both = trace.add(right, 1, 0);  // beams change places
  trace.add(left, 0, 2);
  const BeamTrace::Path path = trace.path(both);
  EXPECT_EQ(path.log_probabilities, (std::vector<float>{-3, -7}));
  ASSERT_EQ(path.alternatives.size(), 2U);
  EXPECT_EQ(path.alternatives[0][0].token, 0);
  EXPECT_EQ(path.alternatives[1][0].log_probability, -7);
  EXPECT_TRUE(trace.path(BeamTrace::kNothing).log_probabilities.empty());
}

/// All that could follow ends the first group's texts, one of them not the best it could have.
TEST(BeamSearch, AGroupWithoutBeamsWaitsForTheOthers) {
  BeamOptions options;
  options.width = 4;
  options.groups = 2;
  options.diversity_penalty = 100;
  BeamRules rules;
  rules.end_tokens = {4, 5, 6, 7};
  for (text::TokenId x = 0; x < 4; ++x) {
    rules.stop_words.push_back({0, x});
    rules.stop_words.push_back({1, x});
  }
  BeamSearch search(options, rules);
  // The groups begin with 0 and 1, and with 2 and 3.
  std::vector<float> row{-1, -1.1F, -1.2F, -1.3F, -9, -9, -9, -9};
  std::vector<std::vector<text::TokenId>> texts(1);
  for (const std::size_t live : {4U, 2U, 2U}) {
    std::vector<float> rows;
    std::vector<std::span<const text::TokenId>> generated;
    for (const auto& text : texts) {
      rows.insert(rows.end(), row.begin(), row.end());
      generated.emplace_back(text);
    }
    const auto count = static_cast<std::int64_t>(texts.size());
    search.advance({rows.data(), count, 8}, {rows.data(), count, 8}, generated);
    ASSERT_EQ(search.live().size(), live);
    std::vector<std::vector<text::TokenId>> next;
    for (const BeamSearch::Live& beam : search.live()) {
      next.push_back(texts[static_cast<std::size_t>(beam.parent)]);
      next.back().push_back(beam.token);
    }
    texts = std::move(next);
    row = {-5, -5, -1, -1.1F, -9, -9, -9, -9};
  }
  EXPECT_EQ(search.live().front().group, 1);
  const std::vector<std::span<const text::TokenId>> generated(texts.begin(), texts.end());
  EXPECT_EQ(search.finish(generated, 4).size(), 4U);
}

TEST(StopWords, ATokenCompletesTheLongest) {
  const std::vector<Tokens> words{{2, 3}, {1, 2, 3}, {5}};
  EXPECT_EQ(completed_stop_word(words, Tokens{1, 2}, 3), 3U);
  EXPECT_EQ(completed_stop_word(words, Tokens{2}, 3), 2U);
  EXPECT_EQ(completed_stop_word(words, Tokens{}, 3), 0U);
  EXPECT_EQ(completed_stop_word(words, Tokens{}, 5), 1U);
}

}  // namespace
}  // namespace gamelan::infer
