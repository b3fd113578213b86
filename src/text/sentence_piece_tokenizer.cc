#include "text/sentence_piece_tokenizer.h"

#include <charconv>
#include <utility>

#include "text/utf8.h"

namespace gamelan::text {
namespace {

using Type = SentencePiece::Type;

std::variant<Unigram, SentencePieceBpe> make_segmenter(const SentencePieceModel& model) {
  if (model.kind == SentencePieceModel::Kind::kUnigram) {
    return Unigram(model.pieces, model.unk_id);
  }
  return SentencePieceBpe(model.pieces, model.unk_id);
}

/// "<0x4F>" -> 0x4f; -1 for anything else.
std::int16_t byte_of_piece(std::string_view piece) {
  unsigned value = 0;
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece.back() != '>') {
    return -1;
  }
  const auto [end, error] = std::from_chars(piece.data() + 3, piece.data() + 5, value, 16);
  return error == std::errc() && end == piece.data() + 5 ? static_cast<std::int16_t>(value) : -1;
}

base::Status check(const SentencePieceModel& model, std::string_view name) {
  const auto count = static_cast<TokenId>(model.pieces.size());
  if (model.pieces.empty() || model.pieces.size() > kMaxSentencePieces) {
    return base::invalid_argument("{}: expected 1 to {} pieces, got {}", name, kMaxSentencePieces,
                                  model.pieces.size());
  }
  for (std::size_t i = 0; i < model.pieces.size(); ++i) {
    if (model.pieces[i].text.size() > kMaxSentencePieceBytes) {
      return base::invalid_argument("{}: piece {} has {} bytes, at most {} are expected", name, i,
                                    model.pieces[i].text.size(), kMaxSentencePieceBytes);
    }
    if (!(model.pieces[i].score == model.pieces[i].score)) {
      return base::invalid_argument("{}: the score of piece {} is not a number", name, i);
    }
  }
  if (model.unk_id < 0 || model.unk_id >= count || model.bos_id >= count || model.eos_id >= count) {
    return base::invalid_argument(
        "{}: expected the unknown piece, <s> and </s> among the {} pieces, got ids {}, {} and {}",
        name, count, model.unk_id, model.bos_id, model.eos_id);
  }
  return base::OkStatus();
}

void replace_meta_space(std::string_view piece, std::string& out) {
  for (std::size_t at = 0; at < piece.size();) {
    if (piece.substr(at).starts_with(kMetaSpace)) {
      out.push_back(' ');
      at += kMetaSpace.size();
    } else {
      out.push_back(piece[at++]);
    }
  }
}

/// A run of byte pieces: text when it is UTF-8, else U+FFFD for every byte.
void flush_bytes(std::string& bytes, std::string& out) {
  if (is_valid_utf8(bytes)) {
    out += bytes;
  } else {
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      append_utf8(kReplacementCharacter, out);
    }
  }
  bytes.clear();
}

}  // namespace

base::StatusOr<std::unique_ptr<Tokenizer>> SentencePieceTokenizer::create(SentencePieceModel model,
                                                                          std::string_view name) {
  GAMELAN_RETURN_IF_ERROR(check(model, name));
  std::unique_ptr<SentencePieceTokenizer> made(new SentencePieceTokenizer(std::move(model)));
  GAMELAN_RETURN_IF_ERROR(made->index(name));
  return std::unique_ptr<Tokenizer>(std::move(made));
}

SentencePieceTokenizer::SentencePieceTokenizer(SentencePieceModel model)
    : model_(std::move(model)), segmenter_(make_segmenter(model_)) {}

base::Status SentencePieceTokenizer::index(std::string_view name) {
  std::vector<ByteTrie::Entry> special;
  std::vector<ByteTrie::Entry> kept;
  byte_ids_.fill(-1);
  byte_of_.assign(model_.pieces.size(), -1);
  for (std::size_t i = 0; i < model_.pieces.size(); ++i) {
    const SentencePiece& piece = model_.pieces[i];
    const auto id = static_cast<TokenId>(i);
    const bool is_new = ids_.try_emplace(piece.text, id).second;
    if (piece.type == Type::kByte) {
      byte_of_[i] = byte_of_piece(piece.text);
      if (byte_of_[i] < 0) {
        return base::invalid_argument("{}: byte piece {} is '{}', expected <0x00> to <0xFF>", name,
                                      i, piece.text.substr(0, 20));
      }
      byte_ids_[static_cast<std::size_t>(byte_of_[i])] = id;
    } else if (is_new && !piece.text.empty() && is_special(id)) {
      special.push_back({piece.text, id});
    } else if (is_new && !piece.text.empty() && piece.type == Type::kUserDefined) {
      kept.push_back({piece.text, id});
    }
  }
  special_ = ByteTrie(special);
  kept_ = ByteTrie(kept);
  for (std::size_t byte = 0; model_.byte_fallback && byte < byte_ids_.size(); ++byte) {
    if (byte_ids_[byte] < 0) {
      return base::invalid_argument("{}: byte fallback needs a piece <0x{:02X}>, which is missing",
                                    name, byte);
    }
  }
  return base::OkStatus();
}

