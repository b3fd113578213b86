// GGUF files; make_gguf_golden.py made those in tests/io/data/gguf.

#include "io/gguf.h"

#include <gmock/gmock.h>

#include <bit>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "fuzz/parsers.h"
#include "io/gguf_file.h"
#include "io/load_tokenizer.h"
#include "io/sentence_piece_model.h"
#include "io/tokenizer_export.h"
#include "io/tokenizer_json.h"
#include "io/weight_rows.h"
#include "tests/io/temporary_folder.h"

namespace gamelan::io {
namespace {

using nlohmann::json;
using testing::HasSubstr;

std::string data(const std::string& name) {
  return std::string(GAMELAN_SOURCE_DIR) + "/tests/io/data/" + name;
}

std::string contents(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::vector<float> all_of(const WeightView& view) {
  std::vector<float> numbers(static_cast<std::size_t>(rows_of(view) * columns_of(view)));
  read_block(view, {0, rows_of(view), 0, columns_of(view)}, numbers);
  return numbers;
}

/// What the script gives the tensor of this (HuggingFace's) name.
std::vector<float> numbers_of(const std::string& name, std::size_t count) {
  int start = 0;
  for (const char c : name) {
    start += static_cast<unsigned char>(c);
  }
  std::vector<float> numbers(count);
  for (std::size_t i = 0; i < count; ++i) {
    numbers[i] = static_cast<float>((static_cast<int>(i) * 31 + start) % 128) / 128;
  }
  return numbers;
}

class GgufModel : public testing::TestWithParam<const char*> {};

TEST_P(GgufModel, TensorsAreHuggingFaces) {
  const auto model = load_model_files(data(std::string("gguf/") + GetParam() + ".gguf"));
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_GT(model->weights.tensors().size(), 20U);
  for (const WeightView& view : model->weights.tensors()) {
    const auto numbers = all_of(view);
    EXPECT_EQ(numbers, numbers_of(view.name, numbers.size())) << view.name;
  }
  EXPECT_EQ(model->config.hidden_size, 32);
  EXPECT_EQ(model->config.num_layers, 2);
  EXPECT_EQ(model->config.head_dim, 8);
  const auto tokenizer = load_tokenizer(model->tokenizer_path);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->vocabulary_size(), model->config.vocab_size);
}

INSTANTIATE_TEST_SUITE_P(All, GgufModel,
                         testing::Values("llama", "qwen2", "gpt2", "bloom", "gptneox"));

ModelConfig config_of(const char* name) {
  const auto model = open_gguf(data(std::string("gguf/") + name + ".gguf"));
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? model->config : ModelConfig();
}

TEST(Gguf, ConfigurationOfLlama) {
  const ModelConfig llama = config_of("llama");
  EXPECT_EQ(llama.architecture, Architecture::kLlama);
  EXPECT_EQ(llama.num_kv_heads, 2);
  EXPECT_EQ(llama.intermediate_size, 48);
  EXPECT_EQ(llama.max_positions, 64);
  EXPECT_TRUE(llama.qkv_bias);
  EXPECT_FALSE(llama.tied_embeddings);
  EXPECT_EQ(llama.dtype, tensor::DType::kF16);
  EXPECT_EQ(llama.bos_token_id, 1);
  EXPECT_EQ(llama.eos_token_ids, std::vector<std::int64_t>{2});
  // The factors of rope_freqs.weight divide the frequencies, whatever the length.
  for (const std::int64_t length : {1, 1000}) {
    const auto frequencies = rope_frequencies(llama.rope, llama.max_positions, length);
    EXPECT_EQ(frequencies.attention_factor, 1.0);
    const std::vector<double> factors = {1, 1.5, 4, 8};
    for (std::size_t i = 0; i < 4; ++i) {
      EXPECT_NEAR(frequencies.inverse[i],
                  std::pow(500000.0, -static_cast<double>(i) / 4) / factors[i], 1e-12);
    }
  }
}

TEST(Gguf, ConfigurationsOfTheOthers) {
  const ModelConfig qwen2 = config_of("qwen2");
  EXPECT_EQ(qwen2.architecture, Architecture::kQwen2);
  EXPECT_TRUE(qwen2.tied_embeddings);
  EXPECT_EQ(qwen2.dtype, tensor::DType::kBF16);
  EXPECT_EQ(qwen2.rope.theta, 500000.0);
  EXPECT_EQ(qwen2.bos_token_id, std::nullopt);
  const ModelConfig gpt2 = config_of("gpt2");
  EXPECT_EQ(gpt2.architecture, Architecture::kGpt2);
  EXPECT_EQ(gpt2.intermediate_size, 48);
  EXPECT_TRUE(gpt2.tied_embeddings);
  const ModelConfig bloom = config_of("bloom");
  EXPECT_EQ(bloom.architecture, Architecture::kBloom);
  EXPECT_EQ(bloom.positions, Positions::kAlibi);
  const ModelConfig neox = config_of("gptneox");
  EXPECT_EQ(neox.architecture, Architecture::kGptNeoX);
  EXPECT_EQ(neox.rope.rotary_dim, 2);
  EXPECT_FALSE(neox.parallel_residual);
  EXPECT_FALSE(neox.tied_embeddings);
}

TEST(Gguf, BlocksAreDequantisedAsTheReferenceDoes) {
  const std::string bytes = contents(data("gguf/quants.gguf"));
  const auto file = GgufFile::parse(bytes_of(bytes), "quants");
  ASSERT_TRUE(file.ok()) << file.status();
  int types = 0;
  for (const GgufTensor& tensor : file->tensors()) {
    if (tensor.format->decode == nullptr) {
      continue;
    }
    ++types;
    SCOPED_TRACE(tensor.name);
    const WeightView view{std::string(tensor.name),
                          tensor.format->dtype,
                          tensor.shape,
                          tensor.bytes,
                          gguf_decoder(*tensor.format),
                          "quants"};
    EXPECT_EQ(storage_name_of(view), tensor.name);
    const GgufTensor* const plain = file->find_tensor(std::string(tensor.name) + ".expected");
    ASSERT_NE(plain, nullptr);
    const auto expected =
        all_of({"", tensor::DType::kF32, plain->shape, plain->bytes, nullptr, ""});
    EXPECT_EQ(all_of(view), expected);
    // A part that begins and ends within a block.
    const std::int64_t columns = columns_of(view);
    std::vector<float> part(static_cast<std::size_t>(2 * (columns - 12)));
    read_block(view, {1, 2, 5, columns - 12}, part);
    for (std::size_t i = 0; i < part.size(); ++i) {
      const auto row = static_cast<std::int64_t>(i) / (columns - 12);
      const auto column = static_cast<std::int64_t>(i) % (columns - 12);
      ASSERT_EQ(part[i], expected[static_cast<std::size_t>((row + 1) * columns + column + 5)]);
    }
  }
  EXPECT_EQ(types, 8);
}

TEST(Gguf, ByteLevelTokenizersAreThoseOfTokenizerJson) {
  for (const char* name : {"gpt2", "qwen2", "bloom"}) {
    SCOPED_TRACE(name);
    const auto inside = load_tokenizer(data(std::string("gguf/") + name + ".gguf"));
    ASSERT_TRUE(inside.ok()) << inside.status();
    std::ifstream in(data(std::string("tokenizers/") + name + ".json"));
    const json golden = json::parse(in);
    int compared = 0;
    for (const json& expected : golden["cases"]) {
      const std::string text = expected["text"];
      // These two added tokens take white space, or stand for whole words only: the format has no
      // place for that.
      if (text.find("<mask>") != text.npos || text.find("word") != text.npos) {
        continue;
      }
      ++compared;
      const auto ids = (*inside)->encode(text, false);
      EXPECT_EQ(ids, expected["plain"].get<std::vector<text::TokenId>>()) << expected["text"];
      EXPECT_EQ((*inside)->decode(expected["ids"].get<std::vector<text::TokenId>>(), false),
                expected["decoded"].get<std::string>());
    }
    EXPECT_GE(compared, 27);
  }
}

TEST(Gguf, TheSentencePieceInsideIsThatOfTheModelFile) {
  const auto inside = load_tokenizer(data("gguf/llama.gguf"));
  ASSERT_TRUE(inside.ok()) << inside.status();
  const auto outside = load_sentence_piece_tokenizer(data("sp_bpe.model"));
  ASSERT_TRUE(outside.ok()) << outside.status();
  std::ifstream lines(data("sentence_piece.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    const auto golden = json::parse(line);
    if (golden["model"] == "sp_bpe") {
      const std::string text = golden["text"];
      EXPECT_EQ((*inside)->encode(text, false), (*outside)->encode(text, false)) << line;
    }
  }
  EXPECT_EQ((*inside)->encode("a").front(), 1);  // <s> stands before a text
}

TEST(Gguf, TheTokenizerIsExportedForHuggingFace) {
  for (const char* name : {"gpt2", "qwen2", "bloom", "llama"}) {
    SCOPED_TRACE(name);
    const std::string path = data(std::string("gguf/") + name + ".gguf");
    const TemporaryFolder folder;
    const auto exported = export_tokenizer(path, folder.file("out"));
    ASSERT_TRUE(exported.ok() && *exported) << exported.status();
    const auto inside = load_tokenizer(path);
    const auto outside = load_tokenizer(folder.file("out"));
    ASSERT_TRUE(outside.ok()) << outside.status();
    for (const char* text : {"It's  12345 tests,\r\n na\u00efve e\u0301 \u4e2d\u6587! ", "", "a"}) {
      EXPECT_EQ((*outside)->encode(text), (*inside)->encode(text)) << text;
    }
    for (text::TokenId id = 0; id < (*inside)->vocabulary_size(); ++id) {
      ASSERT_EQ((*outside)->token_of(id), (*inside)->token_of(id));
      ASSERT_EQ((*outside)->is_special(id), (*inside)->is_special(id));
    }
  }
}

TEST(Gguf, AFolderWithOneFileIsOpened) {
  const TemporaryFolder folder;
  const std::string bytes = contents(data("gguf/gpt2.gguf"));
  folder.write("model.gguf", bytes);
  EXPECT_TRUE(load_model_files(folder.path()).ok());
  folder.write("another.gguf", bytes);
  EXPECT_THAT(std::string(base::message(load_model_files(folder.path()).status())),
              HasSubstr("one *.gguf"));
}

/// A file made of little-endian numbers and strings.
class Made {
 public:
  explicit Made(std::uint32_t version = 3) {
    text = "GGUF";
    number(version);
  }
  template <class T>
  Made& number(T value) {
    text.append(reinterpret_cast<const char*>(&value), sizeof(value));
    return *this;
  }
  Made& counts(std::uint64_t tensors, std::uint64_t values) {
    return number(tensors).number(values);
  }
  Made& string(std::string_view value) {
    number(std::uint64_t{value.size()});
    text += value;
    return *this;
  }
  Made& tensor(std::string_view name, std::vector<std::uint64_t> sizes, std::uint32_t type,
               std::uint64_t offset) {
    string(name).number(static_cast<std::uint32_t>(sizes.size()));
    for (const std::uint64_t size : sizes) {
      number(size);
    }
    return number(type).number(offset);
  }
  Made& data(std::size_t size) {
    text.resize((text.size() + 31) / 32 * 32 + size);
    return *this;
  }
  std::string error() const {
    const auto file = GgufFile::parse(bytes_of(text), "m.gguf");
    return file.ok() ? "" : std::string(base::message(file.status()));
  }
  std::string text;
};

TEST(Gguf, HostileFilesAreRefusedByName) {
  EXPECT_THAT(Made(1).counts(0, 0).error(), HasSubstr("GGUF version 1; known are 2 and 3"));
  EXPECT_THAT(Made(0x03000000).error(), HasSubstr("a big-endian file"));
  EXPECT_THAT(Made().counts(0, 1).number(~std::uint64_t{0}).error(),
              HasSubstr("m.gguf: key 0 does not lie within"));
  EXPECT_THAT(Made().counts(0, 1).string("k").number(13U).error(), HasSubstr("'k' has type 13"));
  EXPECT_THAT(
      Made().counts(0, 1).string("k").number(9U).number(4U).number(std::uint64_t{1} << 62).error(),
      HasSubstr("the array 'k' of 4611686018427387904 elements"));
  EXPECT_THAT(
      Made().counts(0, 1).string("k").number(9U).number(9U).number(std::uint64_t{1}).error(),
      HasSubstr("expected an array of numbers or strings, got type 9"));
  const auto twice = [](Made& made) -> Made& { return made.string("k").number(0U).number('x'); };
  Made double_key;
  double_key.counts(0, 2);
  EXPECT_THAT(twice(twice(double_key)).error(), HasSubstr("the key 'k' occurs twice"));
  EXPECT_THAT(Made().counts(1, 0).tensor("t", {}, 0, 0).error(), HasSubstr("1 to 4 dimensions"));
  EXPECT_THAT(Made()
                  .counts(1, 0)
                  .tensor("t", {std::uint64_t{1} << 40, std::uint64_t{1} << 40}, 0, 0)
                  .error(),
              HasSubstr("dimension 1 is 1099511627776"));
  EXPECT_THAT(Made().counts(1, 0).tensor("t", {4, 0}, 0, 0).error(), HasSubstr("dimension 1 is 0"));
  EXPECT_THAT(Made().counts(1, 0).tensor("t", {256}, 10, 0).error(),
              HasSubstr("its type is Q2_K; known are F32, F16, Q4_0"));
  EXPECT_THAT(Made().counts(1, 0).tensor("t", {256}, 77, 0).error(),
              HasSubstr("its type is type 77"));
  EXPECT_THAT(Made().counts(1, 0).tensor("t", {33}, 8, 0).error(),
              HasSubstr("rows of 33 numbers are not whole blocks of Q8_0's 32"));
  EXPECT_THAT(Made().counts(1, 0).tensor("t", {8}, 0, 0).data(31).error(),
              HasSubstr("tensor 't' of 32 bytes from 0 on does not lie within"));
  EXPECT_THAT(Made().counts(1, 0).tensor("t", {2}, 0, 8).data(64).error(),
              HasSubstr("its offset 8 is not a multiple of 32"));
  EXPECT_THAT(Made().counts(2, 0).tensor("t", {9}, 0, 0).tensor("u", {9}, 0, 32).data(96).error(),
              HasSubstr("tensors 't' and 'u' overlap"));
  EXPECT_THAT(Made().counts(2, 0).tensor("t", {8}, 0, 0).tensor("t", {8}, 0, 32).data(96).error(),
              HasSubstr("it occurs twice"));
  EXPECT_EQ(Made().counts(2, 0).tensor("t", {8}, 0, 0).tensor("u", {9}, 0, 32).data(96).error(),
            "");
}

std::string model_error(const Made& made) {
  const auto model = parse_gguf(bytes_of(made.text), "m.gguf");
  return model.ok() ? "" : std::string(base::message(model.status()));
}

TEST(Gguf, WhatIsNotKnownIsNamed) {
  EXPECT_THAT(model_error(Made().counts(0, 0)),
              HasSubstr("'general.architecture': expected a string"));
  EXPECT_THAT(
      model_error(Made().counts(0, 1).string("general.architecture").number(8U).string("falcon")),
      HasSubstr("unknown architecture 'falcon'; known in GGUF files are llama, qwen2"));
  EXPECT_THAT(
      model_error(Made().counts(0, 1).string("split.count").number(2U).number(std::uint16_t{3})),
      HasSubstr("expected the bytes of a whole model, got one of 3 parts"));
  EXPECT_THAT(
      model_error(Made().counts(0, 1).string("general.architecture").number(8U).string("gpt2")),
      HasSubstr("'token_embd.weight': expected a tensor, got nothing"));
  std::string renamed = contents(data("gguf/llama.gguf"));
  renamed.replace(renamed.find("blk.1.ffn_gate."), 15, "blk.1.ffn_gabc.");
  const auto model = parse_gguf(bytes_of(renamed), "m.gguf");
  EXPECT_THAT(std::string(base::message(model.status())),
              HasSubstr("tensor 'blk.1.ffn_gabc.weight' belongs to no part of architecture llama"));
  std::string pre = contents(data("gguf/qwen2.gguf"));
  const std::size_t at = pre.find("tokenizer.ggml.pre");
  pre.replace(pre.find("qwen2", at), 5, "qwenX");
  const auto tokenizer = parse_gguf_tokenizer(bytes_of(pre), "m.gguf");
  EXPECT_THAT(std::string(base::message(tokenizer.status())),
              HasSubstr("unknown pre-tokenizer 'qwenX'; known are gpt-2, olmo"));
  const auto none = parse_gguf_tokenizer(bytes_of(contents(data("gguf/quants.gguf"))), "m.gguf");
  EXPECT_THAT(std::string(base::message(none.status())), HasSubstr("it holds no tokenizer"));
}

TEST(Gguf, NumbersAreFinite) {
  std::string bytes = contents(data("gguf/gpt2.gguf"));
  const std::string_view key = "gpt2.attention.layer_norm_epsilon";
  const std::uint32_t not_a_number = 0x7FC00000;
  std::memcpy(bytes.data() + bytes.find(key) + key.size() + 4, &not_a_number, 4);
  const auto model = parse_gguf(bytes_of(bytes), "m.gguf");
  EXPECT_THAT(std::string(base::message(model.status())),
              HasSubstr("'gpt2.attention.layer_norm_epsilon': expected a finite number, got nan"));
}

TEST(Gguf, EveryTruncationIsRefused) {
  const std::string whole = contents(data("gguf/qwen2.gguf"));
  for (std::size_t size = 0; size < whole.size(); size += size < 16'000 ? 97 : 4999) {
    const std::string cut = whole.substr(0, size);
    EXPECT_FALSE(parse_gguf(bytes_of(cut), "m.gguf").ok()) << size;
  }
}

}  // namespace
}  // namespace gamelan::io
