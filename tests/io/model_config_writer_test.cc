#include "io/model_config_writer.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

namespace gamelan::io {
namespace {

/// Every configuration that the reader is tested with, of all architectures.
TEST(ModelConfigWriter, WhatIsWrittenReadsBackTheSame) {
  std::ifstream file(std::string(GAMELAN_SOURCE_DIR) + "/tests/io/data/model_config.jsonl");
  std::set<Architecture> seen;
  for (std::string line; std::getline(file, line);) {
    const auto golden = nlohmann::json::parse(line);
    const auto config = parse_model_config(golden["config"].dump(), "golden");
    ASSERT_TRUE(config.ok()) << config.status();
    const std::string text = format_model_config(*config);
    const auto again = parse_model_config(text, "written");
    ASSERT_TRUE(again.ok()) << again.status() << text;
    EXPECT_TRUE(*again == *config) << golden["config"] << "\nwritten as\n" << text;
    seen.insert(config->architecture);
  }
  EXPECT_EQ(seen.size(), 8U);
}

TEST(ModelConfigWriter, APartOfAHeadIsRotated) {
  // 49 * (2 k / 49) is below 2 k for some k when it is computed in double.
  for (std::int64_t rotated = 2; rotated < 49; rotated += 2) {
    auto config = parse_model_config(
        R"({"model_type": "gpt_neox", "hidden_size": 98, "num_attention_heads": 2,
            "rotary_pct": 0.25})",
        "x");
    ASSERT_TRUE(config.ok()) << config.status();
    config->rope.rotary_dim = rotated;
    const auto again = parse_model_config(format_model_config(*config), "written");
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->rope.rotary_dim, rotated);
  }
}

}  // namespace
}  // namespace gamelan::io
