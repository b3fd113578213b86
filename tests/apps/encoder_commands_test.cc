// `gamelan eval logits`, `embed` and `classify` as a user runs them.
#include <gmock/gmock.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/io/temporary_folder.h"
#include "tests/launch/launched.h"

namespace gamelan::testing {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// The numbers of a NumPy file of f32 that end it.
std::vector<float> last_numbers(const std::string& path, std::size_t count) {
  const std::string bytes = read_file(path);
  std::vector<float> numbers(count);
  EXPECT_GE(bytes.size(), count * sizeof(float)) << path;
  std::memcpy(numbers.data(), bytes.data() + bytes.size() - count * sizeof(float),
              count * sizeof(float));
  return numbers;
}

std::string model(const std::string& name) {
  return std::string(GAMELAN_SOURCE_DIR "/tests/infer/data/") + name;
}

std::string ids_of(const std::string& name, const std::string& field = "input_ids") {
  const json ids = json::parse(read_file(model(name) + "/expected.json")).at(field);
  std::string text;
  for (const json& id : ids) {
    text += (text.empty() ? "" : ",") + id.dump();
  }
  return text;
}

TEST(EvalLogitsCommand, WritesWhatTransformersComputes) {
  io::TemporaryFolder folder;
  const std::string out = folder.file("logits.npy");
  const Result result =
      run_gamelan({"eval", "logits", "--model", model("bloom_5_heads"), "--dtype", "f32",
                   "--threads", "2", "--input-ids", ids_of("bloom_5_heads"), "--out", out});
  ASSERT_EQ(result.exit, 0) << result.errors;
  EXPECT_THAT(result.output, HasSubstr("logits [13, 97]"));
  const std::vector<float> got = last_numbers(out, 13 * 97);
  const std::vector<float> expected = last_numbers(model("bloom_5_heads") + "/logits.npy", 13 * 97);
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(got[i], expected[i], 1e-4) << i;
  }
  // NumPy's own header: the data begins at a multiple of 64.
  const std::string bytes = read_file(out);
  EXPECT_EQ((bytes.size() - got.size() * sizeof(float)) % 64, 0U);
  EXPECT_THAT(bytes.substr(0, 128), HasSubstr("'shape': (13, 97)"));
}

TEST(EvalLogitsCommand, WritesWhatAnEncoderComputes) {
  io::TemporaryFolder folder;
  const std::string out = folder.file("hidden.npy");
  const auto hidden = [&](const std::vector<std::string>& types) {
    std::vector<std::string> arguments = {"eval",    "logits", "--model",     model("bert"),
                                          "--dtype", "f32",    "--input-ids", ids_of("bert"),
                                          "--out",   out};
    arguments.insert(arguments.end(), types.begin(), types.end());
    const Result result = run_gamelan(arguments);
    EXPECT_EQ(result.exit, 0) << result.errors;
    EXPECT_THAT(result.output, HasSubstr("hidden states [13, 32]"));
    return last_numbers(out, 13 * 32);
  };
  const std::vector<float> got = hidden({"--token-type-ids", ids_of("bert", "types")});
  const std::vector<float> expected = last_numbers(model("bert") + "/logits.npy", 13 * 32);
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(got[i], expected[i], 1e-4) << i;
  }
  EXPECT_NE(hidden({}), got);
  EXPECT_EQ(hidden({}), hidden({"--token-type-ids", "0,0,0,0,0,0,0,0,0,0,0,0,0"}));
}

