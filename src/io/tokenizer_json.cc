#include "io/tokenizer_json.h"

#include <algorithm>

#include "io/tokenizer_json_parts.h"
#include "text/bpe_encoder.h"

namespace gamelan::io {
namespace {

using nlohmann::json;
using text::TokenId;

constexpr std::string_view kQwen2Split =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

const json& member(const json& object, const char* key) {
  static const json none;
  const auto found = object.find(key);
  return found == object.end() ? none : *found;
}

/// A token in a tokenizer_config.json: a plain string or {"content": …}; empty when there is none.
std::string token_name(const json& config, const char* key) {
  const json& value = member(config, key);
  const json& content = value.is_object() ? member(value, "content") : value;
  return content.is_string() ? content.get<std::string>() : "";
}

/// add_bos_token and add_eos_token, where the file says something: the token at the text's end is
/// put there, or taken away when it stands there alone.
base::Status apply_switch(JsonReader& reader, const json& config, const char* flag, const char* key,
                          const text::TokenizerParts& parts, std::vector<TokenId>& list) {
  const std::optional<bool> wanted = reader.optional_boolean(flag);
  GAMELAN_RETURN_IF_ERROR(reader.status());
  const std::string name = token_name(config, key);
  const auto found = std::find(parts.tokens.begin(), parts.tokens.end(), name);
  if (!wanted || name.empty() || found == parts.tokens.end()) {
    return base::OkStatus();
  }
  const auto id = static_cast<TokenId>(found - parts.tokens.begin());
  if (*wanted && list.empty()) {
    list.push_back(id);
  } else if (!*wanted && list == std::vector<TokenId>{id}) {
    list.clear();
  }
  return base::OkStatus();
}

base::Status apply_config(const json& config, const std::string& where,
                          text::TokenizerParts& parts) {
  JsonReader reader(config, where);
  const json* const added = reader.object("added_tokens_decoder");
  GAMELAN_RETURN_IF_ERROR(reader.status());
  // Named, since items() keeps a reference that a temporary would not outlive.
  const json entries = added == nullptr ? json::object() : *added;
  json list = json::array();
  for (const auto& [id, entry] : entries.items()) {
    const bool number =
        !id.empty() && id.size() < 9 &&
        std::all_of(id.begin(), id.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (!number || !entry.is_object()) {
      return base::invalid_argument(
          "{}: added_tokens_decoder: expected an id and a token, got '{}'", where,
          id.substr(0, 60));
    }
    const auto value = static_cast<std::uint64_t>(std::stoul(id));
    const bool known = std::any_of(parts.added_tokens.begin(), parts.added_tokens.end(),
                                   [&](const text::AddedToken& token) {
                                     return static_cast<std::uint64_t>(token.id) == value;
                                   });
    if (!known) {
      list.push_back(entry);
      list.back()["id"] = value;
    }
  }
  GAMELAN_RETURN_IF_ERROR(read_added_tokens_json(list, where + ": added_tokens_decoder", parts));
  GAMELAN_RETURN_IF_ERROR(
      apply_switch(reader, config, "add_bos_token", "bos_token", parts, parts.prefix));
  return apply_switch(reader, config, "add_eos_token", "eos_token", parts, parts.suffix);
}

base::StatusOr<json> parse_config(std::string_view config, std::string_view name) {
  return config.empty() ? json::object() : parse_json(config, name);
}

/// Special tokens that a vocab.json holds and only their names in the configuration tell apart.
void add_named_tokens(const json& config, text::TokenizerParts& parts) {
  for (const char* key : {"bos_token", "eos_token", "unk_token", "pad_token"}) {
    const std::string named = token_name(config, key);
    const std::string name = named.empty() ? "<|endoftext|>" : named;
    const auto found = std::find(parts.tokens.begin(), parts.tokens.end(), name);
    const bool known =
        std::any_of(parts.added_tokens.begin(), parts.added_tokens.end(),
                    [&](const text::AddedToken& token) { return token.content == name; });
    if (found != parts.tokens.end() && !known) {
      text::AddedToken token;
      token.content = name;
      token.id = static_cast<TokenId>(found - parts.tokens.begin());
      token.special = true;
      parts.added_tokens.push_back(std::move(token));
    }
  }
}

base::Status read_merges_txt(std::string_view text, const std::string& where,
                             text::BpeVocabulary& model) {
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t newline = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, newline);
    text.remove_prefix(std::min(newline + 1, text.size()));
    line = line.ends_with('\r') ? line.substr(0, line.size() - 1) : line;
    if (line.empty() || line.starts_with("#version")) {
      continue;
    }
    const std::size_t blank = line.find(' ');
    if (blank == std::string_view::npos || line.find(' ', blank + 1) != std::string_view::npos) {
      return base::invalid_argument("{}: merges.txt:{}: expected two tokens, got '{}'", where,
                                    number, line.substr(0, 60));
    }
    model.merges.emplace_back(line.substr(0, blank), line.substr(blank + 1));
  }
  return base::OkStatus();
}

}  // namespace

