// The C interface says what the C++ one says.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>

#include "c_api_calls.h"
#include "infer/c_api/convert.h"
#include "model_fixture.h"
#include "whole_texts.h"

namespace gamelan::infer {
namespace {

using ::testing::HasSubstr;
using testing::model_folder;
using Tokens = std::vector<text::TokenId>;

using EnginePtr = std::unique_ptr<gamelan_engine, decltype(&gamelan_close)>;

EnginePtr open_model(const std::string& name, const char* draft = nullptr) {
  gamelan_engine* engine = nullptr;
  EXPECT_EQ(c_open(model_folder(name).c_str(), draft, &engine), GAMELAN_OK) << gamelan_last_error();
  return {engine, &gamelan_close};
}

gamelan_request request_for(const Tokens& prompt, int max_new_tokens) {
  gamelan_request request;
  gamelan_default_request(&request, sizeof(request));
  request.prompt = prompt.data();
  request.prompt_tokens = prompt.size();
  request.max_new_tokens = max_new_tokens;
  return request;
}

/// What the C++ engine makes of the same request: whole texts.
std::vector<Event> run_in_cpp(const std::string& name, const gamelan_request& request) {
  const testing::TestContext context;
  const auto model = testing::load_for_test(name, context);
  EngineOptions options;
  options.cache = {tensor::DType::kF32, 4};
  options.cache_bytes = 1 << 20;
  const auto engine = Engine::create(*model, options);
  auto made = request_of(request);
  EXPECT_TRUE(engine.ok() && made.ok()) << engine.status() << made.status();
  return testing::whole_texts(**engine, *std::move(made));
}

void expect_equal(const c_text& mine, const Event& theirs) {
  EXPECT_EQ(Tokens(mine.tokens, mine.tokens + mine.token_count), theirs.tokens);
  EXPECT_EQ(std::vector<float>(mine.log_probabilities, mine.log_probabilities + mine.scored_count),
            theirs.log_probabilities);
  EXPECT_EQ(mine.finish, std::string(name_of(theirs.finish)));
  EXPECT_EQ(mine.score, theirs.score);
  for (std::size_t i = 0; i < theirs.alternatives.size(); ++i) {
    ASSERT_EQ(mine.alternative_count, theirs.alternatives[i].size());
    for (std::size_t a = 0; a < mine.alternative_count; ++a) {
      EXPECT_EQ(mine.alternatives[i][a].token, theirs.alternatives[i][a].token);
      EXPECT_EQ(mine.alternatives[i][a].log_probability, theirs.alternatives[i][a].log_probability);
    }
  }
}

/// Runs `request` in C and in C++; the texts in C.
std::vector<c_text> expect_same(const std::string& name, const gamelan_request& request) {
  const EnginePtr engine = open_model(name);
  std::vector<c_text> texts(static_cast<std::size_t>(request.n));
  EXPECT_EQ(c_run(engine.get(), &request, 1, texts.data(), texts.size()), GAMELAN_OK)
      << gamelan_last_error();
  const std::vector<Event> theirs = run_in_cpp(name, request);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    expect_equal(texts[i], theirs[i]);
  }
  return texts;
}

TEST(CApi, ContinuesManyRequestsAsTransformersDoes) {
  const testing::Expected expected = testing::read_expected("llama");
  const EnginePtr engine = open_model("llama");
  const Tokens longer = [&] {
    Tokens tokens = expected.input_ids;
    tokens.push_back(expected.greedy[0]);
    return tokens;
  }();
  const auto count = static_cast<int>(expected.greedy.size());
  std::array requests{request_for(expected.input_ids, count), request_for(longer, count - 1)};
  for (gamelan_request& request : requests) {
    request.has_end_tokens = 1;
  }
  std::vector<c_text> texts(2);
  ASSERT_EQ(c_run(engine.get(), requests.data(), 2, texts.data(), 1), GAMELAN_OK);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(
        Tokens(texts[i].tokens, texts[i].tokens + texts[i].token_count),
        Tokens(expected.greedy.begin() + static_cast<std::ptrdiff_t>(i), expected.greedy.end()));
    EXPECT_EQ(texts[i].scored_count, 0U);
    EXPECT_STREQ(texts[i].finish, "length");
  }
  gamelan_statistics statistics;
  ASSERT_EQ(gamelan_get_statistics(engine.get(), &statistics, sizeof(statistics)), GAMELAN_OK);
  EXPECT_EQ(statistics.generated_tokens, static_cast<std::uint64_t>(2 * count - 1));
  EXPECT_EQ(statistics.free_blocks, statistics.cache_blocks);
}

