// `gamelan eval lambada` as a user runs it, on a tiny model and passages that it cannot but
// predict.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/apps/bloom_folder.h"
#include "tests/io/temporary_folder.h"
#include "tests/launch/launched.h"

namespace gamelan::testing {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

class LambadaCommand : public ::testing::Test {
 protected:
  void SetUp() override { copy_model_of_characters("bloom_12_heads", folder_); }
  Result evaluate(const std::string& passages, std::vector<std::string> options = {}) {
    options.insert(options.begin(),
                   {"eval", "lambada", "--checkpoint-path", folder_.path(), "--dataset-path",
                    folder_.write("passages.jsonl", passages), "--data-type", "fp32"});
    return run_gamelan(options);
  }
  /// What --output-path holds.
  json rows_of(const std::string& passages, std::vector<std::string> options = {}) {
    const std::string out = folder_.file("rows.json");
    options.insert(options.end(), {"--output-path", out});
    const Result result = evaluate(passages, std::move(options));
    EXPECT_EQ(result.exit, 0) << result.errors;
    return json::parse(read_file(out), nullptr, false);
  }
  /// What `gamelan generate` makes of the rows' inputs, as many tokens as their targets have: the
  /// first text of each.
  std::vector<json> generate(const json& rows, const std::vector<std::string>& options) {
    std::vector<json> texts;
    for (const json& row : rows) {
      std::string ids = row["input_ids"].dump();
      ids = ids.substr(1, ids.size() - 2);
      std::vector<std::string> arguments = {
          "generate",    "--model", folder_.path(),     "--json",
          "--input-ids", ids,       "--max-new-tokens", std::to_string(row["target_ids"].size())};
      arguments.insert(arguments.end(), options.begin(), options.end());
      const Result result = run_gamelan(arguments);
      EXPECT_EQ(result.exit, 0) << result.errors;
      texts.push_back(json::parse(result.output, nullptr, false)["results"][0]["texts"][0]);
    }
    return texts;
  }
  /// Makes `token` the one that ends the model's texts.
  void set_end_token(const json& token) {
    json config = json::parse(folder_.read("config.json"));
    config["eos_token_id"] = token;
    folder_.write("config.json", config.dump());
  }

  io::TemporaryFolder folder_;
};

/// The same with a model whose greedy texts do not soon repeat one token.
class LambadaOptions : public LambadaCommand {
 protected:
  void SetUp() override { copy_model_of_characters("llama", folder_); }
};

constexpr const char* kPassages =
    "{\"text\": \"once upon a time\"}\n{\"text\": \"two wooden words\"}\n"
    "{\"text\": \"a b c d e f g hijklmno\"}\n";

TEST_F(LambadaCommand, CountsRowsWhoseEveryTokenIsRight) {
  const std::string out = folder_.file("rows.json");
  const Result result = evaluate(
      "{\"text\": \"once upon a time\"}\n{\"text\": \"two words\"}\n{\"text\": \"a b c d e f "
      "g\"}\n",
      {"--batch-size", "2", "--output-path", out});
  ASSERT_EQ(result.exit, 0) << result.errors;
  EXPECT_THAT(result.output, ContainsRegex("Accuracy: [0-9.]+% \\([0-3]/3\\) \\(elapsed time: "
                                           "[0-9]+\\.[0-9]{4} sec\\)\n"));
  std::ifstream file(out);
  const json rows = json::parse(file);
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[1]["target"], " words");
  EXPECT_EQ(rows[1]["target_ids"].size(), 6U);
  EXPECT_EQ(rows[1]["output_ids"].size(), 6U);
  // The correct ones are those whose output is the target.
  std::size_t correct = 0;
  for (const json& row : rows) {
    EXPECT_EQ(row["correct"], row["output_ids"] == row["target_ids"]);
    correct += row["correct"].get<bool>() ? 1 : 0;
  }
  EXPECT_THAT(result.output, HasSubstr(" (" + std::to_string(correct) + "/3) "));
}

TEST_F(LambadaCommand, TheBatchDoesNotChangeTheTokens) {
  std::string passages;
  for (int i = 0; i < 20; ++i) {
    passages += json{{"text", std::string(static_cast<std::size_t>(1 + 3 * i), 'a') + " word" +
                                  std::string(static_cast<std::size_t>(i % 4), 'x')}}
                    .dump() +
                "\n";
  }
  std::vector<json> all;
  for (const char* const batch : {"1", "7", "64"}) {
    const std::string out = folder_.file("rows.json");
    const Result result = evaluate(passages, {"--batch-size", batch, "--output-path", out});
    ASSERT_EQ(result.exit, 0) << result.errors;
    std::ifstream file(out);
    all.push_back(json::parse(file));
  }
  EXPECT_EQ(all[0], all[1]);
  EXPECT_EQ(all[0], all[2]);
}

