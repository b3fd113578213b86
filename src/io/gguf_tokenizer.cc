// The tokenizer of io/gguf.h.
#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "io/bpe_writer.h"
#include "io/gguf.h"
#include "io/gguf_file.h"
#include "io/gguf_parts.h"
#include "text/bpe_encoder.h"
#include "text/pipeline_tokenizer.h"
#include "text/sentence_piece_tokenizer.h"
#include "text/utf8.h"

namespace gamelan::io {
namespace {

using text::SentencePiece;
using text::SplitPattern;
using text::TokenId;
using Result = base::StatusOr<std::unique_ptr<text::Tokenizer>>;

/// What a pre-tokenizer's name stands for.
struct Pre {
  std::string_view name;
  SplitPattern pattern = SplitPattern::kGpt2;
  bool nfc = false;
  bool ignore_merges = false;
};

constexpr std::array<Pre, 12> kPre = {{
    {"gpt-2", SplitPattern::kGpt2},
    {"olmo", SplitPattern::kGpt2, true},
    {"llama-bpe", SplitPattern::kLlama3, false, true},
    {"llama3", SplitPattern::kLlama3, false, true},
    {"llama-v3", SplitPattern::kLlama3, false, true},
    {"dbrx", SplitPattern::kLlama3},
    {"smaug-bpe", SplitPattern::kLlama3},
    {"qwen2", SplitPattern::kQwen2, true},
    {"deepseek-r1-qwen", SplitPattern::kQwen2},
    {"bloom", SplitPattern::kBloom},
    {"poro-chat", SplitPattern::kBloom},
    {"gpt3-finnish", SplitPattern::kBloom},
}};

/// Older files do not name a pre-tokenizer: then it is that of the architecture's first models.
base::StatusOr<Pre> find_pre(const GgufFile& file, GgufReader& reader) {
  const std::string architecture = reader.text("general.architecture", "");
  std::string name = reader.text("tokenizer.ggml.pre", "default");
  if (name == "default") {
    constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kFirst = {
        {{"gptneox", "olmo"}, {"llama", "llama-bpe"}, {"qwen2", "qwen2"}, {"bloom", "bloom"}}};
    const auto* const found = std::find_if(kFirst.begin(), kFirst.end(), [&](const auto& first) {
      return first.first == architecture;
    });
    name = found == kFirst.end() ? "gpt-2" : found->second;
  }
  std::string names;
  for (const Pre& pre : kPre) {
    if (pre.name == name) {
      return pre;
    }
    names += fmt::format("{}{}", names.empty() ? "" : ", ", pre.name);
  }
  return base::unimplemented("{}: unknown pre-tokenizer '{}'; known are {}", file.name(),
                             text::replace_invalid_utf8(name.substr(0, 60)), names);
}

/// The tokens, each with its type and score.
struct Vocabulary {
  std::vector<SentencePiece> pieces;
  std::optional<TokenId> bos;
  std::optional<TokenId> eos;
  std::optional<TokenId> unk;