TEST(CApi, SaysWhatTheEngineSays) {
  const testing::Expected expected = testing::read_expected("gpt2");
  gamelan_request request = request_for(expected.input_ids, 12);
  request.temperature = 0.9;
  request.top_k = 20;
  request.top_p = 0.95;
  request.min_p = 0.01;
  request.repetition_penalty = 1.2;
  request.presence_penalty = 0.1;
  request.frequency_penalty = 0.2;
  request.has_seed = 1;
  request.seed = 5;
  request.n = 2;
  request.best_of = 3;
  request.log_probabilities = 1;
  request.top_log_probabilities = 3;
  const Tokens bad{expected.greedy[0]};
  const gamelan_tokens word{bad.data(), bad.size()};
  request.bad_words = &word;
  request.bad_word_count = 1;
  for (const c_text& text : expect_same("gpt2", request)) {
    EXPECT_EQ(text.scored_count, text.token_count);
    EXPECT_EQ(text.alternative_count, 3U);
  }
}

TEST(CApi, StopsAtWordsAndEndTokens) {
  const testing::Expected expected = testing::read_expected("llama");
  const Tokens word{expected.greedy[3], expected.greedy[4]};
  const gamelan_tokens stop{word.data(), word.size()};
  gamelan_request request = request_for(expected.input_ids, 12);
  request.has_end_tokens = 1;
  request.stop_words = &stop;
  request.stop_word_count = 1;
  EXPECT_STREQ(expect_same("llama", request)[0].finish, "stop");
  request.end_tokens = &expected.greedy[2];
  request.end_token_count = 1;
  const c_text text = expect_same("llama", request)[0];
  EXPECT_STREQ(text.finish, "end");
  EXPECT_EQ(text.tokens[text.token_count - 1], expected.greedy[2]);
}

TEST(CApi, SearchesWithBeams) {
  const testing::Expected expected = testing::read_expected("llama");
  const Tokens word{expected.greedy[3]};
  const gamelan_tokens stop{word.data(), word.size()};
  gamelan_request request = request_for(expected.input_ids, 10);
  request.n = request.beam_width = 4;
  request.beam_groups = 2;
  request.length_penalty = 0.7;
  request.diversity_penalty = 0.4;
  request.early_stopping = 1;
  request.log_probabilities = 1;
  request.top_log_probabilities = 2;
  request.stop_words = &stop;
  request.stop_word_count = 1;
  expect_same("llama", request);
}

TEST(CApi, Speculates) {
  const testing::Expected expected = testing::read_expected("llama");
  const std::string draft = model_folder("mistral");
  const EnginePtr engine = open_model("llama", draft.c_str());
  gamelan_request by_draft = request_for(expected.input_ids, 12);
  by_draft.has_end_tokens = 1;
  by_draft.draft_tokens = 3;
  gamelan_request by_lookup = by_draft;
  by_lookup.draft_tokens = 0;
  by_lookup.lookup_tokens = 4;
  by_lookup.lookup_ngram = 1;
  const std::array requests{by_draft, by_lookup};
  std::vector<c_text> texts(2);
  ASSERT_EQ(c_run(engine.get(), requests.data(), 2, texts.data(), 1), GAMELAN_OK);
  for (const c_text& text : texts) {
    EXPECT_EQ(Tokens(text.tokens, text.tokens + text.token_count),
              Tokens(expected.greedy.begin(), expected.greedy.begin() + 12));
  }
  gamelan_statistics statistics;
  ASSERT_EQ(gamelan_get_statistics(engine.get(), &statistics, sizeof(statistics)), GAMELAN_OK);
  EXPECT_GT(statistics.proposed_tokens, 0U);
}

TEST(CApi, Cancels) {
  const EnginePtr engine = open_model("gpt2");
  const Tokens prompt{1, 2, 3};
  const gamelan_request request = request_for(prompt, 20);
  std::uint64_t id = 0;
  std::size_t count = 0;
  ASSERT_EQ(gamelan_submit(engine.get(), &request, &id), GAMELAN_OK);
  ASSERT_EQ(gamelan_step(engine.get(), &count), GAMELAN_OK);
  ASSERT_EQ(gamelan_cancel(engine.get(), id), GAMELAN_OK);
  EXPECT_EQ(gamelan_cancel(engine.get(), id), GAMELAN_CALLERS_MISTAKE);
  EXPECT_THAT(gamelan_last_error(), HasSubstr("is not there, or has ended"));
  ASSERT_EQ(gamelan_step(engine.get(), &count), GAMELAN_OK);
  ASSERT_EQ(count, 1U);
  const gamelan_event* event = gamelan_get_event(engine.get(), 0);
  EXPECT_STREQ(event->finish, "cancelled");
  EXPECT_NE(event->last, 0);
  EXPECT_EQ(gamelan_get_event(engine.get(), 1), nullptr);
  EXPECT_NE(gamelan_idle(engine.get()), 0);
}

