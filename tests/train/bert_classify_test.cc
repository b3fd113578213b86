// `gamelan train bert-classify` and `bert-predict` as a user runs them: the real programs on a tiny
// model.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

namespace gamelan::train {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

struct Finished {
  int exit = -1;
  /// Standard output and standard error together.
  std::string output;
};

class BertClassifyTest : public testing::Test {
 protected:
  BertClassifyTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "gamelan-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
    write("model/vocab.txt",
          "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ngood\nbad\nfilm\nplot\nactor\nthe\na\nvery\n.\n");
    write("model/config.json", config_json("bert"));
    std::string rows;
    for (int i = 0; i < 64; ++i) {
      rows += row(i % 2 == 0, i / 2);
    }
    write("train.jsonl", rows);
    write("test.jsonl", row(true, 5) + row(false, 6) + row(true, 7));
  }
  ~BertClassifyTest() override { std::filesystem::remove_all(folder_); }

  static std::string config_json(const std::string& type) {
    return R"({"model_type": ")" + type + R"(", "vocab_size": 14, "hidden_size": 16,
      "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
      "max_position_embeddings": 16, "type_vocab_size": 2, "hidden_dropout_prob": 0.1,
      "attention_probs_dropout_prob": 0.1})";
  }
  static std::string row(bool good, int i) {
    static const char* const kNouns[] = {"film", "plot", "actor"};
    const char* word = good ? "good" : "bad";
    return fmt::format("{{\"text\": \"{} {}{} {}.\", \"label\": \"{}\"}}\n",
                       i % 5 < 2 ? "the" : "a", i % 4 == 0 ? "very " : "", word, kNouns[i % 3],
                       good ? "positive" : "negative");
  }

  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  void write(const std::string& name, const std::string& content) const {
    std::filesystem::create_directories(std::filesystem::path(path(name)).parent_path());
    std::ofstream(path(name), std::ios::binary) << content;
  }

  static Finished run(const std::string& command) {
    Finished finished;
    FILE* pipe = popen((command + " 2>&1 </dev/null").c_str(), "r");
    char buffer[4096];
    for (std::size_t n; (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;) {
      finished.output.append(buffer, n);
    }
    const int status = pclose(pipe);
    finished.exit = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return finished;
  }
  // On one process, from random weights.
  Finished train(const std::string& options) const {
    return run(
        fmt::format("{}/gamelan-train bert-classify --config-name {}/model --tokenizer-name "
                    "{}/model --train-file {}/train.jsonl --max-seq-length 16 --threads 1 "
                    "--output-dir {}/out {}",
                    GAMELAN_BIN_DIR, folder_, folder_, folder_, folder_, options));
  }
  Finished fine_tune(const std::string& options) const {
    return run(fmt::format("{}/gamelan-train bert-classify --max-seq-length 16 --threads 1 {}",
                           GAMELAN_BIN_DIR, options));
  }
  static nlohmann::json last_json(const std::string& output) {
    const std::size_t start = output.rfind("\n{");
    return start == output.npos ? nlohmann::json() : nlohmann::json::parse(output.substr(start));
  }

  std::string folder_;
};

constexpr const char* kLearn =
    " --num-train-epochs 6 --learning-rate 5e-3 --per-device-train-batch-size 4 --disable-tqdm "
    "--json";