TEST(EvalLogitsCommand, SaysWhatIsWrong) {
  io::TemporaryFolder folder;
  const std::string out = folder.file("logits.npy");
  const auto errors = [&](const std::string& ids, const std::string& path,
                          const std::string& dtype = "f32") {
    return run_gamelan(
        {"eval", "logits", "--model", path, "--dtype", dtype, "--input-ids", ids, "--out", out});
  };
  EXPECT_THAT(errors("5,97", model("gpt2")).errors, HasSubstr("token 97, expected 0 … 96"));
  EXPECT_THAT(errors("5", folder.path()).errors, HasSubstr("config.json"));
  const Result bad = errors("5", model("gpt2"), "int3");
  EXPECT_EQ(bad.exit, 2);
  EXPECT_THAT(bad.errors, AllOf(HasSubstr("int8-dynamic"), HasSubstr("'int3'")));
  const auto typed = [&](const std::string& name, const std::string& types) {
    return run_gamelan({"eval", "logits", "--model", model(name), "--input-ids", "5,6",
                        "--token-type-ids", types, "--out", out});
  };
  EXPECT_THAT(typed("gpt2", "0,1").errors, HasSubstr("gpt2 is no encoder"));
  EXPECT_THAT(typed("bert", "0,2").errors, HasSubstr("type 2"));
  const Result short_list = typed("bert", "0");
  EXPECT_EQ(short_list.exit, 2);
  EXPECT_THAT(short_list.errors, HasSubstr("expected 2, one for each of --input-ids, got 1"));
  EXPECT_FALSE(std::filesystem::exists(out));
  EXPECT_EQ(run_gamelan({"eval", "lambda"}).exit, 2);
}

TEST(EvalLogitsCommand, GoesBeyondTheContextWhereThePositionsDo) {
  io::TemporaryFolder folder;
  const std::string out = folder.file("logits.npy");
  std::string ids = "5";
  for (int i = 1; i < 65; ++i) {  // all models have 64 positions
    ids += ",5";
  }
  const auto evaluate = [&](const std::string& name) {
    return run_gamelan({"eval", "logits", "--model", model(name), "--dtype", "f32", "--input-ids",
                        ids, "--out", out});
  };
  for (const char* const name : {"gpt2", "opt"}) {
    const Result refused = evaluate(name);
    EXPECT_EQ(refused.exit, 1);
    EXPECT_THAT(refused.errors, HasSubstr("--input-ids: 65 tokens, but the model takes 64"));
    EXPECT_FALSE(std::filesystem::exists(out));
  }
  for (const char* const name : {"llama", "gpt_neox", "bloom_12_heads"}) {
    const Result result = evaluate(name);
    EXPECT_EQ(result.exit, 0) << name << ": " << result.errors;
    EXPECT_THAT(result.output, HasSubstr("logits [65, 97]")) << name;
  }
}

TEST(EvalLogitsCommand, AnUnwritableFileIsNamed) {
  io::TemporaryFolder folder;
  const std::string file = folder.write("file", "in the way");
  const Result result = run_gamelan({"eval", "logits", "--model", model("gpt2"), "--input-ids", "5",
                                     "--out", file + "/logits.npy"});
  EXPECT_EQ(result.exit, 1);
  EXPECT_THAT(result.errors,
              AllOf(HasSubstr("write " + file + "/logits.npy"), HasSubstr("Not a directory")));
  EXPECT_EQ(result.output, "");
  EXPECT_EQ(read_file(file), "in the way");
}

/// The tiny classifier with a vocabulary of its 97 tokens.
class EncoderCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::copy(model("bert_classifier"), folder_.path(),
                          std::filesystem::copy_options::recursive);
    std::string vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n";
    for (int i = 4; i < 97; ++i) {
      vocabulary += "w" + std::to_string(i) + "\n";
    }
    folder_.write("vocab.txt", vocabulary);
  }
  std::vector<json> lines(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin() + 1, {"--model", folder_.path(), "--json"});
    const Result result = run_gamelan(arguments);
    EXPECT_EQ(result.exit, 0) << result.errors;
    std::vector<json> all;
    std::istringstream text(result.output);
    for (std::string line; std::getline(text, line);) {
      all.push_back(json::parse(line));
    }
    return all;
  }

  io::TemporaryFolder folder_;
};

