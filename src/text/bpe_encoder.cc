#include "text/bpe_encoder.h"

#include <fmt/format.h>

#include "text/utf8.h"

namespace gamelan::text {

base::StatusOr<std::unique_ptr<BpeEncoder>> BpeEncoder::create(BpeVocabulary vocabulary) {
  std::unique_ptr<BpeEncoder> encoder(new BpeEncoder(std::move(vocabulary)));
  GAMELAN_RETURN_IF_ERROR(encoder->index());
  return encoder;
}

std::optional<TokenId> BpeEncoder::find(std::string_view token) const {
  const auto found = ids_.find(token);
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

base::Status BpeEncoder::index() {
  ids_.reserve(vocabulary_.tokens.size());
  for (std::size_t id = 0; id < vocabulary_.tokens.size(); ++id) {
    if (!vocabulary_.tokens[id].empty()) {
      ids_[vocabulary_.tokens[id]] = static_cast<TokenId>(id);
    }
  }
  if (vocabulary_.unk_token) {
    const auto unk = find(*vocabulary_.unk_token);
    if (!unk) {
      return base::invalid_argument(
          "expected unk_token '{}' in the vocabulary, found no such token", *vocabulary_.unk_token);
    }
    unk_ = *unk;
  }
  for (int byte = 0; byte < 256; ++byte) {
    const char raw = static_cast<char>(byte);
    const std::string spelled =
        vocabulary_.byte_level ? to_byte_alphabet({&raw, 1}) : fmt::format("<0x{:02X}>", byte);
    byte_ids_[static_cast<std::size_t>(byte)] = find(spelled).value_or(-1);
  }
  GAMELAN_RETURN_IF_ERROR(index_merges());
  index_whole_words();
  return base::OkStatus();
}

base::Status BpeEncoder::index_merges() {
  std::vector<BpeModel::Merge> merges;
  merges.reserve(vocabulary_.merges.size());
  const std::string& prefix = vocabulary_.continuing_subword_prefix;
  for (const auto& [left, right] : vocabulary_.merges) {
    std::string_view tail = right;
    tail.remove_prefix(std::min(prefix.size(), tail.size()));
    const std::string merged = left + std::string(tail);
    for (const std::string* token : {&left, &right, &merged}) {
      if (!find(*token)) {
        return base::invalid_argument(
            "merge {} ('{}' '{}'): expected tokens of the vocabulary, found no '{}'", merges.size(),
            left.substr(0, 60), right.substr(0, 60), token->substr(0, 120));
      }
    }
    merges.push_back({*find(left), *find(right), *find(merged)});
  }
  GAMELAN_ASSIGN_OR_RETURN(model_, BpeModel::create(merges));
  vocabulary_.merges = {};  // the model has them now
  return base::OkStatus();
}

void BpeEncoder::index_whole_words() {
  if (!vocabulary_.ignore_merges &&
      !(vocabulary_.continuing_subword_prefix.empty() && vocabulary_.end_of_word_suffix.empty())) {
    return;  // tokens are not spelled as the words they stand for
  }
  const std::size_t size = vocabulary_.tokens.size();
  spelled_.resize(vocabulary_.byte_level ? size : 0);
  std::vector<TokenId> symbols;
  for (std::size_t id = 0; id < size; ++id) {
    std::string_view word = vocabulary_.tokens[id];
    if (vocabulary_.byte_level) {
      spelled_[id] = from_byte_alphabet(word).value_or("");
      word = spelled_[id];
    }
    const auto token = static_cast<TokenId>(id);
    if (word.empty()) {
      continue;
    }
    if (!vocabulary_.ignore_merges) {
      symbols.clear();
      append_symbols(word, symbols);
      model_.apply(symbols);
      if (symbols.size() != 1 || symbols.front() != token) {
        continue;
      }
    }
    whole_[word] = token;
  }
}

void BpeEncoder::append_symbols(std::string_view piece, std::vector<TokenId>& symbols) const {
  const bool plain =
      vocabulary_.continuing_subword_prefix.empty() && vocabulary_.end_of_word_suffix.empty();
  if (vocabulary_.byte_level && plain && append_byte_tokens(byte_ids_, piece, symbols)) {
    return;
  }
  const char* const end = piece.data() + piece.size();
  bool unk_waits = false;  // an unknown character is given out only before the next known one
  std::string spelled;
  for (const char* p = piece.data(); p != end;) {
    const std::size_t size = vocabulary_.byte_level ? 1 : decode_utf8(p, end).size_bytes;
    spelled = p == piece.data() ? "" : vocabulary_.continuing_subword_prefix;
    spelled += vocabulary_.byte_level ? to_byte_alphabet({p, size}) : std::string(p, size);
    p += size;
    spelled += p == end ? vocabulary_.end_of_word_suffix : "";
    if (const auto id = find(spelled)) {
      if (unk_waits) {
        symbols.push_back(unk_);
        unk_waits = false;
      }
      symbols.push_back(*id);
    } else if (vocabulary_.byte_fallback && append_byte_tokens(byte_ids_, spelled, symbols)) {
      continue;
    } else if (unk_ >= 0) {
      if (unk_waits && !vocabulary_.fuse_unk) {
        symbols.push_back(unk_);
      }
      unk_waits = true;
    }
  }
  if (unk_waits) {
    symbols.push_back(unk_);
  }
}

void BpeEncoder::append(std::string_view piece, std::vector<TokenId>& ids) const {
  if (const auto whole = whole_.find(piece); whole != whole_.end()) {
    ids.push_back(whole->second);
    return;
  }
  thread_local std::vector<TokenId> symbols;  // keeps its memory from piece to piece
  symbols.clear();
  append_symbols(piece, symbols);
  model_.apply(symbols);
  ids.insert(ids.end(), symbols.begin(), symbols.end());
}

}  // namespace gamelan::text
