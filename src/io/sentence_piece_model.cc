#include "io/sentence_piece_model.h"

#include <string>
#include <utility>

#include "io/mapped_file.h"
#include "io/protobuf_reader.h"

namespace gamelan::io {
namespace {

using text::SentencePiece;
using text::SentencePieceModel;
constexpr int kVarint = 0;
constexpr int kBytes = 2;
constexpr int kFixed32 = 5;

bool read_piece(std::string_view bytes, SentencePiece& piece) {
  ProtobufReader reader(bytes);
  std::int32_t type = 1;
  while (reader.next()) {
    if (reader.is(1, kBytes)) {
      piece.text = reader.bytes();
    } else if (reader.is(2, kFixed32)) {
      piece.score = reader.f32();
    } else if (reader.is(3, kVarint)) {
      type = reader.int32();
    }
  }
  piece.type = static_cast<SentencePiece::Type>(type);
  return reader.ok() && type >= 1 && type <= 6;
}

bool read_trainer_spec(std::string_view bytes, SentencePieceModel& model, std::int32_t& kind) {
  ProtobufReader reader(bytes);
  while (reader.next()) {
    if (reader.is(3, kVarint)) {
      kind = reader.int32();
    } else if (reader.is(24, kVarint)) {
      model.normalization.treat_whitespace_as_suffix = reader.number() != 0;
    } else if (reader.is(35, kVarint)) {
      model.byte_fallback = reader.number() != 0;
    } else if (reader.is(40, kVarint)) {
      model.unk_id = reader.int32();
    } else if (reader.is(41, kVarint)) {
      model.bos_id = reader.int32();
    } else if (reader.is(42, kVarint)) {
      model.eos_id = reader.int32();
    }
  }
  return reader.ok();
}

bool read_normalizer_spec(std::string_view bytes, SentencePieceModel& model,
                          std::string_view& charsmap) {
  ProtobufReader reader(bytes);
  while (reader.next()) {
    if (reader.is(2, kBytes)) {
      charsmap = reader.bytes();
    } else if (reader.is(3, kVarint)) {
      model.normalization.add_dummy_prefix = reader.number() != 0;
    } else if (reader.is(4, kVarint)) {
      model.normalization.remove_extra_whitespaces = reader.number() != 0;
    } else if (reader.is(5, kVarint)) {
      model.normalization.escape_whitespaces = reader.number() != 0;
    }
  }
  return reader.ok();
}

/// The ids of the special pieces are what their types say, as in the library.
void find_unknown(SentencePieceModel& model) {
  for (std::size_t i = 0; i < model.pieces.size(); ++i) {
    if (model.pieces[i].type == SentencePiece::Type::kUnknown) {
      model.unk_id = static_cast<text::TokenId>(i);
    }
  }
}

}  // namespace

base::StatusOr<SentencePieceModel> parse_sentence_piece_model(std::string_view bytes,
                                                              std::string_view name) {
  SentencePieceModel model;
  std::int32_t kind = 1;
  std::string_view charsmap;
  ProtobufReader reader(bytes);
  bool good = true;
  while (good && reader.next()) {
    if (reader.is(1, kBytes)) {
      if (model.pieces.size() == text::kMaxSentencePieces) {
        return base::invalid_argument("{}: more than {} pieces", name, text::kMaxSentencePieces);
      }
      good = read_piece(reader.bytes(), model.pieces.emplace_back());
    } else if (reader.is(2, kBytes)) {
      good = read_trainer_spec(reader.bytes(), model, kind);
    } else if (reader.is(3, kBytes)) {
      good = read_normalizer_spec(reader.bytes(), model, charsmap);
    }
  }
  if (!good || !reader.ok() || model.pieces.empty()) {
    return base::data_loss(
        "{}: expected a SentencePiece model, got {} bytes that are none after "
        "piece {}",
        name, bytes.size(), model.pieces.size());
  }
  if (kind != 1 && kind != 2) {
    return base::unimplemented("{}: SentencePiece model type {}; known are 1 (unigram) and 2 (bpe)",
                               name, kind);
  }
  model.kind = static_cast<SentencePieceModel::Kind>(kind);
  GAMELAN_ASSIGN_OR_RETURN(model.normalization.map, text::PrecompiledMap::create(charsmap, name));
  find_unknown(model);
  return model;
}

base::StatusOr<std::unique_ptr<text::Tokenizer>> load_sentence_piece_tokenizer(
    std::string_view path) {
  GAMELAN_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::open(path));
  GAMELAN_ASSIGN_OR_RETURN(SentencePieceModel model, parse_sentence_piece_model(file.text(), path));
  return text::SentencePieceTokenizer::create(std::move(model), path);
}

}  // namespace gamelan::io