TEST_F(EncoderCommand, ClassifiesInTheOrderOfTheTexts) {
  const std::vector<json> all =
      lines({"classify", "--text", "w5 w6 w7 w8", "--text", "w9", "--text", "w5 w6 w7 w8"});
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0]["text"], "w5 w6 w7 w8");
  EXPECT_EQ(all[1]["text"], "w9");
  EXPECT_EQ(all[0]["logits"], all[2]["logits"]);
  EXPECT_NE(all[0]["logits"], all[1]["logits"]);
  EXPECT_THAT(all[0]["label"], ::testing::AnyOf("no", "yes", "maybe"));
  EXPECT_GT(all[0]["score"], 1.0 / 3);
}

TEST_F(EncoderCommand, LongTextsKeepTheirEnd) {
  // [CLS] and [SEP] stay around what is left of the text.
  const std::vector<json> all = lines({"classify", "--max-length", "4", "--text", "w5 w6 w7 w8 w9",
                                       "--text", "w5 w6", "--text", "w5"});
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0]["logits"], all[1]["logits"]);
  EXPECT_NE(all[0]["logits"], all[2]["logits"]);
}

TEST_F(EncoderCommand, EmbedsAsTheFolderSays) {
  const auto embedding = [&](std::vector<std::string> options) {
    options.insert(options.begin(), {"embed", "--text", "w5 w6 w7"});
    return lines(options).at(0)["embedding"].get<std::vector<double>>();
  };
  const auto length = [](const std::vector<double>& v) {
    double squares = 0;
    for (const double x : v) {
      squares += x * x;
    }
    return std::sqrt(squares);
  };
  const std::vector<double> mean = embedding({});
  EXPECT_GT(std::abs(length(mean) - 1), 1e-3);
  EXPECT_EQ(embedding({"--pooling", "mean"}), mean);
  const std::vector<double> cls = embedding({"--pooling", "cls", "--normalize", "true"});
  EXPECT_NEAR(length(cls), 1, 1e-5);
  folder_.write("modules.json",
                R"([{"type": "sentence_transformers.models.Transformer", "path": ""},
      {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
      {"type": "sentence_transformers.models.Normalize", "path": "2_Normalize"}])");
  std::filesystem::create_directory(folder_.file("1_Pooling"));
  folder_.write("1_Pooling/config.json", R"({"pooling_mode_cls_token": true})");
  EXPECT_EQ(embedding({}), cls);
  folder_.write("1_Pooling/config.json", R"({"pooling_mode_max_tokens": true})");
  const Result refused = run_gamelan({"embed", "--model", folder_.path(), "--text", "w5"});
  EXPECT_EQ(refused.exit, 1);
  EXPECT_THAT(refused.errors,
              AllOf(HasSubstr("1_Pooling/config.json"), HasSubstr("pooling_mode_max_tokens")));
}

TEST_F(EncoderCommand, EmbedsToOnePlace) {
  const Result result = run_gamelan({"embed", "--model", folder_.path(), "--text", "w5", "--json",
                                     "--out", folder_.file("vectors.npy")});
  EXPECT_EQ(result.exit, 2);
  EXPECT_THAT(result.errors, HasSubstr("expected either --json or --out, got both"));
}

TEST_F(EncoderCommand, AnUnwritableFileIsNamed) {
  const std::string file = folder_.write("file", "in the way");
  const Result result = run_gamelan(
      {"embed", "--model", folder_.path(), "--text", "w5", "--out", file + "/embeddings.npy"});
  EXPECT_EQ(result.exit, 1);
  EXPECT_THAT(result.errors,
              AllOf(HasSubstr("write " + file + "/embeddings.npy"), HasSubstr("Not a directory")));
  EXPECT_EQ(read_file(file), "in the way");
}

TEST_F(EncoderCommand, ModelsWithoutAClassifierAreRefused) {
  const Result result = run_gamelan(
      {"classify", "--model", model("bert"), "--tokenizer-path", folder_.path(), "--text", "w5"});
  EXPECT_EQ(result.exit, 1);
  EXPECT_THAT(result.errors, HasSubstr("classifier.weight"));
}

}  // namespace
}  // namespace gamelan::testing