TEST_F(LambadaCommand, TakesTheOptionsOfTheScript) {
  const Result result =
      evaluate("{\"text\": \"two words\"}\n",
               {"-tp", "1", "-pp=1", "--lib_path", "libth_transformer.so", "--num-heads", "12",
                "--top-k", "1", "--random-seed", "1", "2", "--beam-width", "2",
                "--return-cum-log-probs", "1", "--acc-threshold", "0", "--show-progress"});
  ASSERT_EQ(result.exit, 0) << result.errors;
  EXPECT_EQ(count_of(result.errors,
                     "--num-heads, --lib-path, --random-seed, "
                     "--return-cum-log-probs: ignored"),
            1);
  EXPECT_THAT(result.output, HasSubstr("TEST PASS"));
  const Result failed = evaluate("{\"text\": \"two words\"}\n", {"--acc-threshold", "101"});
  EXPECT_EQ(failed.exit, 1);
  EXPECT_THAT(failed.output, HasSubstr("TEST FAIL"));
  const Result hf = evaluate("{\"text\": \"two words\"}\n", {"--test-hf"});
  EXPECT_EQ(hf.exit, 2);
  EXPECT_THAT(hf.errors, HasSubstr("bench/peers/lambada_hf.py"));
}

TEST_F(LambadaCommand, NamesWhatItIgnoresOnce) {
  const std::vector<std::string> ignored = {"--num-heads",
                                            "--size-per-head",
                                            "--inter-size",
                                            "--num-layers",
                                            "--vocab-size",
                                            "--shared-contexts-ratio",
                                            "--lib-path",
                                            "--weights-data-type",
                                            "--start-id",
                                            "--output-length",
                                            "--top-p",
                                            "--temperature",
                                            "--len-penalty",
                                            "--beam-search-diversity-rate",
                                            "--return-cum-log-probs"};
  std::vector<std::string> options = {"--no_remove_padding", "--json"};
  for (const std::string& name : ignored) {
    options.insert(options.end(), {name, "1"});
  }
  const std::string passages = folder_.write("passages.jsonl", kPassages);
  for (const int ranks : {1, 2}) {
    std::vector<std::string> arguments = {"eval",         "lambada",        "--checkpoint-path",
                                          folder_.path(), "--dataset-path", passages};
    arguments.insert(arguments.end(), options.begin(), options.end());
    if (ranks == 2) {
      arguments.insert(arguments.begin(),
                       {"run", "--standalone", "--nproc-per-node", "2", GAMELAN_PROGRAM});
      arguments.insert(arguments.end(), {"-tp", "2"});
    }
    const Result result = run_gamelan(arguments);
    ASSERT_EQ(result.exit, 0) << result.errors;
    EXPECT_EQ(count_of(result.errors, ": ignored; "), 1) << result.errors;
    for (const std::string& name : ignored) {
      EXPECT_THAT(result.errors, HasSubstr(name)) << ranks;
    }
    EXPECT_TRUE(json::accept(result.output)) << result.output;
  }
}