base::StatusOr<std::string> tokenizer_json_kind(std::string_view text, std::string_view name) {
  GAMELAN_ASSIGN_OR_RETURN(const json object, parse_json(text, name));
  JsonReader reader(object, std::string(name));
  const json* const model = reader.object("model");
  GAMELAN_RETURN_IF_ERROR(reader.status());
  if (model == nullptr) {
    return base::invalid_argument("{}: 'model' is missing", name);
  }
  JsonReader of_model(*model, std::string(name) + ": model");
  const std::string type = model_kind(of_model, *model);
  GAMELAN_RETURN_IF_ERROR(of_model.status());
  return type;
}

base::StatusOr<std::unique_ptr<text::Tokenizer>> parse_pipeline_json(std::string_view text,
                                                                     std::string_view name,
                                                                     std::string_view config) {
  GAMELAN_ASSIGN_OR_RETURN(const json object, parse_json(text, name));
  const std::string where(name);
  if (!object.is_object()) {
    return base::invalid_argument("{}: expected an object, got {}", where, describe(object));
  }
  text::TokenizerParts parts;
  GAMELAN_ASSIGN_OR_RETURN(
      parts.normalizer, read_normalizer_json(member(object, "normalizer"), where + ": normalizer"));
  GAMELAN_ASSIGN_OR_RETURN(
      PreTokenizerJson pre_tokenizer,
      read_pre_tokenizer_json(member(object, "pre_tokenizer"), where + ": pre_tokenizer"));
  parts.pre_tokenizer = std::move(pre_tokenizer.pre_tokenizer);
  GAMELAN_ASSIGN_OR_RETURN(
      ModelJson model,
      read_model_json(member(object, "model"), where + ": model", pre_tokenizer.byte_level));
  parts.encoder = std::move(model.encoder);
  GAMELAN_ASSIGN_OR_RETURN(parts.decoder,
                           read_decoder_json(member(object, "decoder"), where + ": decoder"));
  parts.tokens = std::move(model.tokens);
  GAMELAN_RETURN_IF_ERROR(
      read_added_tokens_json(member(object, "added_tokens"), where + ": added_tokens", parts));
  GAMELAN_RETURN_IF_ERROR(read_post_processor_json(member(object, "post_processor"),
                                                   where + ": post_processor", parts));
  GAMELAN_ASSIGN_OR_RETURN(const json settings, parse_config(config, where + ": tokenizer_config"));
  GAMELAN_RETURN_IF_ERROR(apply_config(settings, where + ": tokenizer_config", parts));
  return std::make_unique<text::PipelineTokenizer>(std::move(parts));
}

base::StatusOr<std::unique_ptr<text::Tokenizer>> parse_vocab_and_merges(std::string_view vocab,
                                                                        std::string_view merges,
                                                                        std::string_view name,
                                                                        std::string_view config) {
  const std::string where(name);
  GAMELAN_ASSIGN_OR_RETURN(const json vocabulary, parse_json(vocab, where + ": vocab.json"));
  GAMELAN_ASSIGN_OR_RETURN(const json settings, parse_config(config, where + ": tokenizer_config"));
  if (!vocabulary.is_object()) {
    return base::invalid_argument("{}: vocab.json: expected an object, got {}", where,
                                  describe(vocabulary));
  }
  text::BpeVocabulary model;
  model.byte_level = true;
  GAMELAN_RETURN_IF_ERROR(read_vocabulary_json(vocabulary, where + ": vocab.json", model.tokens));
  GAMELAN_RETURN_IF_ERROR(read_merges_txt(merges, where, model));
  text::TokenizerParts parts;
  parts.tokens = model.tokens;
  parts.decoder = text::make_byte_level_decoder();
  GAMELAN_RETURN_IF_ERROR(apply_config(settings, where + ": tokenizer_config", parts));
  JsonReader reader(settings, where + ": tokenizer_config");
  const bool add_prefix_space = reader.boolean("add_prefix_space", false);
  const std::string kind = reader.string("tokenizer_class", "");
  GAMELAN_RETURN_IF_ERROR(reader.status());
  add_named_tokens(settings, parts);
  if (kind.starts_with("Qwen2Tokenizer")) {
    parts.normalizer = text::make_unicode_normalizer(text::UnicodeForm::kNfc);
    parts.pre_tokenizer = text::make_pattern_splitter(*text::known_split_pattern(kQwen2Split),
                                                      text::SplitBehavior::kIsolated, false);
  } else {
    parts.pre_tokenizer = text::make_byte_level(add_prefix_space, true);
  }
  auto encoder = text::BpeEncoder::create(std::move(model));
  if (!encoder.ok()) {
    return base::annotate(encoder.status(), where);
  }
  parts.encoder = *std::move(encoder);
  return std::make_unique<text::PipelineTokenizer>(std::move(parts));
}

}  // namespace gamelan::io
