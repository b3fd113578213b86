#include "io/tokenizer_files.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "io/json_file.h"
#include "io/mapped_file.h"
#include "text/utf8.h"

namespace gamelan::io {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using text::WordPieceModel;

constexpr std::size_t kMaxVocabularyBytes = std::size_t{256} << 20;
// Ids may have holes, but not so many that a few tokens ask for gigabytes.
constexpr std::size_t kMaxHoles = 100'000;

void read_normalizer(const json* normalizer, const std::string& name, JsonReader& owner,
                     WordPieceModel& model) {
  if (normalizer == nullptr) {
    owner.fail("'normalizer': expected a BertNormalizer, got none");
    return;
  }
  JsonReader reader(*normalizer, name + ": normalizer");
  reader.one_of("type", "", {"BertNormalizer"});
  model.normalizer.clean_text = reader.boolean("clean_text", true);
  model.normalizer.handle_chinese_chars = reader.boolean("handle_chinese_chars", true);
  model.normalizer.strip_accents = reader.optional_boolean("strip_accents");
  model.normalizer.lowercase = reader.boolean("lowercase", true);
  if (!reader.ok()) {
    owner.fail(base::message(reader.status()).substr(name.size() + 2));
  }
}

/// `id` of the special token that `piece` of a template is; empty when it is something else.
std::string special_of(const json& piece) {
  const auto special = piece.find("SpecialToken");
  if (special == piece.end() || !special->is_object()) {
    return "";
  }
  const auto id = special->find("id");
  return id != special->end() && id->is_string() ? id->get<std::string>() : "";
}

void read_post_processor(const json* processor, JsonReader& owner, WordPieceModel& model) {
  const auto refuse = [&owner] {
    owner.fail(
        "'post_processor': expected [CLS] text [SEP] as TemplateProcessing or "
        "BertProcessing");
  };
  const std::string type = processor == nullptr ? ""
                           : processor->value("type", json()).is_string()
                               ? (*processor)["type"].get<std::string>()
                               : "";
  if (type == "BertProcessing") {
    for (const auto& [key, token] :
         {std::pair("cls", &model.cls_token), std::pair("sep", &model.sep_token)}) {
      const json pair = processor->value(key, json());
      if (!pair.is_array() || pair.empty() || !pair[0].is_string()) {
        return refuse();
      }
      *token = pair[0].get<std::string>();
    }
    return;
  }
  const json single = type == "TemplateProcessing" ? processor->value("single", json()) : json();
  const bool sandwich = single.is_array() && single.size() == 3 && single[0].is_object() &&
                        single[1].is_object() && single[1].contains("Sequence") &&
                        single[2].is_object() && !special_of(single[0]).empty() &&
                        !special_of(single[2]).empty();
  if (!sandwich) {
    return refuse();
  }
  model.cls_token = special_of(single[0]);
  model.sep_token = special_of(single[2]);
}

/// Puts `token` at `id`, growing the list.
void place_token(const std::string& token, const json& id, std::size_t most, JsonReader& owner,
                 WordPieceModel& model) {
  if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= most) {
    owner.fail("id of '" + token.substr(0, 60) + "'",
               fmt::format("a whole number from 0 to {}", most - 1), id);
    return;
  }
  const auto index = id.get<std::size_t>();
  if (index >= model.tokens.size()) {
    model.tokens.resize(index + 1);
  }
  if (!model.tokens[index].empty() && model.tokens[index] != token) {
    owner.fail(fmt::format("id {} belongs to '{}' and to '{}'", index, model.tokens[index],
                           token.substr(0, 60)));
    return;
  }
  model.tokens[index] = token;
}