TEST_F(LambadaCommand, TellsTheSameAsJson) {
  const Result text = evaluate(kPassages);
  const Result result =
      evaluate(kPassages, {"--json", "--batch-size", "2", "--acc-threshold", "0"});
  ASSERT_EQ(text.exit, 0) << text.errors;
  ASSERT_EQ(result.exit, 0) << result.errors;
  const json told = json::parse(result.output);
  EXPECT_EQ(result.errors, "TEST PASS\n");
  EXPECT_THAT(text.output,
              HasSubstr(fmt::format("Accuracy: {:.4f}% ({}/{}) (", told["accuracy"].get<double>(),
                                    told["correct"].get<int>(), told["rows"].get<int>())));
  EXPECT_EQ(told["rows"], 3);
  EXPECT_NEAR(told["accuracy"].get<double>(), 100.0 * told["correct"].get<int>() / 3, 1e-9);
  EXPECT_EQ(told["batch_size"], 2);
  // "once upon a", "two wooden", "a b c d e f g", and the last words with a space each.
  EXPECT_EQ(told["prompt_tokens"].get<int>() + told["shared_tokens"].get<int>(), 11 + 10 + 13);
  EXPECT_EQ(told["generated_tokens"], 5 + 6 + 9);
  EXPECT_GT(told["steps"], 9);
  // Generation is a part of the whole, beside loading.
  EXPECT_GT(told["generation_seconds"], 0);
  EXPECT_GT(told["load_seconds"], 0);
  EXPECT_GE(told["total_seconds"].get<double>(),
            told["generation_seconds"].get<double>() + told["load_seconds"].get<double>());
  double generation = 0;
  double total = 0;
  double load = 0;
  const std::size_t time = text.output.find("(elapsed time: ");
  ASSERT_EQ(std::sscanf(text.output.c_str() + time,
                        "(elapsed time: %lf sec)\nTotal: %lf sec, %lf of them to load the model (",
                        &generation, &total, &load),
            3)
      << text.output;
  EXPECT_GE(total, generation + load - 1e-4);
  EXPECT_THAT(text.output, HasSubstr("(" + told["model"].get<std::string>() + ")\n"));
}

/// The sum of what the model itself says of each token, greedy or along a beam, whatever the
/// beam's length or penalties make of it.
TEST_F(LambadaOptions, AddUpLogProbabilities) {
  const struct {
    std::vector<std::string> here;
    std::vector<std::string> generate;
  } cases[] = {
      {{}, {}},
      {{"--beam-width", "3", "--len-penalty", "2"}, {"--num-beams", "3", "--length-penalty", "2"}},
      {{"--repetition-penalty", "1.5"}, {"--repetition-penalty", "1.5"}},
  };
  for (const auto& [here, options] : cases) {
    std::vector<std::string> mine = here;
    mine.insert(mine.end(), {"--return-cum-log-probs", "1"});
    const json rows = rows_of(kPassages, mine);
    std::vector<std::string> theirs = options;
    theirs.insert(theirs.end(), {"--dtype", "f32", "--logprobs", "0"});
    const std::vector<json> texts = generate(rows, theirs);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      EXPECT_EQ(rows[i]["output_ids"], texts[i]["token_ids"]);
      double sum = 0;
      for (const json& one : texts[i]["log_probabilities"]) {
        sum += one.get<double>();
      }
      EXPECT_LT(sum, 0);
      EXPECT_NEAR(rows[i]["cum_log_probs"].get<double>(), sum, 1e-9) << i;
    }
  }
  EXPECT_FALSE(rows_of(kPassages)[0].contains("cum_log_probs"));
}

/// Each option does what its namesake of `gamelan generate` does, and does something.
TEST_F(LambadaOptions, AreThoseOfGenerate) {
  // A token that ends some beams, so that their lengths differ.
  const json end = rows_of(kPassages)[1]["output_ids"][0];
  const std::string end_id = end.dump();
  const struct {
    std::vector<std::string> beside;
    std::vector<std::string> option;
    std::vector<std::string> generate;
  } cases[] = {
      {{}, {"--end-id", end_id}, {}},
      {{"--beam-width", "3", "--end-id", end_id},
       {"--len-penalty", "4"},
       {"--num-beams", "3", "--length-penalty", "4"}},
      {{"--beam-width", "4"},
       {"--beam-search-diversity-rate", "1.5"},
       {"--num-beams", "4", "--num-beam-groups", "4", "--diversity-penalty", "1.5",
        "--length-penalty", "0"}},
      {{}, {"--repetition-penalty", "1.5"}, {"--repetition-penalty", "1.5"}},
      {{"--top-k", "20", "--random-seed", "5"},
       {"--temperature", "1.5"},
       {"--top-k", "20", "--temperature", "1.5", "--seed", "5"}},
      {{"--top-k", "0", "--random-seed", "6"},
       {"--top-p", "0.6"},
       {"--top-p", "0.6", "--temperature", "1", "--seed", "6"}},
  };
  for (const auto& [beside, option, options] : cases) {
    std::vector<std::string> all = beside;
    all.insert(all.end(), option.begin(), option.end());
    const json rows = rows_of(kPassages, all);
    EXPECT_NE(rows, rows_of(kPassages, beside)) << option[0];
    std::vector<std::string> theirs = options;
    theirs.insert(theirs.end(), {"--dtype", "f32"});
    const bool ends = std::ranges::find(all, "--end-id") != all.end();
    set_end_token(ends ? end : json(2));
    const std::vector<json> texts = generate(rows, theirs);
    set_end_token(2);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      EXPECT_EQ(rows[i]["output_ids"], texts[i]["token_ids"]) << option[0] << " of row " << i;
    }
  }
}