void SentencePieceTokenizer::encode_part(std::string_view text, bool dummy_prefix,
                                         std::vector<TokenId>& ids) const {
  std::string normalized;
  normalize_sentence(model_.normalization, kept_, text, dummy_prefix, normalized);
  std::vector<Segment> segments;
  std::visit([&](const auto& segmenter) { segmenter.segment(normalized, segments); }, segmenter_);
  bool after_unknown = false;
  for (const Segment& segment : segments) {
    const bool unknown = segment.id == model_.unk_id;
    if (unknown && model_.byte_fallback) {
      for (const char c : segment.text) {
        ids.push_back(byte_ids_[static_cast<std::uint8_t>(c)]);
      }
    } else if (!unknown || !after_unknown) {  // a run of unknown characters is one piece
      ids.push_back(segment.id);
    }
    after_unknown = unknown;
  }
}

void SentencePieceTokenizer::encode_to(std::string_view text, bool add_special_tokens,
                                       std::vector<TokenId>& ids) const {
  if (add_special_tokens && model_.add_bos && model_.bos_id >= 0) {
    ids.push_back(model_.bos_id);
  }
  const char* const end = text.data() + text.size();
  const char* begin = text.data();
  bool first = true;
  const auto flush = [&](const char* to) {
    if (to != begin) {
      encode_part({begin, static_cast<std::size_t>(to - begin)},
                  first || !model_.prefix_first_part_only, ids);
    }
    first = false;
  };
  for (const char* p = begin; p != end;) {
    const auto match = special_.longest_match(ByteTrie::kRoot, p, end);
    if (match.value < 0) {
      ++p;
      continue;
    }
    flush(p);
    ids.push_back(match.value);
    p = begin = match.end;
  }
  flush(end);
  if (add_special_tokens && model_.add_eos && model_.eos_id >= 0) {
    ids.push_back(model_.eos_id);
  }
}

std::string SentencePieceTokenizer::decode(std::span<const TokenId> ids,
                                           bool skip_special_tokens) const {
  std::string out;
  std::string bytes;
  for (const TokenId id : ids) {
    if (!valid(id) || (skip_special_tokens && is_special(id))) {
      continue;
    }
    const auto i = static_cast<std::size_t>(id);
    if (byte_of_[i] >= 0) {
      bytes.push_back(static_cast<char>(byte_of_[i]));
      continue;
    }
    flush_bytes(bytes, out);
    replace_meta_space(model_.pieces[i].text, out);
  }
  flush_bytes(bytes, out);
  const SentencePieceNormalization& spec = model_.normalization;
  if (spec.add_dummy_prefix && !spec.treat_whitespace_as_suffix && out.starts_with(' ')) {
    out.erase(0, 1);
  } else if (spec.add_dummy_prefix && spec.treat_whitespace_as_suffix && out.ends_with(' ')) {
    out.pop_back();
  }
  return replace_invalid_utf8(out);
}

std::string SentencePieceTokenizer::bytes_of(TokenId id) const {
  std::string out;
  if (valid(id)) {
    const auto i = static_cast<std::size_t>(id);
    if (byte_of_[i] >= 0) {
      out.push_back(static_cast<char>(byte_of_[i]));
    } else {
      replace_meta_space(model_.pieces[i].text, out);
    }
  }
  return out;
}

std::optional<TokenId> SentencePieceTokenizer::id_of(std::string_view token) const {
  const auto found = ids_.find(token);
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

std::string_view SentencePieceTokenizer::token_of(TokenId id) const {
  return valid(id) ? std::string_view(model_.pieces[static_cast<std::size_t>(id)].text)
                   : std::string_view();
}

bool SentencePieceTokenizer::is_special(TokenId id) const {
  if (!valid(id)) {
    return false;
  }
  const Type type = model_.pieces[static_cast<std::size_t>(id)].type;
  return type == Type::kControl || type == Type::kUnknown;
}

std::int64_t SentencePieceTokenizer::vocabulary_size() const {
  return static_cast<std::int64_t>(model_.pieces.size());
}

bool SentencePieceTokenizer::valid(TokenId id) const {
  return id >= 0 && static_cast<std::size_t>(id) < model_.pieces.size();
}

}  // namespace gamelan::text
