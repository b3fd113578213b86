// The sections of a tokenizer.json that are about tokens: model, added_tokens, post_processor.
#include <algorithm>

#include "io/tokenizer_json_parts.h"
#include "text/bpe_encoder.h"
#include "text/unigram_encoder.h"
#include "text/word_piece_tokenizer.h"

namespace gamelan::io {
namespace {

using nlohmann::json;
using text::TokenId;

// Ids may have holes, but not so many that a few tokens ask for gigabytes.
constexpr std::size_t kMaxHoles = 100'000;

base::Status place(const std::string& token, const json& id, std::size_t most,
                   const std::string& where, std::vector<std::string>& tokens) {
  if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= most) {
    return base::invalid_argument("{}: id of '{}': expected a whole number from 0 to {}, got {}",
                                  where, token.substr(0, 60), most - 1, describe(id));
  }
  if (token.size() > text::kMaxTokenBytes) {
    return base::invalid_argument("{}: a token of {} bytes is over the limit of {}", where,
                                  token.size(), text::kMaxTokenBytes);
  }
  const auto index = id.get<std::size_t>();
  if (index >= tokens.size()) {
    tokens.resize(index + 1);
  }
  if (!tokens[index].empty() && tokens[index] != token) {
    return base::invalid_argument("{}: id {} belongs to '{}' and to '{}'", where, index,
                                  tokens[index].substr(0, 60), token.substr(0, 60));
  }
  tokens[index] = token;
  return base::OkStatus();
}

/// "left right" or ["left", "right"].
base::StatusOr<std::pair<std::string, std::string>> read_merge(const json& merge,
                                                               const std::string& where) {
  if (merge.is_string()) {
    const auto text = merge.get<std::string>();
    const std::size_t blank = text.find(' ');
    if (blank != std::string::npos && text.find(' ', blank + 1) == std::string::npos) {
      return std::pair(text.substr(0, blank), text.substr(blank + 1));
    }
  } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
             merge[1].is_string()) {
    return std::pair(merge[0].get<std::string>(), merge[1].get<std::string>());
  }
  return base::invalid_argument("{}: expected two tokens, got {}", where, describe(merge));
}

/// The id of `token` in `parts`.
base::StatusOr<TokenId> find(const std::string& token, const std::string& where,
                             const text::TokenizerParts& parts) {
  const auto found = std::find(parts.tokens.begin(), parts.tokens.end(), token);
  if (token.empty() || found == parts.tokens.end()) {
    return base::invalid_argument("{}: expected a token of the vocabulary, got '{}'", where,
                                  token.substr(0, 60));
  }
  return static_cast<TokenId>(found - parts.tokens.begin());
}

base::Status read_template(const json& section, const std::string& where,
                           text::TokenizerParts& parts) {
  JsonReader reader(section, where);
  const json* const single = reader.array("single");
  GAMELAN_RETURN_IF_ERROR(reader.status());
  int sequences = 0;
  for (const json& piece : single == nullptr ? json::array() : *single) {
    const bool is_object = piece.is_object();
    if (is_object && piece.contains("Sequence")) {
      ++sequences;
    } else if (is_object && piece.contains("SpecialToken") && piece["SpecialToken"].is_object() &&
               piece["SpecialToken"].value("id", json()).is_string()) {
      GAMELAN_ASSIGN_OR_RETURN(const TokenId id,
                               find(piece["SpecialToken"]["id"].get<std::string>(), where, parts));
      (sequences == 0 ? parts.prefix : parts.suffix).push_back(id);
    } else {
      return base::invalid_argument("{}: expected a Sequence or a SpecialToken, got {}", where,
                                    describe(piece));
    }
  }
  if (sequences != 1) {
    return base::invalid_argument("{}: 'single': expected one Sequence, got {}", where, sequences);
  }
  return base::OkStatus();
}

base::Status read_cls_and_sep(const json& section, const std::string& where,
                              text::TokenizerParts& parts) {
  for (const auto& [key, list] :
       {std::pair("cls", &parts.prefix), std::pair("sep", &parts.suffix)}) {
    const json pair = section.value(key, json());
    if (!pair.is_array() || pair.empty() || !pair[0].is_string()) {
      return base::invalid_argument("{}: '{}': expected [token, id], got {}", where, key,
                                    describe(pair));
    }
    GAMELAN_ASSIGN_OR_RETURN(const TokenId id, find(pair[0].get<std::string>(), where, parts));
    list->push_back(id);
  }
  return base::OkStatus();
}

