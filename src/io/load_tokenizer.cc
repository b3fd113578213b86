#include "io/load_tokenizer.h"

#include <filesystem>
#include <optional>

#include "io/gguf.h"
#include "io/llama2c.h"
#include "io/mapped_file.h"
#include "io/sentence_piece_model.h"
#include "io/tokenizer_files.h"
#include "io/tokenizer_json.h"
#include "text/word_piece_adapter.h"

namespace gamelan::io {
namespace {

namespace fs = std::filesystem;
using Result = base::StatusOr<std::unique_ptr<text::Tokenizer>>;

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

Result load_word_piece(std::string_view path) {
  GAMELAN_ASSIGN_OR_RETURN(text::WordPieceTokenizer tokenizer, load_word_piece_tokenizer(path));
  return text::make_tokenizer(std::move(tokenizer));
}

/// The text of the tokenizer_config.json in `folder`; empty when there is none.
base::StatusOr<std::string> read_config(const fs::path& folder) {
  const fs::path path = folder / "tokenizer_config.json";
  if (!is_there(path)) {
    return std::string();
  }
  GAMELAN_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::open(path.string()));
  return std::string(file.text());
}

Result load_json_file(const fs::path& path, std::string_view whole, std::string_view config) {
  GAMELAN_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::open(path.string()));
  GAMELAN_ASSIGN_OR_RETURN(const std::string kind, tokenizer_json_kind(file.text(), path.string()));
  if (kind == "WordPiece") {
    return load_word_piece(whole);
  }
  return parse_pipeline_json(file.text(), path.string(), config);
}

Result load_folder(const fs::path& folder) {
  GAMELAN_ASSIGN_OR_RETURN(const std::string config, read_config(folder));
  if (is_there(folder / "tokenizer.json")) {
    return load_json_file(folder / "tokenizer.json", folder.string(), config);
  }
  if (is_there(folder / "vocab.json") && is_there(folder / "merges.txt")) {
    GAMELAN_ASSIGN_OR_RETURN(const MappedFile vocab,
                             MappedFile::open((folder / "vocab.json").string()));
    GAMELAN_ASSIGN_OR_RETURN(const MappedFile merges,
                             MappedFile::open((folder / "merges.txt").string()));
    return parse_vocab_and_merges(vocab.text(), merges.text(), folder.string(), config);
  }
  if (is_there(folder / "tokenizer.model")) {
    return load_sentence_piece_tokenizer((folder / "tokenizer.model").string());
  }
  if (is_there(folder / "vocab.txt")) {
    return load_word_piece(folder.string());
  }
  if (is_there(folder / "tokenizer.bin")) {
    return load_llama2c_tokenizer((folder / "tokenizer.bin").string());
  }
  return base::not_found(
      "{}: expected tokenizer.json, vocab.json with merges.txt, tokenizer.model, vocab.txt or "
      "tokenizer.bin, found none of them",
      folder.string());
}

}  // namespace

base::StatusOr<std::unique_ptr<text::Tokenizer>> load_tokenizer(std::string_view path) {
  std::error_code ignored;
  if (fs::is_directory(fs::path(path), ignored)) {
    return load_folder(fs::path(path));
  }
  if (!is_there(fs::path(path))) {
    return base::not_found("{}: no such file or folder", path);
  }
  if (path.ends_with(".gguf")) {
    return load_gguf_tokenizer(path);
  }
  if (path.ends_with(".json")) {
    return load_json_file(fs::path(path), path, "");
  }
  if (path.ends_with(".model")) {
    return load_sentence_piece_tokenizer(path);
  }
  return path.ends_with(".bin") ? load_llama2c_tokenizer(path) : load_word_piece(path);
}

}  // namespace gamelan::io