void read_model(const json* object, const std::string& name, JsonReader& owner,
                WordPieceModel& model) {
  if (object == nullptr) {
    owner.fail("'model' is missing");
    return;
  }
  JsonReader reader(*object, name + ": model");
  reader.one_of("type", "WordPiece", {"WordPiece"});
  model.unk_token = reader.string("unk_token", "[UNK]");
  model.continuing_prefix = reader.string("continuing_subword_prefix", "##");
  model.max_word_characters = static_cast<std::size_t>(
      reader.integer("max_input_chars_per_word", 100, 1, text::kMaxWordCharacters));
  const json* vocabulary = reader.object("vocab");
  if (reader.ok() && vocabulary == nullptr) {
    reader.fail("'vocab' is missing");
  }
  if (!reader.ok()) {
    owner.fail(base::message(reader.status()).substr(name.size() + 2));
    return;
  }
  const std::size_t most = std::min(text::kMaxVocabularySize, vocabulary->size() + kMaxHoles);
  for (const auto& [token, id] : vocabulary->items()) {
    place_token(token, id, most, owner, model);
    if (!owner.ok()) {
      return;
    }
  }
}

void read_added_tokens(const json* tokens, const std::string& name, JsonReader& owner,
                       WordPieceModel& model) {
  if (tokens == nullptr) {
    return;
  }
  const std::size_t most =
      std::min(text::kMaxVocabularySize, model.tokens.size() + tokens->size() + kMaxHoles);
  for (const json& entry : *tokens) {
    JsonReader reader(entry, name + ": added_tokens");
    const std::string content = reader.string("content", std::nullopt);
    for (const char* flag : {"single_word", "lstrip", "rstrip", "normalized"}) {
      if (reader.boolean(flag, false)) {
        reader.fail(fmt::format("'{}' has {} = true, which is not supported", content, flag));
      }
    }
    if (reader.ok() && content.empty()) {
      reader.fail("'content' is empty");
    }
    if (!reader.ok()) {
      owner.fail(base::message(reader.status()).substr(name.size() + 2));
      return;
    }
    place_token(content, entry.value("id", json()), most, owner, model);
    model.added_tokens.push_back(content);
  }
}

/// A token in a config: a plain string or {"content": …}.
void read_token_name(const json& object, const char* key, JsonReader& reader, std::string& token) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) {
    return;
  }
  const json content = found->is_object() ? found->value("content", json()) : *found;
  if (!content.is_string() || content.get<std::string>().empty()) {
    reader.fail(key, "a token", *found);
    return;
  }
  token = content.get<std::string>();
}

void read_token_names(const json& object, JsonReader& reader, WordPieceModel& model) {
  read_token_name(object, "unk_token", reader, model.unk_token);
  read_token_name(object, "cls_token", reader, model.cls_token);
  read_token_name(object, "sep_token", reader, model.sep_token);
  read_token_name(object, "pad_token", reader, model.pad_token);
  read_token_name(object, "mask_token", reader, model.mask_token);
}

base::StatusOr<WordPieceModel> load_model_of_folder(const fs::path& folder) {
  std::error_code ignored;
  const bool has_json = fs::exists(folder / "tokenizer.json", ignored);
  const std::string path = (folder / (has_json ? "tokenizer.json" : "vocab.txt")).string();
  if (!has_json && !fs::exists(path, ignored)) {
    return base::not_found("{}: expected tokenizer.json or vocab.txt, found neither",
                           folder.string());
  }
  GAMELAN_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::open(path));
  GAMELAN_ASSIGN_OR_RETURN(WordPieceModel model, has_json ? parse_tokenizer_json(file.text(), path)
                                                          : parse_vocab_txt(file.text(), path));
  const std::string config_path = (folder / "tokenizer_config.json").string();
  if (fs::exists(config_path, ignored)) {
    GAMELAN_ASSIGN_OR_RETURN(const MappedFile config, MappedFile::open(config_path));
    const text::BertNormalizerOptions of_json = model.normalizer;
    GAMELAN_RETURN_IF_ERROR(apply_tokenizer_config(config.text(), config_path, model));
    if (has_json) {
      model.normalizer = of_json;  // tokenizer.json is complete but for the names of some tokens
    }
  }
  return model;
}

}  // namespace

