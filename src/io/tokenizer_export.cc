#include "io/tokenizer_export.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <vector>

#include "io/atomic_file.h"
#include "io/gguf.h"
#include "io/load_tokenizer.h"
#include "io/tokenizer_folder.h"
#include "text/utf8.h"

namespace gamelan::io {
namespace {

namespace fs = std::filesystem;
using json = nlohmann::ordered_json;
using text::SentencePiece;
using Vocabulary = std::unordered_map<std::string_view, text::TokenId>;

constexpr const char* kLlama2cFile = "tokenizer.bin";

base::StatusOr<Vocabulary> vocabulary_of(const text::SentencePieceModel& model) {
  Vocabulary vocabulary;
  for (std::size_t i = 0; i < model.pieces.size(); ++i) {
    const auto [found, is_new] =
        vocabulary.emplace(model.pieces[i].text, static_cast<text::TokenId>(i));
    if (!is_new) {
      return base::invalid_argument("tokenizer: pieces {} and {} are both spelled '{}'",
                                    found->second, i, model.pieces[i].text);
    }
  }
  return vocabulary;
}

/// Every way to make a piece of two, in the order in which the model prefers them.
json merges_of(const text::SentencePieceModel& model, const Vocabulary& vocabulary) {
  std::vector<const SentencePiece*> order;
  for (const SentencePiece& piece : model.pieces) {
    if (piece.type == SentencePiece::Type::kNormal) {
      order.push_back(&piece);
    }
  }
  std::stable_sort(order.begin(), order.end(), [](const SentencePiece* a, const SentencePiece* b) {
    return a->score > b->score;
  });
  json merges = json::array();
  for (const SentencePiece* piece : order) {
    const std::string_view whole = piece->text;
    const char* const end = whole.data() + whole.size();
    for (const char* p = whole.data(); p != end;) {
      p += text::decode_utf8(p, end).size_bytes;
      const std::string_view left(whole.data(), static_cast<std::size_t>(p - whole.data()));
      const std::string_view right = whole.substr(left.size());
      if (vocabulary.contains(left) && vocabulary.contains(right)) {
        merges.push_back({std::string(left), std::string(right)});
      }
    }
  }
  return merges;
}

json added_token(const text::SentencePieceModel& model, std::size_t id, bool special) {
  return {{"id", id},
          {"content", model.pieces[id].text},
          {"single_word", false},
          {"lstrip", false},
          {"rstrip", false},
          {"normalized", false},
          {"special", special}};
}

bool is_special(const SentencePiece& piece) {
  return piece.type == SentencePiece::Type::kControl || piece.type == SentencePiece::Type::kUnknown;
}

/// <s> before a text and </s> behind it, as the model says.
json post_processor(const text::SentencePieceModel& model) {
  json single = json::array();
  json tokens = json::object();
  const auto add = [&](text::TokenId id) {
    const std::string& name = model.pieces[static_cast<std::size_t>(id)].text;
    single.push_back({{"SpecialToken", {{"id", name}, {"type_id", 0}}}});
    tokens[name] = {{"id", name}, {"ids", json::array({id})}, {"tokens", json::array({name})}};
  };
  if (model.add_bos && model.bos_id >= 0) {
    add(model.bos_id);
  }
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  if (model.add_eos && model.eos_id >= 0) {
    add(model.eos_id);
  }
  if (tokens.empty()) {
    return nullptr;
  }
  json pair = single;
  for (json part : single) {
    auto& item = part.begin().value();
    item["type_id"] = 1;
    if (part.contains("Sequence")) {
      item["id"] = "B";
    }
    pair.push_back(part);
  }
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", pair},
          {"special_tokens", tokens}};
}

json decoder(bool dummy_prefix) {
  const std::string space(text::kMetaSpace);
  json steps = {{{"type", "Replace"}, {"pattern", {{"String", space}}}, {"content", " "}},
                {{"type", "ByteFallback"}},
                {{"type", "Fuse"}}};
  if (dummy_prefix) {
    steps.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  }
  return {{"type", "Sequence"}, {"decoders", steps}};
}

json normalizer(bool dummy_prefix) {
  const std::string space(text::kMetaSpace);
  json steps = json::array();
  if (dummy_prefix) {
    steps.push_back({{"type", "Prepend"}, {"prepend", space}});
  }
  steps.push_back({{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", space}});
  return {{"type", "Sequence"}, {"normalizers", steps}};
}

std::string config_json(const text::SentencePieceModel& model) {
  json object = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                 {"clean_up_tokenization_spaces", false}};
  const auto add = [&](const char* key, text::TokenId id) {
    if (id >= 0) {
      object[key] = model.pieces[static_cast<std::size_t>(id)].text;
    }
  };
  add("bos_token", model.bos_id);
  add("eos_token", model.eos_id);
  add("unk_token", model.unk_id);
  return object.dump(2) + "\n";
}

/// False when there is none in the file `from`.
base::StatusOr<bool> export_file(const std::string& from, const fs::path& to) {
  const auto tokenizer = load_tokenizer(from);
  if (tokenizer.status().code() == base::StatusCode::kNotFound) {
    return false;
  }
  GAMELAN_RETURN_IF_ERROR(tokenizer.status());
  const auto* pieces = dynamic_cast<const text::SentencePieceTokenizer*>(tokenizer->get());
  if (pieces == nullptr) {  // the other kind that a GGUF file may hold
    GAMELAN_RETURN_IF_ERROR(make_folders(to.string()));
    GAMELAN_RETURN_IF_ERROR(save_gguf_byte_level(from, to.string()));
    return true;
  }
  const auto text = format_sentence_piece_json(pieces->model());
  if (!text.ok()) {
    return base::annotate(text.status(), from);
  }
  GAMELAN_RETURN_IF_ERROR(make_folders(to.string()));
  GAMELAN_RETURN_IF_ERROR(write_file((to / "tokenizer.json").string(), *text));
  GAMELAN_RETURN_IF_ERROR(
      write_file((to / "tokenizer_config.json").string(), config_json(pieces->model())));
  return true;
}

}  // namespace

base::StatusOr<std::string> format_sentence_piece_json(const text::SentencePieceModel& model) {
  if (model.kind != text::SentencePieceModel::Kind::kBpe) {
    return base::unimplemented("tokenizer.json: expected a BPE model, got a unigram one");
  }
  GAMELAN_ASSIGN_OR_RETURN(const Vocabulary vocabulary, vocabulary_of(model));
  json added = json::array();
  json ids = json::object();
  auto& entries = ids.get_ref<json::object_t&>();  // filled directly: the ordered map searches
  for (std::size_t i = 0; i < model.pieces.size(); ++i) {
    const SentencePiece::Type type = model.pieces[i].type;
    if (is_special(model.pieces[i]) || type == SentencePiece::Type::kUserDefined) {
      added.push_back(added_token(model, i, type != SentencePiece::Type::kUserDefined));
    }
    entries.push_back({model.pieces[i].text, json(i)});
  }
  const bool prefix = model.normalization.add_dummy_prefix;
  const json object = {{"version", "1.0"},
                       {"truncation", nullptr},
                       {"padding", nullptr},
                       {"added_tokens", added},
                       {"normalizer", normalizer(prefix)},
                       {"pre_tokenizer", nullptr},
                       {"post_processor", post_processor(model)},
                       {"decoder", decoder(prefix)},
                       {"model",
                        {{"type", "BPE"},
                         {"dropout", nullptr},
                         {"unk_token", model.pieces[static_cast<std::size_t>(model.unk_id)].text},
                         {"continuing_subword_prefix", nullptr},
                         {"end_of_word_suffix", nullptr},
                         {"fuse_unk", true},
                         {"byte_fallback", model.byte_fallback},
                         {"ignore_merges", false},
                         {"vocab", ids},
                         {"merges", merges_of(model, vocabulary)}}}};
  return object.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

base::StatusOr<bool> export_tokenizer(std::string_view from, std::string_view to) {
  const fs::path source(from);
  std::error_code ignored;
  const fs::path extension = source.extension();
  if (fs::is_regular_file(source, ignored) && (extension == ".bin" || extension == ".gguf")) {
    return export_file(source.string(), to);
  }
  const base::Status copied = copy_tokenizer_files(from, to);
  if (copied.code() == base::StatusCode::kNotFound) {
    return false;
  }
  GAMELAN_RETURN_IF_ERROR(copied);
  // A folder with tokenizer.bin alone.
  const fs::path binary = fs::path(to) / kLlama2cFile;
  const fs::path json_file = fs::path(to) / "tokenizer.json";
  if (fs::exists(binary, ignored) && !fs::exists(json_file, ignored)) {
    GAMELAN_RETURN_IF_ERROR(export_file(binary.string(), to).status());
    fs::remove(binary, ignored);
  }
  return true;
}

}  // namespace gamelan::io