TEST_F(BertClassifyTest, LearnsSavesAndClassifies) {
  const Finished trained =
      train(fmt::format("--validation-file {}/test.jsonl {}", folder_, kLearn));
  ASSERT_EQ(trained.exit, 0) << trained.output;
  EXPECT_THAT(
      trained.output,
      AllOf(HasSubstr("Model: random weights"), HasSubstr("Labels: negative, positive"),
            HasSubstr("Training set: 64 samples, "), HasSubstr("Evaluation set: 3 samples, "),
            HasSubstr("effective global batch 4"), HasSubstr("Epoch 0 Average Training Loss: 0."),
            HasSubstr("Accuracy on evaluation set: 1.0000 (3 of 3, loss ")));
  const nlohmann::json figures = last_json(trained.output);
  EXPECT_EQ(figures["steps"], 96);
  EXPECT_EQ(figures["accuracy"], 1.0);
  EXPECT_LT(figures["train_losses"][5], 0.1);
  for (const char* name : {"config.json", "model.safetensors", "vocab.txt", "tokenizer.json",
                           "tokenizer_config.json"}) {
    EXPECT_TRUE(std::filesystem::exists(path("out/" + std::string(name)))) << name;
  }

  const auto classify = [&](const std::string& verb) {
    const Finished classified =
        run(fmt::format("{}/{} --model-name-or-path {}/out --json --text 'A good film.' --text "
                        "'a very bad plot'",
                        GAMELAN_BIN_DIR, verb, folder_));
    EXPECT_EQ(classified.exit, 0) << classified.output;
    std::istringstream lines(classified.output);
    std::array<nlohmann::json, 2> answers;
    for (nlohmann::json& answer : answers) {
      std::string line;
      std::getline(lines, line);
      answer = nlohmann::json::parse(line, nullptr, false);
    }
    return answers;
  };
  const auto predicted = classify("gamelan-train bert-predict");
  EXPECT_EQ(predicted[0]["label"], "positive");
  EXPECT_EQ(predicted[1]["label"], "negative");
  EXPECT_GT(predicted[1]["score"], 0.9);
  // The program without LibTorch says the same of the folder.
  const auto inferred = classify("gamelan classify");
  for (std::size_t i = 0; i < predicted.size(); ++i) {
    EXPECT_EQ(inferred[i]["label"], predicted[i]["label"]);
    EXPECT_EQ(inferred[i]["text"], predicted[i]["text"]);
    for (std::size_t c = 0; c < 2; ++c) {
      EXPECT_NEAR(inferred[i]["logits"][c].get<double>(), predicted[i]["logits"][c].get<double>(),
                  1e-4);
    }
  }

  const Finished again = train(fmt::format("--validation-file {}/test.jsonl {}", folder_, kLearn));
  EXPECT_EQ(again.exit, 0);
  EXPECT_THAT(again.output, HasSubstr("has already finished"));
}

TEST_F(BertClassifyTest, TwoProcessesEqualOneOnTheJoinedBatch) {
  ASSERT_EQ(train("--init-only --dropout 0").exit, 0);
  std::filesystem::rename(path("out"), path("init"));
  const std::string common = fmt::format(
      "--model-name-or-path {0}/init --train-file {0}/train.jsonl --validation-file {0}/test.jsonl "
      "--max-steps 5 --logging-steps 1 --learning-rate 1e-3 --save-steps 0 --save-epochs 0 --json "
      "--disable-tqdm",
      folder_);
  const Finished one =
      fine_tune(fmt::format("{} --output-dir {}/one --batch-size 8", common, folder_));
  ASSERT_EQ(one.exit, 0) << one.output;
  const Finished two = run(
      fmt::format("{0}/gamelan run --standalone --nproc-per-node 2 {0}/gamelan train bert-classify "
                  "--max-seq-length 16 {1} --output-dir {2}/two --batch_size 4",
                  GAMELAN_BIN_DIR, common, folder_));
  ASSERT_EQ(two.exit, 0) << two.output;
  EXPECT_THAT(two.output, HasSubstr("effective global batch 8"));
  const nlohmann::json a = last_json(one.output);
  const nlohmann::json b = last_json(two.output);
  EXPECT_EQ(b["world_size"], 2);
  EXPECT_NEAR(a["train_losses"][0].get<double>(), b["train_losses"][0].get<double>(), 1e-5);
  EXPECT_NEAR(a["evaluations"][0]["loss"].get<double>(), b["evaluations"][0]["loss"].get<double>(),
              1e-4);
  EXPECT_EQ(b["evaluations"][0]["samples"], 3);
}

