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

Json byte_level(bool trim_offsets, bool use_regex = true) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", trim_offsets},
          {"use_regex", use_regex}};
}

Json pre_tokenizer(text::SplitPattern pattern) {
  if (pattern == text::SplitPattern::kGpt2) {
    return byte_level(true);
  }
  const Json split = {{"type", "Split"},
                      {"pattern", {{"Regex", text_of(pattern)}}},
                      {"behavior", "Isolated"},
                      {"invert", false}};
  return {{"type", "Sequence"}, {"pretokenizers", Json::array({split, byte_level(true, false)})}};
}

/// The tokens around a text, as a template.
Json post_processor(const Ids& ids, const BpeFilesOptions& options) {
  const auto piece = [](const char* kind, const std::string& id, int type) -> Json {
    return {{kind, {{"id", id}, {"type_id", type}}}};
  };
  Json single = Json::array();
  Json pair = Json::array();
  Json tokens = Json::object();
  const auto around = [&](bool wanted, const std::string& token, int type, Json& list) {
    if (wanted && !token.empty()) {
      list.push_back(piece("SpecialToken", token, type));
      tokens[token] = {
          {"id", token}, {"ids", Json::array({ids.at(token)})}, {"tokens", Json::array({token})}};
    }
  };
  for (const auto& [name, type] : {std::pair("A", 0), std::pair("B", 1)}) {
    around(options.add_bos_token, options.bos_token, type, pair);
    pair.push_back(piece("Sequence", name, type));
    around(options.add_eos_token, options.eos_token, type, pair);
    single = type == 0 ? pair : single;
  }
  if (tokens.empty()) {
    return byte_level(false);
  }
  const Json fill = {{"type", "TemplateProcessing"},
                     {"single", single},
                     {"pair", pair},
                     {"special_tokens", tokens}};
  return {{"type", "Sequence"}, {"processors", Json::array({byte_level(false), fill})}};
}

base::StatusOr<Json> added_tokens(const Ids& ids, const BpeFilesOptions& options) {
  std::vector<std::string> all = special_tokens_of(options);
  const std::size_t special = all.size();
  all.insert(all.end(), options.added_tokens.begin(), options.added_tokens.end());
  std::vector<std::pair<std::size_t, std::size_t>> order;  // id, index
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto found = ids.find(all[i]);
    if (found == ids.end()) {
      return base::invalid_argument(
          "expected special token '{}' in the vocabulary, found no such token", all[i]);
    }
    order.emplace_back(found->second, i);
  }
  std::sort(order.begin(), order.end());
  Json list = Json::array();
  for (const auto& [id, index] : order) {
    list.push_back({{"id", id},
                    {"content", all[index]},
                    {"single_word", false},
                    {"lstrip", false},
                    {"rstrip", false},
                    {"normalized", false},
                    {"special", index < special}});
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
          {"ignore_merges", vocabulary.ignore_merges},
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
                          {"normalizer", options.nfc ? Json{{"type", "NFC"}} : Json()},
                          {"pre_tokenizer", pre_tokenizer(options.pattern)},
                          {"post_processor", post_processor(ids, options)},
                          {"decoder", byte_level(true)},
                          {"model", model_json(vocabulary)}};
  const std::filesystem::path path(folder);
  GAMELAN_RETURN_IF_ERROR(write_file((path / "tokenizer.json").string(), dump(tokenizer)));
  return write_file((path / "tokenizer_config.json").string(), dump(config_json(options)));
}

}  // namespace gamelan::io
