// `gamelan train lm` as a user runs it: the real program on a tiny model and text.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdio.h>
#include <sys/wait.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "io/model_config.h"
#include "io/weights.h"
#include "tests/train/scratch_folder.h"

namespace gamelan::train {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

struct Finished {
  int exit = -1;
  std::string output;  // standard output and standard error together
};

class LmCommandTest : public ::testing::Test {
 protected:
  LmCommandTest() {
    std::ifstream golden(GAMELAN_SOURCE_DIR "/tests/io/data/tokenizers/gpt2.json");
    const nlohmann::json file = nlohmann::json::parse(golden);
    std::filesystem::create_directories(path("tokenizer"));
    std::ofstream(path("tokenizer/tokenizer.json")) << file["tokenizer"].dump();
    std::ofstream text(path("text.txt"));
    for (int i = 0; i < 120; ++i) {
      text << (i % 3 == 0 ? "the cat sat on the mat and the dog sat on the log\n"
                          : "one two three four five six seven eight nine ten\n");
    }
  }
  std::string path(const std::string& name) const { return folder_.path() + "/" + name; }
  Finished train(const std::string& options, const std::string& launcher = "") const {
    const std::string command = fmt::format(
        "{}{}/gamelan-train lm --tokenizer-name {} --train-file {} --validation-file {} "
        "--block-size 16 --threads 1 --disable-tqdm --json {} 2>&1 </dev/null",
        launcher, GAMELAN_BIN_DIR, path("tokenizer"), path("text.txt"), path("text.txt"), options);
    Finished finished;
    FILE* pipe = popen(command.c_str(), "r");
    char buffer[4096];
    for (std::size_t n; (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;) {
      finished.output.append(buffer, n);
    }
    const int status = pclose(pipe);
    finished.exit = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return finished;
  }
  static nlohmann::json figures(const std::string& output) {
    const std::size_t start = output.rfind("\n{");
    return start == output.npos ? nlohmann::json() : nlohmann::json::parse(output.substr(start));
  }

  testing::ScratchFolder folder_;
};

constexpr const char* kSizes =
    "--hidden-size 32 --num-hidden-layers 2 --num-attention-heads 4 --learning-rate 5e-3 "
    "--num-train-epochs 4 --save-steps 0 --save-epochs 0";

TEST_F(LmCommandTest, LearnsATextAndWritesAFolder) {
  for (const std::string type : {"bloom", "gpt2"}) {
    const std::string out = path("out-" + type);
    const Finished trained =
        train(fmt::format("--model-type {} --output-dir {} {}", type, out, kSizes));
    ASSERT_EQ(trained.exit, 0) << trained.output;
    EXPECT_THAT(trained.output,
                AllOf(HasSubstr("Model: random weights"), HasSubstr("Training set: "),
                      HasSubstr("Epoch 3 Average Training Loss: "),
                      HasSubstr("Perplexity on evaluation set: "), HasSubstr("Model saved in ")));
    // Two sentences by heart: far below the uniform guess over the vocabulary.
    EXPECT_LT(figures(trained.output)["perplexity"], 8.0) << trained.output;
    const auto config = io::load_model_config(out);
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_EQ(io::model_type_of(config->architecture), type);
    EXPECT_EQ(config->num_layers, 2);
    EXPECT_TRUE(config->tied_embeddings);
    const auto weights = io::open_weights(out);
    ASSERT_TRUE(weights.ok()) << weights.status();
    EXPECT_NE(
        weights->find(type == "bloom" ? "transformer.h.1.self_attention.query_key_value.weight"
                                      : "transformer.h.1.attn.c_attn.weight"),
        nullptr);
    EXPECT_TRUE(std::filesystem::exists(out + "/tokenizer.json"));

    // What was written is where a further training begins.
    const Finished more =
        train(fmt::format("--model-name-or-path {} --output-dir {}-more --max-steps 1 "
                          "--learning-rate 0 --save-steps 0 --save-epochs 0",
                          out, out));
    ASSERT_EQ(more.exit, 0) << more.output;
    EXPECT_NEAR(figures(more.output)["perplexity"].get<double>(),
                figures(trained.output)["perplexity"].get<double>(), 1e-3);
  }
}

TEST_F(LmCommandTest, TwoProcessesEqualOneOnTheJoinedBatch) {
  const std::string common = fmt::format("--model-type bloom {} --max-steps 5", kSizes);
  const Finished one =
      train(fmt::format("{} --per-device-train-batch-size 8 --output-dir {}", common, path("one")));
  ASSERT_EQ(one.exit, 0) << one.output;
  const Finished two =
      train(fmt::format("{} --per-device-train-batch-size 4 --output-dir {}", common, path("two")),
            fmt::format("{}/gamelan run --standalone --nproc-per-node 2 ", GAMELAN_BIN_DIR));
  ASSERT_EQ(two.exit, 0) << two.output;
  EXPECT_EQ(figures(two.output)["world_size"], 2);
  EXPECT_NEAR(figures(one.output)["evaluations"][0]["loss"].get<double>(),
              figures(two.output)["evaluations"][0]["loss"].get<double>(), 1e-4);
}

TEST_F(LmCommandTest, SaysWhatIsWrong) {
  const std::string out = "--output-dir " + path("out");
  const Finished none = train(out);
  EXPECT_EQ(none.exit, 2);
  EXPECT_THAT(none.output, HasSubstr("expected one of --model-name-or-path (a folder)"));
  const Finished heads = train(out + " --model-type gpt2 --hidden-size 30 --num-attention-heads 4");
  EXPECT_EQ(heads.exit, 2);
  EXPECT_THAT(heads.output, HasSubstr("--hidden-size 30 is no multiple"));
  const Finished token = train(out + " --model-type gpt2 --eos-token nothing");
  EXPECT_EQ(token.exit, 1);
  EXPECT_THAT(token.output, HasSubstr("expected one of the tokens nothing"));
  const Finished blocks = train(out + " --model-type bloom --block-size 100000");
  EXPECT_EQ(blocks.exit, 1);
  EXPECT_THAT(blocks.output, HasSubstr("expected at least one block of 100000 tokens"));
}

}  // namespace
}  // namespace gamelan::train