base::StatusOr<text::BpeVocabulary> read_bpe(const json& section, const std::string& where) {
  JsonReader reader(section, where);
  text::BpeVocabulary model;
  const json* const vocabulary = reader.object("vocab");
  const json* const merges = reader.array("merges");
  model.byte_fallback = reader.boolean("byte_fallback", false);
  model.fuse_unk = reader.boolean("fuse_unk", false);
  model.ignore_merges = reader.boolean("ignore_merges", false);
  model.continuing_subword_prefix = reader.string("continuing_subword_prefix", "");
  model.end_of_word_suffix = reader.string("end_of_word_suffix", "");
  if (const std::string unk = reader.string("unk_token", ""); !unk.empty()) {
    model.unk_token = unk;
  }
  const std::optional<double> dropout = reader.optional_number("dropout", 0, 1);
  GAMELAN_RETURN_IF_ERROR(reader.status());
  if (dropout.value_or(0) != 0) {
    return base::unimplemented("{}: expected no dropout, got {}", where, *dropout);
  }
  if (vocabulary == nullptr || merges == nullptr) {
    return base::invalid_argument("{}: '{}' is missing", where,
                                  vocabulary == nullptr ? "vocab" : "merges");
  }
  GAMELAN_RETURN_IF_ERROR(read_vocabulary_json(*vocabulary, where, model.tokens));
  model.merges.reserve(merges->size());
  for (const json& merge : *merges) {
    GAMELAN_ASSIGN_OR_RETURN(
        auto pair, read_merge(merge, fmt::format("{}: merge {}", where, model.merges.size())));
    model.merges.push_back(std::move(pair));
  }
  return model;
}

/// Appends [token, score].
base::Status read_scored_token(const json& entry, const std::string& where,
                               text::UnigramVocabulary& model) {
  if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number()) {
    return base::invalid_argument("{}: vocab[{}]: expected [token, score], got {}", where,
                                  model.tokens.size(), entry.dump().substr(0, 60));
  }
  const auto& token = entry[0].get_ref<const std::string&>();
  if (token.size() > text::kMaxTokenBytes) {
    return base::invalid_argument("{}: a token of {} bytes is over the limit of {}", where,
                                  token.size(), text::kMaxTokenBytes);
  }
  model.tokens.push_back(token);
  model.scores.push_back(entry[1].get<double>());
  return base::OkStatus();
}

base::StatusOr<text::UnigramVocabulary> read_unigram(const json& section,
                                                     const std::string& where) {
  JsonReader reader(section, where);
  text::UnigramVocabulary model;
  const json* const vocabulary = reader.array("vocab");
  model.byte_fallback = reader.boolean("byte_fallback", false);
  GAMELAN_RETURN_IF_ERROR(reader.status());
  const std::size_t size = vocabulary == nullptr ? 0 : vocabulary->size();
  if (size == 0 || size > text::kMaxVocabularySize) {
    return base::invalid_argument("{}: 'vocab': expected 1 to {} tokens, got {}", where,
                                  text::kMaxVocabularySize, size);
  }
  model.unk_id =
      static_cast<TokenId>(reader.integer("unk_id", -1, 0, static_cast<std::int64_t>(size) - 1));
  GAMELAN_RETURN_IF_ERROR(reader.status());
  for (const json& entry : *vocabulary) {
    GAMELAN_RETURN_IF_ERROR(read_scored_token(entry, where, model));
  }
  return model;
}

}  // namespace

base::Status read_vocabulary_json(const json& vocabulary, const std::string& where,
                                  std::vector<std::string>& tokens) {
  const std::size_t most = std::min(text::kMaxVocabularySize, vocabulary.size() + kMaxHoles);
  for (const auto& [token, id] : vocabulary.items()) {
    GAMELAN_RETURN_IF_ERROR(place(token, id, most, where, tokens));
  }
  return base::OkStatus();
}

