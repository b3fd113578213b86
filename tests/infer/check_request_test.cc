#include "infer/engine/check_request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "fake_model.h"
#include "infer/sampling/stop_text.h"

namespace gamelan::infer {
namespace {

using ::testing::HasSubstr;

TEST(CheckRequest, SaysWhatIsWrong) {
  io::ModelConfig config;
  config.vocab_size = 31;
  config.max_positions = 100;
  const EngineLimits limits{8, 20, 4, true, false};
  const auto check = [&](const std::function<void(Request&)>& change) {
    Request request;
    request.prompt = {1, 2, 3};
    change(request);
    const base::Status status = check_request(request, config, limits);
    EXPECT_TRUE(status.ok() || status.code() == base::StatusCode::kInvalidArgument);
    return std::string(base::message(status));
  };
  EXPECT_EQ(check([](Request&) {}), "");
  EXPECT_THAT(check([](Request& r) { r.prompt.clear(); }), HasSubstr("prompt: expected at least"));
  EXPECT_THAT(check([](Request& r) { r.prompt = {1, -1}; }), HasSubstr("got -1 at index 1"));
  EXPECT_THAT(check([](Request& r) { r.max_new_tokens = 0; }), HasSubstr("expected at least 1"));
  EXPECT_THAT(check([](Request& r) { r.max_new_tokens = 99; }), HasSubstr("leaves room for 98"));
  EXPECT_THAT(check([](Request& r) {
                r.prompt.assign(100, 1);
                r.max_new_tokens = 2;
              }),
              HasSubstr("leaves room for 1, got 2"));
  EXPECT_THAT(check([](Request& r) { r.prompt.assign(101, 1); }),
              "prompt: 101 tokens, but the model takes 100");
  EXPECT_THAT(check([](Request& r) { r.min_new_tokens = 17; }), HasSubstr("0 … max_new_tokens 16"));
  EXPECT_THAT(check([](Request& r) { r.sampling.temperature = -1; }), HasSubstr("temperature"));
  EXPECT_THAT(
      check([](Request& r) { r.sampling.temperature = std::numeric_limits<double>::infinity(); }),
      HasSubstr("got inf"));
  EXPECT_THAT(check([](Request& r) { r.sampling.top_k = -1; }), HasSubstr("top_k"));
  EXPECT_THAT(check([](Request& r) { r.sampling.top_p = 1.5; }), HasSubstr("got 1.5"));
  EXPECT_THAT(check([](Request& r) { r.sampling.min_p = 2; }), HasSubstr("min_p"));
  EXPECT_THAT(check([](Request& r) { r.sampling.repetition_penalty = 0; }), HasSubstr("more than"));
  EXPECT_THAT(check([](Request& r) { r.beam.width = 0; }), HasSubstr("beam.width"));
  EXPECT_THAT(check([](Request& r) { r.beam = {.width = 4, .groups = 3}; }), HasSubstr("divisor"));
  EXPECT_THAT(check([](Request& r) { r.beam.diversity_penalty = 1; }), HasSubstr("beam.groups"));
  EXPECT_THAT(check([](Request& r) { r.beam.width = 16; }), HasSubstr("half the vocabulary"));
  EXPECT_THAT(check([](Request& r) {
                r.beam.width = 2;
                r.stop_words = {{1}};
                r.log_probabilities = true;
              }),
              "");
  EXPECT_THAT(check([](Request& r) {
                r.beam.width = 2;
                r.best_of = 3;
              }),
              HasSubstr("best_of: expected 0 with beams"));
  EXPECT_THAT(check([](Request& r) {
                r.beam.width = 2;
                r.lookup_tokens = 3;
              }),
              HasSubstr("expected 0 with beams, which are chosen anew at each token"));
  EXPECT_THAT(check([](Request& r) { r.n = 0; }), HasSubstr("n: expected at least 1"));
  EXPECT_THAT(check([](Request& r) { r.n = 2; }), HasSubstr("all be the same"));
  EXPECT_THAT(check([](Request& r) {
                r.n = 3;
                r.best_of = 2;
              }),
              HasSubstr("at least n 3, got 2"));
  EXPECT_THAT(check([](Request& r) { r.top_log_probabilities = 2; }), HasSubstr("got 2"));
  EXPECT_THAT(check([](Request& r) { r.lookup_tokens = -1; }), HasSubstr("lookup_tokens"));
  EXPECT_THAT(check([](Request& r) { r.draft_tokens = 1; }), HasSubstr("no draft model"));
  EXPECT_THAT(check([](Request& r) { r.stop_words = {{}}; }), HasSubstr("empty word"));
  EXPECT_THAT(check([](Request& r) { r.bad_words = {{31}}; }), HasSubstr("bad_words"));
  EXPECT_THAT(check([](Request& r) { r.end_tokens = {{31}}; }), HasSubstr("end_tokens"));
  EXPECT_THAT(check([](Request& r) {
                r.n = 9;
                r.sampling.temperature = 1;
              }),
              HasSubstr("at most 8 sequences, got 9"));
  EXPECT_THAT(check([](Request& r) { r.max_new_tokens = 80; }),
              HasSubstr("need 21 blocks of 4 tokens, there are 20"));
}

TEST(CheckRequest, CountsTheBlocksThatTextsShare) {
  Request request;
  request.prompt.resize(10);
  request.max_new_tokens = 7;  // 16 positions
  EXPECT_EQ(blocks_of(request, {8, 100, 4, true, false}), 4);
  request.n = 3;
  EXPECT_EQ(blocks_of(request, {8, 100, 4, true, false}), 2 + 3 * 2);
  EXPECT_EQ(blocks_of(request, {8, 100, 4, false, false}), 12);
}

TEST(EngineCreate, SaysWhatIsWrong) {
  testing::FakeModel model;
  EngineOptions options;
  options.cache_bytes = 15;  // a block takes 16
  EXPECT_EQ(base::message(Engine::create(model, options).status()),
            "cache_bytes: 15 bytes hold no block of 16 tokens, which takes 16 bytes");
  options.cache_bytes = 16;
  EXPECT_TRUE(Engine::create(model, options).ok());
  options.max_step_tokens = 0;
  EXPECT_FALSE(Engine::create(model, options).ok());
}

TEST(StopText, HoldsBackWhatMayBecomeAWord) {
  StopText stop({"", "abc", "bcd"});
  EXPECT_EQ(stop.push("xxa"), "xx");
  EXPECT_EQ(stop.push("b"), "");
  EXPECT_EQ(stop.push("x"), "abx");
  EXPECT_EQ(stop.push("bbc"), "b");
  EXPECT_FALSE(stop.stopped());
  EXPECT_EQ(stop.push("d and more"), "");
  EXPECT_TRUE(stop.stopped());
  EXPECT_EQ(stop.push("more"), "");
  EXPECT_EQ(stop.finish(), "");
  StopText open({"abc"});
  EXPECT_EQ(open.push("xab"), "x");
  EXPECT_EQ(open.finish(), "ab");
}

}  // namespace
}  // namespace gamelan::infer