TEST_F(LambadaOptions, GiveRowsTheSeedsInTurn) {
  const auto rows = [&](const std::vector<std::string>& seeds) {
    std::vector<std::string> options = {"--top-k", "0", "--random-seed"};
    options.insert(options.end(), seeds.begin(), seeds.end());
    return rows_of(kPassages, options);
  };
  const json mixed = rows({"5", "6"});
  const json five = rows({"5"});
  const json six = rows({"6"});
  EXPECT_NE(five[0], six[0]);
  EXPECT_NE(five[1], six[1]);
  EXPECT_EQ(mixed, json::array({five[0], six[1], five[2]}));
}

TEST_F(LambadaOptions, NameTypesOfNumbers) {
  const std::string passages = folder_.write("passages.jsonl", kPassages);
  const std::pair<std::vector<std::string>, std::string> cases[] = {
      {{}, "bf16"},
      {{"--data-type", "fp32"}, "f32"},
      {{"--inference-data-type", "fp16"}, "f16"},
      {{"--data-type", "bf16"}, "bf16"},
      {{"--data-type", "fp16", "--int8_mode", "1"}, "int8"},
      {{"--int8_mode", "0"}, "bf16"},
  };
  for (const auto& [options, scheme] : cases) {
    std::vector<std::string> arguments = {"eval",         "lambada",        "--checkpoint-path",
                                          folder_.path(), "--dataset-path", passages,
                                          "--json"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    const Result result = run_gamelan(arguments);
    ASSERT_EQ(result.exit, 0) << result.errors;
    EXPECT_THAT(json::parse(result.output)["model"].get<std::string>(),
                ::testing::StartsWith(scheme + " on the CPU"));
  }
}

TEST_F(LambadaCommand, AnUnwritableFileIsNamed) {
  const std::string file = folder_.write("file", "in the way");
  const Result result =
      evaluate("{\"text\": \"two words\"}\n", {"--output-path", file + "/rows.json"});
  EXPECT_EQ(result.exit, 1);
  EXPECT_THAT(result.errors,
              AllOf(HasSubstr("write " + file + "/rows.json"), HasSubstr("Not a directory")));
  EXPECT_EQ(read_file(file), "in the way");
}

TEST_F(LambadaCommand, SaysWhatIsWrong) {
  const auto errors = [&](const std::string& passages, std::vector<std::string> options = {}) {
    const Result result = evaluate(passages, std::move(options));
    EXPECT_NE(result.exit, 0);
    return result.errors;
  };
  EXPECT_THAT(errors("{\"text\": \"two words\"}\n{\"txt\": 1}\n"),
              AllOf(HasSubstr("passages.jsonl:2"), HasSubstr("text")));
  EXPECT_THAT(errors("{\"text\": \"word\"}\n"), HasSubstr("expected a text and a last word"));
  EXPECT_THAT(errors("{\"text\": \"two\n"), HasSubstr("passages.jsonl:1"));
  EXPECT_THAT(errors(""), HasSubstr("has no lines"));
  EXPECT_THAT(errors("{\"text\": \"two words\"}\n", {"-tp", "5"}),
              HasSubstr("expected 5 processes"));
  EXPECT_THAT(errors("{\"text\": \"two words\"}\n", {"--beam-width", "2", "--top-k", "5"}),
              HasSubstr("--beam-width 2"));
  EXPECT_THAT(errors("{\"text\": \"two words\"}\n", {"--dtype", "bf16"}),
              HasSubstr("--inference-data-type"));
}

TEST(LambadaLimit, NamesTheRowThatIsTooLong) {
  const io::TemporaryFolder folder;
  copy_model_of_characters("gpt2", folder);
  const std::string rows =
      folder.write("passages.jsonl",
                   "{\"text\": \"two words\"}\n{\"text\": \"" + std::string(65, 'a') + " b\"}\n");
  const Result result =
      run_gamelan({"eval", "lambada", "--checkpoint-path", folder.path(), "--dataset-path", rows});
  EXPECT_EQ(result.exit, 1);
  EXPECT_THAT(result.errors,
              HasSubstr("passages.jsonl: row 2: prompt: 65 tokens, but the model takes 64"));
}

}  // namespace
}  // namespace gamelan::testing
