// Each option of `gamelan generate` reaches the field of the engine's request that it names.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gmock/gmock.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "infer/engine/engine.h"
#include "tests/apps/bloom_folder.h"
#include "tests/infer/model_fixture.h"
#include "tests/infer/whole_texts.h"
#include "tests/io/temporary_folder.h"
#include "tests/launch/launched.h"

namespace gamelan::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Json = nlohmann::json;
using Arguments = std::vector<std::string>;

constexpr int kNewTokens = 24;

struct Settings {
  infer::Request request;
  tensor::DType cache = tensor::DType::kF32;
};
using Setter = std::function<void(Settings&)>;

Arguments joined(Arguments first, const Arguments& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

Json json_of(const infer::Event& text) {
  Json json = {{"token_ids", text.tokens}, {"finish_reason", infer::name_of(text.finish)}};
  if (text.score != 0) {
    json["score"] = text.score;
  }
  json["log_probabilities"] = text.log_probabilities;
  for (const auto& alternatives : text.alternatives) {
    Json& one = json["alternatives"].emplace_back(Json::array());
    for (const infer::TokenAlternative& a : alternatives) {
      one.push_back({{"token_id", a.token}, {"log_probability", a.log_probability}});
    }
  }
  return json;
}

/// A tiny Llama, whose greedy text does not soon repeat one token, with an end token in that text.
class GenerateOptions : public ::testing::Test {
 protected:
  void SetUp() override {
    copy_model_of_characters("llama", folder_);
    expected_ = infer::testing::read_expected("llama");
    Json config = Json::parse(folder_.read("config.json"));
    config["eos_token_id"] = end_token();
    folder_.write("config.json", config.dump());
    auto model = infer::load_causal_model(folder_.path(), *context_,
                                          {.scheme = kernels::WeightScheme::kF32, .parallel = {}});
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = *std::move(model);
  }
  text::TokenId end_token() const { return expected_.greedy[9]; }
  /// The character that is a token.
  static std::string character(text::TokenId token) { return {static_cast<char>('!' + token)}; }

  /// "results" and what speculation did, of the command.
  Json run(const Arguments& options) const {
    const Result result = run_gamelan(
        joined({"generate", "--model", folder_.path(), "--dtype", "f32", "--input-ids",
                fmt::format("{}", fmt::join(expected_.input_ids, ",")), "--max-new-tokens",
                std::to_string(kNewTokens), "--kv-cache-dtype", "f32", "--logprobs", "2", "--json"},
               options));
    EXPECT_EQ(result.exit, 0) << result.errors;
    const Json json = Json::parse(result.output, nullptr, false);
    Json texts = json["results"][0]["texts"];
    for (Json& text : texts) {
      text.erase("text");
    }
    return {{"texts", texts},
            {"proposed", json["statistics"]["proposed_tokens"]},
            {"accepted", json["statistics"]["accepted_tokens"]}};
  }

  /// The same of the engine.
  Json run(const Setter& base, const Setter& set) {
    Settings settings;
    settings.request.prompt = expected_.input_ids;
    settings.request.max_new_tokens = kNewTokens;
    settings.request.log_probabilities = true;
    settings.request.top_log_probabilities = 2;
    base(settings);
    set(settings);
    infer::EngineOptions options;
    options.cache.dtype = settings.cache;
    const auto engine = infer::Engine::create(*model_, options);
    EXPECT_TRUE(engine.ok()) << engine.status();
    Json json = Json::array();
    for (const infer::Event& text : infer::testing::whole_texts(**engine, settings.request)) {
      json.push_back(json_of(text));
    }
    const infer::EngineStatistics statistics = (*engine)->statistics();
    return {{"texts", json},
            {"proposed", statistics.proposed_tokens},
            {"accepted", statistics.accepted_tokens}};
  }

  /// `options` beside those of the base are `set` beside that of the base, and change something.
  void expect_same(const Arguments& base_options, const Setter& base, const Arguments& options,
                   const Setter& set) {
    SCOPED_TRACE(fmt::format("{}", fmt::join(joined(base_options, options), " ")));
    const Json theirs = run(base, set);
    EXPECT_EQ(run(joined(base_options, options)), theirs);
    EXPECT_NE(run(base, [](Settings&) {}), theirs);
  }

  io::TemporaryFolder folder_;
  infer::testing::Expected expected_;
  infer::testing::TestContext context_;
  std::unique_ptr<infer::CausalModel> model_;
};

TEST_F(GenerateOptions, OfGreedyTexts) {
  const Setter none = [](Settings&) {};
  const text::TokenId bad = expected_.greedy[2];
  const text::TokenId space = 94;
  const std::pair<Arguments, Setter> cases[] = {
      {{"--repetition-penalty", "1.6"},
       [](Settings& s) { s.request.sampling.repetition_penalty = 1.6; }},
      {{"--presence-penalty", "0.7"},
       [](Settings& s) { s.request.sampling.presence_penalty = 0.7; }},
      {{"--frequency-penalty", "0.7"},
       [](Settings& s) { s.request.sampling.frequency_penalty = 0.7; }},
      {{"--min-new-tokens", "20"}, [](Settings& s) { s.request.min_new_tokens = 20; }},
      {{"--max-new-tokens", "5"}, [](Settings& s) { s.request.max_new_tokens = 5; }},
      {{"--ignore-eos"}, [](Settings& s) { s.request.end_tokens.emplace(); }},
      {{"--bad-words", character(bad), "--bad-words", "~~"},
       [=](Settings& s) {
         s.request.bad_words = {{bad}, {space, bad}, {93, 93}, {space, 93, 93}};
       }},
      {{"--logprobs", "4"}, [](Settings& s) { s.request.top_log_probabilities = 4; }},
      {{"--kv-cache-dtype", "bf16"}, [](Settings& s) { s.cache = tensor::DType::kBF16; }},
      {{"--kv-cache-dtype", "f16"}, [](Settings& s) { s.cache = tensor::DType::kF16; }},
      {{"--kv-cache-dtype", "int8"}, [](Settings& s) { s.cache = tensor::DType::kI8; }},
  };
  for (const auto& [options, set] : cases) {
    expect_same({}, none, options, set);
  }
  EXPECT_EQ(run({"--kv-cache-dtype", "auto"}), run(none, none));
}

TEST_F(GenerateOptions, OfDrawnTexts) {
  const Arguments drawn = {"--temperature", "0.8", "--seed", "11"};
  const Setter base = [](Settings& s) {
    s.request.sampling.temperature = 0.8;
    s.request.sampling.seed = 11;
  };
  const std::pair<Arguments, Setter> cases[] = {
      {{"--temperature", "1.7"}, [](Settings& s) { s.request.sampling.temperature = 1.7; }},
      {{"--seed", "12"}, [](Settings& s) { s.request.sampling.seed = 12; }},
      {{"--top-k", "2"}, [](Settings& s) { s.request.sampling.top_k = 2; }},
      {{"--top-p", "0.3"}, [](Settings& s) { s.request.sampling.top_p = 0.3; }},
      {{"--min-p", "0.6"}, [](Settings& s) { s.request.sampling.min_p = 0.6; }},
      {{"--n", "2"}, [](Settings& s) { s.request.n = 2; }},
      {{"--num-return-sequences", "3"}, [](Settings& s) { s.request.n = 3; }},
  };
  for (const auto& [options, set] : cases) {
    expect_same(drawn, base, options, set);
  }
  const Setter two = [&](Settings& s) {
    base(s);
    s.request.n = 2;
  };
  expect_same(joined(drawn, {"--n", "2"}), two, {"--best-of", "12"},
              [](Settings& s) { s.request.best_of = 12; });
  // Texts end at a stop text before the best are chosen.
  const text::TokenId stop = expected_.greedy[2];
  const Setter best = [&](Settings& s) {
    two(s);
    s.request.best_of = 12;
  };
  expect_same(joined(drawn, {"--n", "2", "--best-of", "12"}), best, {"--stop", character(stop)},
              [stop](Settings& s) { s.request.stop_words = {{stop}}; });
}

TEST_F(GenerateOptions, OfBeams) {
  const Arguments beams = {"--num-beams", "4", "--n", "4"};
  const Setter base = [](Settings& s) {
    s.request.beam.width = 4;
    s.request.n = 4;
  };
  const text::TokenId stop = expected_.greedy[4];
  const text::TokenId space = 94;
  const std::pair<Arguments, Setter> cases[] = {
      {{"--num-beams", "6", "--n", "6"},
       [](Settings& s) { s.request.beam.width = s.request.n = 6; }},
      {{"--length-penalty", "-1.5"}, [](Settings& s) { s.request.beam.length_penalty = -1.5; }},
      {{"--early-stopping"}, [](Settings& s) { s.request.beam.early_stopping = true; }},
      {{"--num-beam-groups", "2"}, [](Settings& s) { s.request.beam.groups = 2; }},
      {{"--num-beam-groups", "2", "--diversity-penalty", "1.25"},
       [](Settings& s) {
         s.request.beam.groups = 2;
         s.request.beam.diversity_penalty = 1.25;
       }},
      {{"--stop", character(stop)},
       [=](Settings& s) {
         s.request.stop_words = {{stop}, {space, stop}};
       }},
  };
  for (const auto& [options, set] : cases) {
    expect_same(beams, base, options, set);
  }
}

TEST_F(GenerateOptions, OfLookUp) {
  // A text that repeats itself.
  const Arguments repeats = {"--ignore-eos", "--repetition-penalty", "0.5"};
  const Setter base = [](Settings& s) {
    s.request.end_tokens.emplace();
    s.request.sampling.repetition_penalty = 0.5;
  };
  const Setter five = [&](Settings& s) {
    base(s);
    s.request.lookup_tokens = 5;
  };
  expect_same(repeats, base, {"--prompt-lookup-num-tokens", "5"}, five);
  expect_same(joined(repeats, {"--prompt-lookup-num-tokens", "5"}), five,
              {"--max-matching-ngram-size", "1"}, [](Settings& s) { s.request.lookup_ngram = 1; });
}

/// --prompt-file is --prompt, and both are echoed.
TEST_F(GenerateOptions, OfPrompts) {
  const auto print = [&](const Arguments& options, const std::string& input = "") {
    Launched::Options launched;
    launched.input = input;
    const Result result = run_gamelan(joined({"generate", "--model", folder_.path(), "--dtype",
                                              "f32", "--max-new-tokens", "6", "--ignore-eos"},
                                             options),
                                      launched);
    EXPECT_EQ(result.exit, 0) << result.errors;
    return result.output;
  };
  const std::string file = folder_.write("prompt.txt", "once upon");
  const std::string said = print({"--prompt", "once upon"});
  EXPECT_GT(said.size(), 2U);
  EXPECT_EQ(print({"--prompt-file", file}), said);
  EXPECT_EQ(print({"--prompt-file", "-"}, "once upon"), said);
  EXPECT_EQ(print({"--prompt-file", file, "--stream"}), said);
  for (const Arguments& prompt : {Arguments{"--prompt", "once upon"}, {"--prompt-file", file}}) {
    EXPECT_EQ(print(joined(prompt, {"--echo"})), "once upon" + said);
    EXPECT_EQ(print(joined(prompt, {"--echo", "--stream"})), "once upon" + said);
  }
  const std::string both = print({"--prompt-file", file, "--prompt", "two", "--echo"});
  EXPECT_THAT(both, AllOf(HasSubstr("[prompt 1]\ntwo"), HasSubstr("[prompt 2]\nonce upon")));
}

TEST_F(GenerateOptions, ThatNeedOthersSaySo) {
  const std::pair<Arguments, std::string> cases[] = {
      {{"--num-assistant-tokens", "2"}, "--num-assistant-tokens: expected --assistant-model"},
      {{"--max-matching-ngram-size", "2"},
       "--max-matching-ngram-size: expected --prompt-lookup-num-tokens"},
      {{"--length-penalty", "2"}, "--length-penalty: expected --num-beams"},
      {{"--early-stopping"}, "--early-stopping: expected --num-beams"},
      {{"--num-beam-groups", "2"}, "--num-beam-groups: expected --num-beams"},
      {{"--num-beams", "2", "--diversity-penalty", "1"},
       "--diversity-penalty: expected --num-beam-groups"},
      {{"--logprobs", "1"}, "--logprobs: expected --json"},
      {{"--echo"}, "--echo: expected a prompt of text, got --input-ids"},
      {{"--echo", "--json"}, "--echo: expected no --json"},
      {{"--stream", "--json"}, "expected either --json or --stream"},
      {{"--stream", "--input-ids", "6"}, "--stream: expected one text, got several"},
      {{"--stream", "--n", "2", "--temperature", "1"}, "--stream: expected one text"},
  };
  for (const auto& [options, message] : cases) {
    const Result result =
        run_gamelan(joined({"generate", "--model", folder_.path(), "--input-ids", "5"}, options));
    EXPECT_EQ(result.exit, 2) << message;
    EXPECT_THAT(result.errors, HasSubstr(message));
    EXPECT_EQ(result.output, "") << message;
  }
}

TEST_F(GenerateOptions, WarnsOfChoicesThatNothingIsDrawnFrom) {
  const auto errors = [&](const Arguments& options) {
    const Result result = run_gamelan(joined(
        {"generate", "--model", folder_.path(), "--input-ids", "5,6", "--max-new-tokens", "2"},
        options));
    EXPECT_EQ(result.exit, 0) << result.errors;
    return result.errors;
  };
  EXPECT_EQ(errors({"--top-k", "5", "--top-p", "0.9", "--min-p", "0.1"}),
            "gamelan generate: --top-k, --top-p, --min-p: ignored at --temperature 0, which draws "
            "no tokens\n");
  EXPECT_EQ(errors({"--top-k", "1", "--top-p", "1", "--min-p", "0"}), "");
  EXPECT_EQ(errors({"--top-k", "5", "--top-p", "0.9", "--temperature", "0.5"}), "");
}

}  // namespace
}  // namespace gamelan::testing