TEST(CApi, SaysWhatIsWrongWithAnEngine) {
  gamelan_engine* engine = nullptr;
  const auto error = [&](const char* model, const gamelan_options* options) {
    EXPECT_EQ(gamelan_open(model, options, &engine), GAMELAN_CALLERS_MISTAKE);
    EXPECT_EQ(engine, nullptr);
    return std::string(gamelan_last_error());
  };
  const std::string gpt2 = model_folder("gpt2");
  EXPECT_THAT(error("/nope", nullptr), HasSubstr("/nope"));
  EXPECT_THAT(error(nullptr, nullptr), HasSubstr("model: expected a pointer, got NULL"));
  EXPECT_EQ(gamelan_open(gpt2.c_str(), nullptr, nullptr), GAMELAN_CALLERS_MISTAKE);
  const auto with = [&](const std::function<void(gamelan_options&)>& change) {
    gamelan_options options;
    gamelan_default_options(&options, sizeof(options));
    change(options);
    return error(gpt2.c_str(), &options);
  };
  EXPECT_THAT(with([](auto& o) { o.dtype = "f8"; }), HasSubstr("dtype: expected f32"));
  EXPECT_THAT(with([](auto& o) { o.cache_dtype = "u8"; }), HasSubstr("cache_dtype: expected f32"));
  EXPECT_THAT(with([](auto& o) { o.threads = -1; }), HasSubstr("threads: expected 0 or more"));
  EXPECT_THAT(with([](auto& o) { o.cache_bytes = 1; }), HasSubstr("hold no block"));
  EXPECT_THAT(with([](auto& o) { o.tokenizer = "/nope"; }), HasSubstr("/nope"));
  EXPECT_THAT(with([](auto& o) { o.draft_model = "/nope"; }), HasSubstr("/nope"));
  EXPECT_THAT(with([](auto& o) { o.size = 0; }), HasSubstr("gamelan_default_options() has filled"));
  EXPECT_THAT(with([](auto& o) { o.size = sizeof(o) + 1; }), HasSubstr("at most"));
}

TEST(CApi, SaysWhatIsWrongWithARequest) {
  const EnginePtr engine = open_model("gpt2");
  const Tokens prompt{1, 2, 3};
  std::uint64_t id = 7;
  const auto error = [&](const std::function<void(gamelan_request&)>& change) {
    gamelan_request request = request_for(prompt, 4);
    change(request);
    EXPECT_EQ(gamelan_submit(engine.get(), &request, &id), GAMELAN_CALLERS_MISTAKE);
    EXPECT_EQ(id, 0U);
    return std::string(gamelan_last_error());
  };
  const Tokens outside{97};
  const gamelan_tokens empty{nullptr, 0};
  EXPECT_THAT(error([](auto& r) { r.prompt_tokens = 0; }), HasSubstr("prompt: expected at least"));
  EXPECT_THAT(error([](auto& r) { r.prompt = nullptr; }), HasSubstr("prompt: expected 3 tokens"));
  EXPECT_THAT(error([&](auto& r) {
                r.prompt = outside.data();
                r.prompt_tokens = 1;
              }),
              HasSubstr("got 97 at index 0"));
  EXPECT_THAT(error([](auto& r) { r.stop_word_count = 2; }), HasSubstr("expected 2 words"));
  EXPECT_THAT(error([&](auto& r) {
                r.bad_words = &empty;
                r.bad_word_count = 1;
              }),
              HasSubstr("bad_words: expected at least one token"));
  EXPECT_THAT(error([](auto& r) { r.draft_tokens = 2; }), HasSubstr("no draft model"));
  EXPECT_THAT(error([](auto& r) { r.size = 0; }), HasSubstr("got size 0"));
  EXPECT_NE(gamelan_idle(engine.get()), 0);
}

