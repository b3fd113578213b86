// A short, seeded run of the fuzz targets: good inputs, damaged in a thousand ways. Nothing is
// expected but that every parser answers.

#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <iterator>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "fuzz/parsers.h"

namespace gamelan::io {
namespace {

constexpr int kRounds = 1500;
constexpr int kSlowRounds = 200;  // where one takes a millisecond

/// One to four random edits: flip, overwrite, insert, delete, duplicate a piece, cut off.
std::string mutate(std::string text, std::mt19937& random) {
  constexpr std::string_view kInteresting = "\"{}[]:,\\0189-\n\r\t\xff\xc3 ";
  for (unsigned edit = 0; edit < 1 + random() % 4 && !text.empty(); ++edit) {
    const std::size_t at = random() % text.size();
    const std::size_t length = 1 + random() % 16;
    switch (random() % 6) {
      case 0:
        text[at] = static_cast<char>(text[at] ^ static_cast<char>(1U << (random() % 8)));
        break;
      case 1:
        text[at] = kInteresting[random() % kInteresting.size()];
        break;
      case 2:
        text.insert(at, 1, kInteresting[random() % kInteresting.size()]);
        break;
      case 3:
        text.erase(at, length);
        break;
      case 4:
        text.insert(random() % text.size(), text.substr(at, length));
        break;
      default:
        text.resize(at);
        break;
    }
  }
  return text;
}

void run(const std::vector<std::string>& seeds, const std::function<void(std::string_view)>& target,
         int rounds = kRounds) {
  std::mt19937 random(20);
  for (const std::string& seed : seeds) {
    target(seed);
    for (int round = 0; round < rounds; ++round) {
      target(mutate(seed, random));
    }
  }
}

TEST(Mutations, Safetensors) {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
      R"("b":{"dtype":"I64","shape":[],"data_offsets":[8,16]}})";
  std::string file(8, '\0');
  file[0] = static_cast<char>(header.size());
  // A quantised matrix, which a folder's reader joins with its scales.
  const std::string quantised =
      R"({"q.weight":{"dtype":"I8","shape":[2,4],"data_offsets":[8,16]},)"
      R"("q.weight_scale":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}})";
  std::string second(8, '\0');
  second[0] = static_cast<char>(quantised.size());
  const std::string four_bits =
      R"({"int4_levels":{"dtype":"F32","shape":[16],"data_offsets":[0,64]},)"
      R"("q.weight_int4":{"dtype":"U8","shape":[2,1,4],"data_offsets":[64,72]}})";
  std::string third(8, '\0');
  third[0] = static_cast<char>(four_bits.size());
  run({file + header + std::string(16, 'x'), second + quantised + std::string(16, 'x'),
       third + four_bits + std::string(72, 'x')},
      fuzz::safetensors);
}

TEST(Mutations, BertConfig) {
  run({R"({"model_type": "bert", "hidden_size": 384, "num_attention_heads": 12, "hidden_act": "gelu",
           "classifier_dropout": null, "layer_norm_eps": 1e-12, "vocab_size": 30522,
           "id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1}})"},
      fuzz::bert_config);
}

std::string golden(const std::string& name) {
  std::ifstream in(std::string(GAMELAN_SOURCE_DIR) + "/tests/io/data/" + name, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

TEST(Mutations, TorchArchive) {
  run({golden("torch_zip.bin"), golden("torch_legacy.bin"), golden("torch_protocol4.bin")},
      fuzz::torch_archive);
}

TEST(Mutations, Gguf) {
  run({golden("gguf/qwen2.gguf").substr(0, 1 << 16), golden("gguf/llama.gguf")}, fuzz::gguf,
      kSlowRounds);
}

TEST(Mutations, TokenizerJson) {
  for (const char* name : {"gpt2", "llama2", "metaspace"}) {
    const auto parsed = nlohmann::json::parse(golden(std::string("tokenizers/") + name + ".json"));
    run({parsed["tokenizer"].dump()}, fuzz::tokenizer_json, kSlowRounds);
  }
}

TEST(Mutations, ModelConfig) {
  std::vector<std::string> seeds;
  std::istringstream lines(golden("model_config.jsonl"));
  constexpr std::size_t kBeforeConfig = std::string_view(R"({"config": )").size();
  for (std::string line; std::getline(lines, line);) {
    seeds.push_back(line.substr(kBeforeConfig, line.find(R"(, "expected")") - kBeforeConfig));
  }
  run(seeds, fuzz::model_config);
}

TEST(Mutations, FtConfig) {
  io::FtConfig config;
  config.num_layers = 2;
  config.num_heads = 4;
  config.size_per_head = 8;
  config.vocab_size = 100;
  config.head_by_vocab = true;
  run({io::format_ft_config(config)}, fuzz::ft_config);
}

TEST(Mutations, TokenizerFiles) {
  run({std::string(1, '\0') + "[PAD]\n[UNK]\n[CLS]\r\n[SEP]\nhello\n##lo\n\u00e9\n",
       "\x01"
       R"({"added_tokens": [{"id": 4, "content": "<x>", "special": true}],
        "normalizer": {"type": "BertNormalizer", "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "[CLS]"}},
          {"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "[SEP]"}}]},
        "model": {"type": "WordPiece", "vocab": {"[PAD]": 0, "[UNK]": 1, "a": 2, "##b": 3}}})",
       "\x02"
       R"({"do_lower_case": true, "cls_token": {"content": "[CLS]"}, "strip_accents": null})"},
      fuzz::tokenizer_files);
}

TEST(Mutations, DatasetRows) {
  run({std::string(1, '\0') + "1\tgood text\r\n0\tbad\n", "\x04text\tlabel\na\t1\nb\t0\n",
       "\x01"
       "1,\"a, \"\"b\"\"\nc\"\n0,d\n",
       std::string(1, '\x08') + "1\t-2\n",
       "\x02{\"text\": \"a\\u00e9\", \"label\": 1}\n{\"text\": \"b\", \"label\": \"x\"}\n"},
      fuzz::dataset);
}

TEST(Mutations, Text) {
  text::WordPieceModel model;
  model.tokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##a", "b", "\u4e2d"};
  const auto tokenizer = text::WordPieceTokenizer::create(model);
  ASSERT_TRUE(tokenizer.ok());
  run({"aab [MASK] \u4e2d\u6587 e\u0301\u302e\U0001d165 \u0130\uac01, [SEP", "a\u0f73\u0344\ufffd"},
      [&](std::string_view bytes) { fuzz::encode(*tokenizer, bytes); });
}

}  // namespace
}  // namespace gamelan::io