base::StatusOr<WordPieceModel> parse_vocab_txt(std::string_view text, std::string_view name) {
  if (text.size() > kMaxVocabularyBytes) {
    return base::invalid_argument("{}: {} bytes are over the limit of {}", name, text.size(),
                                  kMaxVocabularyBytes);
  }
  WordPieceModel model;
  while (!text.empty()) {
    const std::size_t newline = text.find('\n');
    std::string_view line = text.substr(0, newline);
    text.remove_prefix(newline == std::string_view::npos ? text.size() : newline + 1);
    if (line.ends_with('\r')) {
      line.remove_suffix(1);
    }
    const std::size_t number = model.tokens.size() + 1;
    if (line.size() > text::kMaxTokenBytes) {
      return base::invalid_argument("{}:{}: a token of {} bytes is over the limit of {}", name,
                                    number, line.size(), text::kMaxTokenBytes);
    }
    if (!text::is_valid_utf8(line)) {
      return base::invalid_argument("{}:{}: the token is not valid UTF-8", name, number);
    }
    if (number > text::kMaxVocabularySize) {
      return base::invalid_argument("{}: more than {} tokens", name, text::kMaxVocabularySize);
    }
    model.tokens.emplace_back(line);
  }
  if (model.tokens.empty()) {
    return base::invalid_argument("{}: expected one token a line, got an empty file", name);
  }
  return model;
}

base::StatusOr<WordPieceModel> parse_tokenizer_json(std::string_view text, std::string_view name) {
  GAMELAN_ASSIGN_OR_RETURN(const json object, parse_json(text, name));
  const std::string where(name);
  JsonReader reader(object, where);
  WordPieceModel model;
  const json* const word_piece = reader.object("model");
  const json* const normalizer = reader.object("normalizer");
  const json* const pre_tokenizer = reader.object("pre_tokenizer");
  const json* const post_processor = reader.object("post_processor");
  const json* const added_tokens = reader.array("added_tokens");
  GAMELAN_RETURN_IF_ERROR(reader.status());
  read_model(word_piece, where, reader, model);  // first: another model type explains all the rest
  read_normalizer(normalizer, where, reader, model);
  if (pre_tokenizer == nullptr || pre_tokenizer->value("type", json()) != "BertPreTokenizer") {
    reader.fail("'pre_tokenizer': expected a BertPreTokenizer");
  }
  read_post_processor(post_processor, reader, model);
  if (reader.ok()) {
    read_added_tokens(added_tokens, where, reader, model);
  }
  GAMELAN_RETURN_IF_ERROR(reader.status());
  return model;
}

base::Status apply_tokenizer_config(std::string_view text, std::string_view name,
                                    WordPieceModel& model) {
  GAMELAN_ASSIGN_OR_RETURN(const json object, parse_json(text, name));
  JsonReader reader(object, std::string(name));
  GAMELAN_RETURN_IF_ERROR(reader.status());
  model.normalizer.lowercase = reader.boolean("do_lower_case", model.normalizer.lowercase);
  model.normalizer.handle_chinese_chars =
      reader.boolean("tokenize_chinese_chars", model.normalizer.handle_chinese_chars);
  if (const std::optional<bool> strip = reader.optional_boolean("strip_accents")) {
    model.normalizer.strip_accents = strip;
  }
  read_token_names(object, reader, model);
  return reader.status();
}

base::StatusOr<text::WordPieceTokenizer> load_word_piece_tokenizer(std::string_view path) {
  std::error_code ignored;
  base::StatusOr<WordPieceModel> model;
  if (fs::is_directory(fs::path(path), ignored)) {
    model = load_model_of_folder(fs::path(path));
  } else {
    GAMELAN_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::open(path));
    model = path.ends_with(".json") ? parse_tokenizer_json(file.text(), path)
                                    : parse_vocab_txt(file.text(), path);
  }
  GAMELAN_RETURN_IF_ERROR(model.status());
  auto tokenizer = text::WordPieceTokenizer::create(*std::move(model));
  if (!tokenizer.ok()) {
    return base::annotate(tokenizer.status(), path);
  }
  return tokenizer;
}

}  // namespace gamelan::io