TEST(CApi, TakesNullForAMistake) {
  const EnginePtr engine = open_model("gpt2");
  const Tokens prompt{1};
  const gamelan_request request = request_for(prompt, 1);
  std::uint64_t id = 0;
  std::size_t count = 0;
  const char* text = nullptr;
  const int32_t* tokens = nullptr;
  gamelan_decoder* decoder = nullptr;
  gamelan_statistics statistics;
  for (const int code :
       {gamelan_submit(nullptr, &request, &id), gamelan_submit(engine.get(), nullptr, &id),
        gamelan_submit(engine.get(), &request, nullptr), gamelan_cancel(nullptr, 1),
        gamelan_step(nullptr, &count), gamelan_step(engine.get(), nullptr),
        gamelan_encode(nullptr, "x", &tokens, &count),
        gamelan_encode(engine.get(), nullptr, &tokens, &count),
        gamelan_decode(engine.get(), prompt.data(), 1, nullptr),
        gamelan_decoder_open(nullptr, &decoder), gamelan_decoder_open(engine.get(), nullptr),
        gamelan_decoder_push(nullptr, prompt.data(), 1, &text),
        gamelan_decoder_finish(nullptr, &text),
        gamelan_get_statistics(nullptr, &statistics, sizeof(statistics)),
        gamelan_get_statistics(engine.get(), nullptr, sizeof(statistics))}) {
    EXPECT_EQ(code, GAMELAN_CALLERS_MISTAKE);
    EXPECT_THAT(gamelan_last_error(), HasSubstr("expected a pointer, got NULL"));
  }
  EXPECT_EQ(gamelan_get_event(nullptr, 0), nullptr);
  EXPECT_NE(gamelan_idle(nullptr), 0);
  gamelan_close(nullptr);
  gamelan_decoder_close(nullptr);
}

TEST(CApi, NeedsATokenizerForText) {
  const EnginePtr engine = open_model("gpt2");
  const int32_t* tokens = nullptr;
  std::size_t count = 0;
  EXPECT_EQ(gamelan_encode(engine.get(), "x", &tokens, &count), GAMELAN_CALLERS_MISTAKE);
  EXPECT_THAT(gamelan_last_error(), HasSubstr("the model has no tokenizer"));
}

/// A program that was compiled when the request ended after top_p.
TEST(CApi, TakesShorterStructsOfOlderPrograms) {
  constexpr std::size_t kOld = offsetof(gamelan_request, min_p);
  gamelan_request request;
  std::memset(&request, 0xff, sizeof(request));
  gamelan_default_request(&request, kOld);
  EXPECT_EQ(request.size, kOld);
  EXPECT_EQ(reinterpret_cast<const unsigned char*>(&request)[kOld], 0xff);
  const Tokens prompt{1, 2};
  request.prompt = prompt.data();
  request.prompt_tokens = prompt.size();
  const auto made = request_of(request);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->prompt, prompt);
  EXPECT_EQ(made->sampling.min_p, 0);
  EXPECT_EQ(made->beam.width, 1);
  EXPECT_TRUE(made->stop_words.empty());
}

TEST(CApi, TellsAStoryAsText) {
  const std::string folder = std::string(GAMELAN_SOURCE_DIR) + "/../shared/data/stories260K/";
  if (!std::filesystem::exists(folder + "stories260K.bin")) {
    GTEST_SKIP() << "SKIPPED: " << folder << " is missing";
  }
  gamelan_engine* opened = nullptr;
  ASSERT_EQ(c_open((folder + "stories260K.bin").c_str(), nullptr, &opened), GAMELAN_OK)
      << gamelan_last_error();
  const EnginePtr engine(opened, &gamelan_close);
  std::array<char, 2000> text{};
  ASSERT_EQ(c_continue(engine.get(), "", 200, text.data(), text.size()), GAMELAN_OK)
      << gamelan_last_error();
  std::ifstream file(folder + "expected_greedy_200.txt");
  EXPECT_EQ(std::string(text.data()), std::string(std::istreambuf_iterator<char>(file), {}));
  const int32_t* tokens = nullptr;
  const char* decoded = nullptr;
  std::size_t count = 0;
  ASSERT_EQ(gamelan_encode(engine.get(), "Once upon a time", &tokens, &count), GAMELAN_OK);
  const Tokens copy(tokens, tokens + count);
  ASSERT_EQ(gamelan_decode(engine.get(), copy.data(), copy.size(), &decoded), GAMELAN_OK);
  EXPECT_THAT(decoded, HasSubstr("Once upon a time"));
}

}  // namespace
}  // namespace gamelan::infer