TEST_F(BertClassifyTest, PaddingAccumulationAndGroupingWorkTogether) {
  const Finished padded = train(
      "--padding max_length --group_by_length --gradient_accumulation_steps 3 --bf16 "
      "--num-train-epochs 1 --disable-tqdm --json");
  ASSERT_EQ(padded.exit, 0) << padded.output;
  EXPECT_EQ(last_json(padded.output)["steps"], 3);
  EXPECT_THAT(padded.output, HasSubstr("effective global batch 24"));
}

TEST_F(BertClassifyTest, WrongUsageExitsWithTwo) {
  EXPECT_EQ(train("--no-such-option").exit, 2);
  const Finished close = train("--learning-rat 1");
  EXPECT_EQ(close.exit, 2);
  EXPECT_THAT(close.output, HasSubstr("did you mean --learning-rate"));
  EXPECT_EQ(train("--padding shortest").exit, 2);
  EXPECT_EQ(fine_tune("--train-file x --output-dir y").exit, 2);
  EXPECT_EQ(run(fmt::format("{}/gamelan-train no-such-verb", GAMELAN_BIN_DIR)).exit, 2);
  const Finished help = fine_tune("--help");
  EXPECT_EQ(help.exit, 0);
  EXPECT_THAT(help.output, testing::StartsWith("Example:\n  gamelan run "));
}

TEST_F(BertClassifyTest, BadInputIsExplained) {
  const auto expect_failure = [](const Finished& finished, const std::string& text) {
    EXPECT_EQ(finished.exit, 1) << finished.output;
    EXPECT_THAT(finished.output, HasSubstr(text));
    EXPECT_THAT(finished.output, Not(HasSubstr("Exception raised from")));
  };
  expect_failure(train("--max-seq-length 17"),
                 "expected at most the model's 16 position embeddings, got 17");
  expect_failure(train("--validation-file " + path("none.jsonl")), "none.jsonl");

  write("unknown.jsonl", R"({"text": "a film", "label": "neutral"})"
                         "\n");
  expect_failure(train("--validation-file " + path("unknown.jsonl")),
                 "unknown.jsonl:1: expected one of the labels negative, positive, got 'neutral'");
  write("range.jsonl", R"({"text": "a film", "label": 2})"
                       "\n");
  expect_failure(train("--validation-file " + path("range.jsonl")),
                 "range.jsonl:1: expected one of the labels negative, positive, got '2'");

  write("gpt/config.json", config_json("gpt2"));
  expect_failure(train("--config-name " + path("gpt")), "gpt2");

  write("out/as-a-file", "");
  const std::string tail = fmt::format(
      "--config-name {0}/model --tokenizer-name {0}/model --output-dir {0}/out ", folder_);
  write("empty.jsonl", "");
  expect_failure(fine_tune(tail + "--train-file " + path("empty.jsonl")),
                 "empty.jsonl: expected at least one labelled text, got none");
  write("one.jsonl", row(true, 1) + row(true, 2));
  expect_failure(fine_tune(tail + "--train-file " + path("one.jsonl")),
                 "one.jsonl: expected at least two classes, got 1 (positive)");
}

TEST_F(BertClassifyTest, AClassifierOfOtherLabelsIsRefused) {
  ASSERT_EQ(train("--init-only").exit, 0);
  write("three.jsonl", row(true, 1) + row(false, 2) +
                           R"({"text": "a film", "label": "neutral"})"
                           "\n");
  const Finished refused = fine_tune(fmt::format(
      "--model-name-or-path {0}/out --train-file {0}/three.jsonl --output-dir {0}/more", folder_));
  EXPECT_EQ(refused.exit, 1);
  EXPECT_THAT(refused.output,
              HasSubstr("three.jsonl:3: expected one of the labels negative, positive, "
                        "got 'neutral'"));
}

}  // namespace
}  // namespace gamelan::train