  std::size_t count(SentencePiece::Type type) const {
    return static_cast<std::size_t>(std::count_if(
        pieces.begin(), pieces.end(), [type](const SentencePiece& p) { return p.type == type; }));
  }
};

base::Status read_tokens(const GgufFile& file, GgufReader& reader, Vocabulary& vocabulary) {
  const GgufArray* const tokens = reader.array("tokenizer.ggml.tokens");
  const GgufArray* const types = reader.array("tokenizer.ggml.token_type");
  const GgufArray* const scores = reader.array("tokenizer.ggml.scores");
  GAMELAN_RETURN_IF_ERROR(reader.status());
  if (tokens == nullptr || tokens->strings.empty()) {
    return base::not_found("{}: it holds no tokenizer ('tokenizer.ggml.tokens')", file.name());
  }
  const auto type = types == nullptr ? std::nullopt : types->integers();
  const auto score = scores == nullptr ? std::nullopt : scores->floats();
  const std::size_t size = tokens->strings.size();
  if ((types != nullptr && (!type || type->size() != size)) ||
      (scores != nullptr && (!score || score->size() != size)) || size > text::kMaxSentencePieces) {
    return base::data_loss("{}: expected a type and a score for each of the {} tokens, at most {}",
                           file.name(), size, text::kMaxSentencePieces);
  }
  for (std::size_t i = 0; i < size; ++i) {
    const std::int64_t kind = type ? (*type)[i] : 1;
    if (kind < 1 || kind > 6 || tokens->strings[i].size() > text::kMaxSentencePieceBytes) {
      return base::data_loss(
          "{}: token {}: expected a type from 1 to 6 and at most {} bytes, got "
          "type {} and {} bytes",
          file.name(), i, text::kMaxSentencePieceBytes, kind, tokens->strings[i].size());
    }
    vocabulary.pieces.push_back({std::string(tokens->strings[i]), score ? (*score)[i] : 0.0F,
                                 static_cast<SentencePiece::Type>(kind)});
  }
  const auto id = [&](const char* key) -> std::optional<TokenId> {
    const auto value = reader.optional_integer(std::string("tokenizer.ggml.") + key, 0,
                                               static_cast<std::int64_t>(size) - 1);
    return value ? std::optional(static_cast<TokenId>(*value)) : std::nullopt;
  };
  vocabulary.bos = id("bos_token_id");
  vocabulary.eos = id("eos_token_id");
  vocabulary.unk = id("unknown_token_id");
  return reader.status();
}

Result make_sentence_piece(const GgufFile& file, GgufReader& reader, Vocabulary vocabulary) {
  text::SentencePieceModel model;
  model.kind = text::SentencePieceModel::Kind::kBpe;
  model.normalization.add_dummy_prefix = reader.boolean("tokenizer.ggml.add_space_prefix", true);
  model.normalization.remove_extra_whitespaces = false;
  model.byte_fallback = vocabulary.count(SentencePiece::Type::kByte) == 256;
  model.bos_id = vocabulary.bos.value_or(1);
  model.eos_id = vocabulary.eos.value_or(2);
  model.unk_id = vocabulary.unk.value_or(0);
  model.add_bos = reader.boolean("tokenizer.ggml.add_bos_token", true);
  model.add_eos = reader.boolean("tokenizer.ggml.add_eos_token", false);
  model.pieces = std::move(vocabulary.pieces);
  GAMELAN_RETURN_IF_ERROR(reader.status());
  return text::SentencePieceTokenizer::create(std::move(model), file.name());
}

base::Status read_merges(const GgufFile& file, GgufReader& reader, text::BpeVocabulary& model) {
  const GgufArray* const merges = reader.array("tokenizer.ggml.merges");
  GAMELAN_RETURN_IF_ERROR(reader.status());
  if (merges == nullptr || merges->type != GgufType::kString) {
    return base::data_loss("{}: expected the strings 'tokenizer.ggml.merges', found none",
                           file.name());
  }
  for (const std::string_view merge : merges->strings) {
    const std::size_t blank = merge.find(' ', 1);
    if (merge.empty() || blank == merge.npos) {
      return base::data_loss("{}: merge {}: expected two tokens, got '{}'", file.name(),
                             model.merges.size(), text::replace_invalid_utf8(merge.substr(0, 60)));
    }
    model.merges.emplace_back(merge.substr(0, blank), merge.substr(blank + 1));
  }
  return base::OkStatus();
}

/// A byte-level tokenizer before its vocabulary is indexed.
struct ByteLevelParts {
  Pre pre;
  text::BpeVocabulary model;
  std::vector<text::AddedToken> added;
  bool add_bos = false;
  bool add_eos = false;
};

base::StatusOr<ByteLevelParts> read_byte_level(const GgufFile& file, GgufReader& reader,
                                               Vocabulary& vocabulary) {
  ByteLevelParts parts;
  GAMELAN_ASSIGN_OR_RETURN(parts.pre, find_pre(file, reader));
  text::BpeVocabulary& model = parts.model;
  model.byte_level = true;
  model.ignore_merges = parts.pre.ignore_merges;
  using Type = SentencePiece::Type;
  for (SentencePiece& piece : vocabulary.pieces) {
    if (piece.type == Type::kControl || piece.type == Type::kUserDefined) {
      text::AddedToken token;
      token.content = piece.text;
      token.id = static_cast<TokenId>(model.tokens.size());
      token.special = piece.type == Type::kControl;
      parts.added.push_back(std::move(token));
    }
    model.tokens.push_back(std::move(piece.text));
  }
  GAMELAN_RETURN_IF_ERROR(read_merges(file, reader, model));
  parts.add_bos = reader.boolean("tokenizer.ggml.add_bos_token", parts.pre.ignore_merges) &&
                  vocabulary.bos.has_value();
  parts.add_eos =
      reader.boolean("tokenizer.ggml.add_eos_token", false) && vocabulary.eos.has_value();
  GAMELAN_RETURN_IF_ERROR(reader.status());
  return parts;
}

Result make_byte_level(const GgufFile& file, GgufReader& reader, Vocabulary vocabulary) {
  GAMELAN_ASSIGN_OR_RETURN(ByteLevelParts read, read_byte_level(file, reader, vocabulary));
  text::TokenizerParts parts;
  if (read.add_bos) {
    parts.prefix.push_back(*vocabulary.bos);
  }
  if (read.add_eos) {
    parts.suffix.push_back(*vocabulary.eos);
  }
  parts.added_tokens = std::move(read.added);
  parts.tokens = read.model.tokens;
  parts.decoder = text::make_byte_level_decoder();
  if (read.pre.nfc) {
    parts.normalizer = text::make_unicode_normalizer(text::UnicodeForm::kNfc);
  }
  parts.pre_tokenizer =
      text::make_pattern_splitter(read.pre.pattern, text::SplitBehavior::kIsolated, false);
  auto encoder = text::BpeEncoder::create(std::move(read.model));
  if (!encoder.ok()) {
    return base::annotate(encoder.status(), file.name());
  }
  parts.encoder = *std::move(encoder);
  return std::make_unique<text::PipelineTokenizer>(std::move(parts));
}

Result make_tokenizer(const GgufFile& file) {
  GgufReader reader(file);
  Vocabulary vocabulary;
  GAMELAN_RETURN_IF_ERROR(read_tokens(file, reader, vocabulary));
  const std::string kind = reader.text("tokenizer.ggml.model", std::nullopt);
  GAMELAN_RETURN_IF_ERROR(reader.status());
  if (kind == "llama") {
    return make_sentence_piece(file, reader, std::move(vocabulary));
  }
  if (kind == "gpt2") {
    return make_byte_level(file, reader, std::move(vocabulary));
  }
  return base::unimplemented("{}: unknown tokenizer '{}'; known are llama and gpt2", file.name(),
                             text::replace_invalid_utf8(kind.substr(0, 60)));
}

base::Status save_byte_level(const GgufFile& file, GgufReader& reader, Vocabulary vocabulary,
                             std::string_view folder) {
  GAMELAN_ASSIGN_OR_RETURN(const ByteLevelParts parts, read_byte_level(file, reader, vocabulary));
  BpeFilesOptions options;
  const auto name = [&](std::optional<TokenId> id) {
    return id ? parts.model.tokens[static_cast<std::size_t>(*id)] : std::string();
  };
  options.bos_token = name(vocabulary.bos);
  options.eos_token = name(vocabulary.eos);
  options.unk_token = name(vocabulary.unk);
  options.pattern = parts.pre.pattern;
  options.nfc = parts.pre.nfc;
  options.add_bos_token = parts.add_bos;
  options.add_eos_token = parts.add_eos;
  for (const text::AddedToken& token : parts.added) {
    (token.special ? options.special_tokens : options.added_tokens).push_back(token.content);
  }
  const base::Status saved = save_bpe_files(folder, parts.model, options);
  return saved.ok() ? saved : base::annotate(saved, file.name());
}

}  // namespace

base::Status save_gguf_byte_level(std::string_view path, std::string_view folder) {
  GAMELAN_ASSIGN_OR_RETURN(const GgufParts parts, open_first_gguf_part(path));
  GgufReader reader(parts.file);
  Vocabulary vocabulary;
  GAMELAN_RETURN_IF_ERROR(read_tokens(parts.file, reader, vocabulary));
  return save_byte_level(parts.file, reader, std::move(vocabulary), folder);
}

Result parse_gguf_tokenizer(std::span<const std::byte> bytes, std::string_view name) {
  GAMELAN_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::parse(bytes, name));
  return make_tokenizer(file);
}

Result load_gguf_tokenizer(std::string_view path) {
  GAMELAN_ASSIGN_OR_RETURN(const GgufParts parts, open_first_gguf_part(path));
  return make_tokenizer(parts.file);
}

}  // namespace gamelan::io