std::string model_kind(JsonReader& reader, const json& section) {
  const char* const guess = section.contains("merges")                  ? "BPE"
                            : section.value("vocab", json()).is_array() ? "Unigram"
                                                                        : "WordPiece";
  return reader.string("type", guess);
}

base::StatusOr<ModelJson> read_model_json(const json& section, const std::string& where,
                                          bool byte_level) {
  JsonReader reader(section, where);
  GAMELAN_RETURN_IF_ERROR(reader.status());
  const std::string kind = model_kind(reader, section);
  GAMELAN_RETURN_IF_ERROR(reader.status());
  ModelJson model;
  if (kind == "Unigram") {
    GAMELAN_ASSIGN_OR_RETURN(text::UnigramVocabulary unigram, read_unigram(section, where));
    unigram.byte_level = byte_level;
    model.encoder = std::make_unique<text::UnigramEncoder>(unigram);
    model.tokens = std::move(unigram.tokens);
    return model;
  }
  if (kind != "BPE") {
    return unknown_type(where, kind, "BPE, Unigram, WordPiece");
  }
  GAMELAN_ASSIGN_OR_RETURN(text::BpeVocabulary bpe, read_bpe(section, where));
  bpe.byte_level = byte_level;
  model.tokens = bpe.tokens;
  auto encoder = text::BpeEncoder::create(std::move(bpe));
  if (!encoder.ok()) {
    return base::annotate(encoder.status(), where);
  }
  model.encoder = *std::move(encoder);
  return model;
}

base::Status read_added_tokens_json(const json& tokens, const std::string& where,
                                    text::TokenizerParts& parts) {
  if (tokens.is_null()) {
    return base::OkStatus();
  }
  if (!tokens.is_array()) {
    return base::invalid_argument("{}: expected an array, got {}", where, describe(tokens));
  }
  const std::size_t most =
      std::min(text::kMaxVocabularySize, parts.tokens.size() + tokens.size() + kMaxHoles);
  for (const json& entry : tokens) {
    JsonReader reader(entry, where);
    text::AddedToken token;
    token.content = reader.string("content", std::nullopt);
    token.single_word = reader.boolean("single_word", false);
    token.lstrip = reader.boolean("lstrip", false);
    token.rstrip = reader.boolean("rstrip", false);
    token.special = reader.boolean("special", false);
    token.normalized = reader.boolean("normalized", !token.special);
    if (reader.ok() && token.content.empty()) {
      reader.fail("'content' is empty");
    }
    GAMELAN_RETURN_IF_ERROR(reader.status());
    GAMELAN_RETURN_IF_ERROR(
        place(token.content, entry.value("id", json()), most, where, parts.tokens));
    token.id = entry["id"].get<TokenId>();
    parts.added_tokens.push_back(std::move(token));
  }
  return base::OkStatus();
}

base::Status read_post_processor_json(const json& section, const std::string& where,
                                      text::TokenizerParts& parts) {
  if (section.is_null()) {
    return base::OkStatus();
  }
  JsonReader reader(section, where);
  const std::string type = reader.string("type", std::nullopt);
  const json* const list = type == "Sequence" ? reader.array("processors") : nullptr;
  GAMELAN_RETURN_IF_ERROR(reader.status());
  if (type == "ByteLevel") {
    return base::OkStatus();  // changes offsets alone
  }
  if (type == "Sequence") {
    for (const json& part : list == nullptr ? json::array() : *list) {
      GAMELAN_RETURN_IF_ERROR(read_post_processor_json(part, where, parts));
    }
    return base::OkStatus();
  }
  if (!parts.prefix.empty() || !parts.suffix.empty()) {
    return base::unimplemented("{}: expected one processor that adds tokens, got a second, {}",
                               where, type);
  }
  if (type == "TemplateProcessing") {
    return read_template(section, where, parts);
  }
  if (type == "BertProcessing" || type == "RobertaProcessing") {
    return read_cls_and_sep(section, where, parts);
  }
  return unknown_type(where, type,
                      "BertProcessing, ByteLevel, RobertaProcessing, Sequence, TemplateProcessing");
}

}  // namespace gamelan::io
