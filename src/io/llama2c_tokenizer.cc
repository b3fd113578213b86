// tokenizer.bin of io/llama2c.h.
#include <array>
#include <utility>

#include "io/byte_reader.h"
#include "io/llama2c.h"
#include "io/mapped_file.h"
#include "text/sentence_piece_tokenizer.h"

namespace gamelan::io {
namespace {

using text::SentencePiece;

constexpr std::size_t kFirstByte = 3;  // pieces 3 to 258 are the bytes
constexpr std::size_t kPastBytes = kFirstByte + 256;

/// The file spells spaces as such, where SentencePiece has U+2581, and puts newlines around <s>.
SentencePiece piece_of(std::size_t index, std::string_view bytes, float score) {
  using Type = SentencePiece::Type;
  if (index < kFirstByte) {
    constexpr std::array<const char*, kFirstByte> kNames = {"<unk>", "<s>", "</s>"};
    return {kNames[index], 0, index == 0 ? Type::kUnknown : Type::kControl};
  }
  if (index < kPastBytes) {
    return {std::string(bytes), score, Type::kByte};
  }
  SentencePiece piece{{}, score, Type::kNormal};
  for (const char c : bytes) {
    c == ' ' ? void(piece.text += text::kMetaSpace) : piece.text.push_back(c);
  }
  return piece;
}

}  // namespace

base::StatusOr<std::unique_ptr<text::Tokenizer>> parse_llama2c_tokenizer(
    std::span<const std::byte> bytes, std::string_view name) {
  text::SentencePieceModel model;
  model.kind = text::SentencePieceModel::Kind::kBpe;
  model.normalization.remove_extra_whitespaces = false;
  model.byte_fallback = true;
  model.add_bos = true;
  model.prefix_first_part_only = true;
  ByteReader reader(bytes);
  const auto longest = reader.read<std::int32_t>();
  while (reader.ok() && reader.left() > 0) {
    const auto score = reader.read<float>();
    const auto size = reader.read<std::int32_t>();
    if (!reader.ok() || size < 0 || size > longest) {
      return base::data_loss("{}: piece {}: expected a score and a length of at most {}, got {}",
                             name, model.pieces.size(), longest, size);
    }
    const std::string_view text = reader.text(static_cast<std::uint64_t>(size));
    model.pieces.push_back(piece_of(model.pieces.size(), text, score));
  }
  if (!reader.ok() || model.pieces.size() < kPastBytes) {
    return base::data_loss(
        "{}: expected a llama2.c tokenizer of at least {} pieces, got {} bytes "
        "with {} whole ones",
        name, kPastBytes, bytes.size(), model.pieces.size());
  }
  return text::SentencePieceTokenizer::create(std::move(model), name);
}

base::StatusOr<std::unique_ptr<text::Tokenizer>> load_llama2c_tokenizer(std::string_view path) {
  GAMELAN_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::open(path));
  return parse_llama2c_tokenizer(file.bytes(), path);
}

}  // namespace gamelan::io
