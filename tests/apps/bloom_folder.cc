#include "tests/apps/bloom_folder.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

namespace gamelan::testing {
namespace {

using Tensors = std::vector<std::pair<std::string, std::vector<std::int64_t>>>;

Tensors tensors_of(const BloomSizes& sizes) {
  const std::int64_t h = sizes.hidden();
  Tensors all = {{"word_embeddings.weight", {sizes.vocab, h}},
                 {"word_embeddings_layernorm.weight", {h}},
                 {"word_embeddings_layernorm.bias", {h}},
                 {"ln_f.weight", {h}},
                 {"ln_f.bias", {h}}};
  for (std::int64_t i = 0; i < sizes.layers; ++i) {
    const std::string layer = fmt::format("h.{}.", i);
    const auto pair = [&](const std::string& name, std::int64_t out, std::int64_t in) {
      all.push_back({layer + name + ".weight", in > 0 ? std::vector{out, in} : std::vector{out}});
      all.push_back({layer + name + ".bias", {out}});
    };
    pair("input_layernorm", h, 0);
    pair("self_attention.query_key_value", 3 * h, h);
    pair("self_attention.dense", h, h);
    pair("post_attention_layernorm", h, 0);
    pair("mlp.dense_h_to_4h", 4 * h, h);
    pair("mlp.dense_4h_to_h", h, 4 * h);
  }
  return all;
}

std::int64_t product(const std::vector<std::int64_t>& shape) {
  return shape.size() == 1 ? shape[0] : shape[0] * shape[1];
}

}  // namespace

std::int64_t BloomSizes::numbers() const {
  std::int64_t count = 0;
  for (const auto& [name, shape] : tensors_of(*this)) {
    count += product(shape);
  }
  return count;
}

void write_bloom_folder(const std::string& folder, const BloomSizes& sizes) {
  namespace fs = std::filesystem;
  fs::create_directories(folder);
  const nlohmann::json config = {{"model_type", "bloom"},
                                 {"hidden_size", sizes.hidden()},
                                 {"n_head", sizes.heads},
                                 {"n_layer", sizes.layers},
                                 {"vocab_size", sizes.vocab}};
  std::ofstream(folder + "/config.json") << config.dump();
  nlohmann::json header = nlohmann::json::object();
  std::int64_t offset = 0;
  for (const auto& [name, shape] : tensors_of(sizes)) {
    const std::int64_t end = offset + 4 * product(shape);
    header["transformer." + name] = {
        {"dtype", "F32"}, {"shape", shape}, {"data_offsets", std::vector{offset, end}}};
    offset = end;
  }
  const std::string text = header.dump();
  const std::string path = folder + "/model.safetensors";
  {
    std::ofstream file(path, std::ios::binary);
    const std::uint64_t length = text.size();
    file.write(reinterpret_cast<const char*>(&length), sizeof(length));
    file << text;
  }
  fs::resize_file(path, 8 + text.size() + static_cast<std::uintmax_t>(offset));
}

void copy_model_of_characters(const std::string& name, const io::TemporaryFolder& folder) {
  std::filesystem::copy(GAMELAN_SOURCE_DIR "/tests/infer/data/" + name, folder.path(),
                        std::filesystem::copy_options::recursive);
  nlohmann::json vocabulary;
  int id = 0;
  for (char c = '!'; c <= '~'; ++c) {  // 94 of them
    vocabulary[std::string(1, c)] = id++;
  }
  vocabulary["Ġ"] = id++;  // a space
  folder.write("vocab.json", vocabulary.dump());
  folder.write("merges.txt", "#version: 0.2\n");
}

}  // namespace gamelan::testing
