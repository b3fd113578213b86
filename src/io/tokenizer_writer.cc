// The saving half of io/tokenizer_files.h.
#include <algorithm>
#include <filesystem>

#include "io/atomic_file.h"
#include "io/json_file.h"
#include "io/tokenizer_files.h"

namespace gamelan::io {
namespace {

using Json = nlohmann::ordered_json;
using text::TokenId;
using text::WordPieceModel;
using text::WordPieceTokenizer;

Json special_piece(const std::string& token, int type) {
  return {{"SpecialToken", {{"id", token}, {"type_id", type}}}};
}

Json text_piece(const char* id, int type) {
  return {{"Sequence", {{"id", id}, {"type_id", type}}}};
}

Json post_processor(const WordPieceTokenizer& tokenizer) {
  const std::string& cls = tokenizer.model().cls_token;
  const std::string& sep = tokenizer.model().sep_token;
  const auto special = [](const std::string& token, TokenId id) {
    return Json{{"id", token}, {"ids", Json::array({id})}, {"tokens", Json::array({token})}};
  };
  return {
      {"type", "TemplateProcessing"},
      {"single", Json::array({special_piece(cls, 0), text_piece("A", 0), special_piece(sep, 0)})},
      {"pair", Json::array({special_piece(cls, 0), text_piece("A", 0), special_piece(sep, 0),
                            text_piece("B", 1), special_piece(sep, 1)})},
      {"special_tokens",
       {{cls, special(cls, tokenizer.cls_id())}, {sep, special(sep, tokenizer.sep_id())}}}};
}

Json added_tokens(const WordPieceTokenizer& tokenizer) {
  const WordPieceModel& model = tokenizer.model();
  std::vector<std::string> names = {model.pad_token, model.unk_token, model.cls_token,
                                    model.sep_token, model.mask_token};
  names.insert(names.end(), model.added_tokens.begin(), model.added_tokens.end());
  std::vector<TokenId> ids;
  for (const std::string& name : names) {
    if (const auto id = tokenizer.id_of(name)) {
      ids.push_back(*id);
    }
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  Json list = Json::array();
  for (const TokenId id : ids) {
    list.push_back({{"id", id},
                    {"content", std::string(tokenizer.token_of(id))},
                    {"single_word", false},
                    {"lstrip", false},
                    {"rstrip", false},
                    {"normalized", false},
                    {"special", true}});
  }
  return list;
}

Json optional_boolean(const std::optional<bool>& value) {
  return value ? Json(*value) : Json();
}

Json tokenizer_json(const WordPieceTokenizer& tokenizer) {
  const WordPieceModel& model = tokenizer.model();
  Json vocabulary = Json::object();
  auto& entries = vocabulary.get_ref<Json::object_t&>();
  for (std::size_t i = 0; i < model.tokens.size(); ++i) {
    // Of two equal tokens only the one that counts; pushed directly, as the ordered map searches.
    if (!model.tokens[i].empty() && tokenizer.id_of(model.tokens[i]) == static_cast<TokenId>(i)) {
      entries.push_back({model.tokens[i], Json(i)});
    }
  }
  return {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", added_tokens(tokenizer)},
      {"normalizer",
       {{"type", "BertNormalizer"},
        {"clean_text", model.normalizer.clean_text},
        {"handle_chinese_chars", model.normalizer.handle_chinese_chars},
        {"strip_accents", optional_boolean(model.normalizer.strip_accents)},
        {"lowercase", model.normalizer.lowercase}}},
      {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
      {"post_processor", post_processor(tokenizer)},
      {"decoder", {{"type", "WordPiece"}, {"prefix", model.continuing_prefix}, {"cleanup", true}}},
      {"model",
       {{"type", "WordPiece"},
        {"unk_token", model.unk_token},
        {"continuing_subword_prefix", model.continuing_prefix},
        {"max_input_chars_per_word", model.max_word_characters},
        {"vocab", std::move(vocabulary)}}}};
}

Json special_tokens_map(const WordPieceTokenizer& tokenizer) {
  const WordPieceModel& model = tokenizer.model();
  Json map = {{"cls_token", model.cls_token},
              {"pad_token", model.pad_token},
              {"sep_token", model.sep_token},
              {"unk_token", model.unk_token}};
  if (tokenizer.mask_id()) {
    map["mask_token"] = model.mask_token;
  }
  return map;
}

std::string dump(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

/// Empty when a line-based file cannot hold the vocabulary.
std::string vocabulary_lines(const WordPieceModel& model) {
  std::string lines;
  for (const std::string& token : model.tokens) {
    if (token.find_first_of("\r\n") != std::string::npos) {
      return "";
    }
    lines += token + "\n";
  }
  return lines;
}

}  // namespace

base::Status save_tokenizer_files(std::string_view folder, const WordPieceTokenizer& tokenizer,
                                  std::size_t model_max_length) {
  const WordPieceModel& model = tokenizer.model();
  Json config = special_tokens_map(tokenizer);
  config["do_lower_case"] = model.normalizer.lowercase;
  config["model_max_length"] = model_max_length;
  config["strip_accents"] = optional_boolean(model.normalizer.strip_accents);
  config["tokenize_chinese_chars"] = model.normalizer.handle_chinese_chars;
  config["tokenizer_class"] = "BertTokenizer";

  const auto path = [folder](const char* name) {
    return (std::filesystem::path(folder) / name).string();
  };
  if (const std::string lines = vocabulary_lines(model); !lines.empty()) {
    GAMELAN_RETURN_IF_ERROR(write_file(path("vocab.txt"), lines));
  }
  GAMELAN_RETURN_IF_ERROR(write_file(path("tokenizer.json"), dump(tokenizer_json(tokenizer))));
  GAMELAN_RETURN_IF_ERROR(write_file(path("tokenizer_config.json"), dump(config)));
  return write_file(path("special_tokens_map.json"), dump(special_tokens_map(tokenizer)));
}

}  // namespace gamelan::io
