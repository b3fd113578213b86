#include "io/bpe_writer.h"

#include <absl/container/flat_hash_map.h>

#include <algorithm>
#include <filesystem>

#include "io/atomic_file.h"
#include "io/json_file.h"

namespace gamelan::io {
namespace {

using Json = nlohmann::ordered_json;
using text::BpeVocabulary;
using Ids = absl::flat_hash_map<std::string_view, std::size_t>;

std::string dump(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

Json byte_level(bool trim_offsets) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", trim_offsets},
          {"use_regex", true}};
}

base::StatusOr<Json> added_tokens(const Ids& ids, const BpeFilesOptions& options) {
  std::vector<std::pair<std::size_t, std::string>> tokens;
  for (const std::string& token : special_tokens_of(options)) {
    const auto found = ids.find(token);
    if (found == ids.end()) {
      return base::invalid_argument(
          "expected special token '{}' in the vocabulary, found no such token", token);
    }
    tokens.emplace_back(found->second, token);
  }
  std::sort(tokens.begin(), tokens.end());
  Json list = Json::array();
  for (const auto& [id, token] : tokens) {
    list.push_back({{"id", id},
                    {"content", token},
                    {"single_word", false},
                    {"lstrip", false},
                    {"rstrip", false},
                    {"normalized", false},
                    {"special", true}});
  }
  return list;
}

Json model_json(const BpeVocabulary& vocabulary) {
  Json tokens = Json::object();
  auto& entries = tokens.get_ref<Json::object_t&>();  // filled directly: the ordered map searches
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    if (!vocabulary.tokens[id].empty()) {
      entries.push_back({vocabulary.tokens[id], Json(id)});
    }
  }
  Json merges = Json::array();
  for (const auto& [left, right] : vocabulary.merges) {
    merges.push_back(Json::array({left, right}));
  }
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", nullptr},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", false},
          {"byte_fallback", false},
          {"ignore_merges", false},
          {"vocab", std::move(tokens)},
          {"merges", std::move(merges)}};
}

Json config_json(const BpeFilesOptions& options) {
  Json config = {{"add_prefix_space", false}, {"clean_up_tokenization_spaces", false}};
  const auto add = [&config](const char* key, const std::string& token) {
    if (!token.empty()) {
      config[key] = token;
    }
  };
  add("bos_token", options.bos_token);
  add("eos_token", options.eos_token);
  add("pad_token", options.pad_token);
  add("unk_token", options.unk_token);
  if (!options.special_tokens.empty()) {
    config["additional_special_tokens"] = options.special_tokens;
  }
  if (options.model_max_length > 0) {
    config["model_max_length"] = options.model_max_length;
  }
  config["tokenizer_class"] = "PreTrainedTokenizerFast";
  return config;
}

}  // namespace

std::vector<std::string> special_tokens_of(const BpeFilesOptions& options) {
  std::vector<std::string> all = {options.unk_token, options.bos_token, options.eos_token,
                                  options.pad_token};
  all.insert(all.end(), options.special_tokens.begin(), options.special_tokens.end());
  std::vector<std::string> tokens;
  for (std::string& token : all) {
    if (!token.empty() && std::find(tokens.begin(), tokens.end(), token) == tokens.end()) {
      tokens.push_back(std::move(token));
    }
  }
  return tokens;
}

base::Status save_bpe_files(std::string_view folder, const BpeVocabulary& vocabulary,
                            const BpeFilesOptions& options) {
  Ids ids;
  for (std::size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    ids.emplace(vocabulary.tokens[id], id);
  }
  GAMELAN_ASSIGN_OR_RETURN(Json added, added_tokens(ids, options));
  const Json tokenizer = {{"version", "1.0"},
                          {"truncation", nullptr},
                          {"padding", nullptr},
                          {"added_tokens", std::move(added)},
                          {"normalizer", nullptr},
                          {"pre_tokenizer", byte_level(true)},
                          {"post_processor", byte_level(false)},
                          {"decoder", byte_level(true)},
                          {"model", model_json(vocabulary)}};
  const std::filesystem::path path(folder);
  GAMELAN_RETURN_IF_ERROR(write_file((path / "tokenizer.json").string(), dump(tokenizer)));
  return write_file((path / "tokenizer_config.json").string(), dump(config_json(options)));
}

}  // namespace gamelan::io
