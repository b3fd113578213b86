#include "text/pipeline_tokenizer.h"

#include "text/utf8.h"

namespace gamelan::text {

class PipelineTokenizer::EncodeSink : public PieceSink {
 public:
  EncodeSink(const SubwordEncoder& encoder, std::vector<TokenId>& ids)
      : encoder_(encoder), ids_(ids) {}
  void piece(std::string_view text, bool) override {
    if (!text.empty()) {
      encoder_.append(text, ids_);
    }
  }

 private:
  const SubwordEncoder& encoder_;
  std::vector<TokenId>& ids_;
};

PipelineTokenizer::PipelineTokenizer(TokenizerParts parts) : parts_(std::move(parts)) {
  std::vector<AddedToken> raw;
  std::vector<AddedToken> normalized;
  special_.resize(parts_.tokens.size());
  for (const AddedToken& token : parts_.added_tokens) {
    special_[static_cast<std::size_t>(token.id)] = token.special;
    (token.normalized ? normalized : raw).push_back(token);
    if (token.normalized && parts_.normalizer != nullptr) {
      normalized.back().content = parts_.normalizer->apply(token.content);
    }
  }
  raw_ = AddedTokenFinder(std::move(raw));
  normalized_ = AddedTokenFinder(std::move(normalized));
  for (std::size_t id = 0; id < parts_.tokens.size(); ++id) {
    if (!parts_.tokens[id].empty()) {
      ids_[parts_.tokens[id]] = static_cast<TokenId>(id);
    }
  }
}

void PipelineTokenizer::encode_section(std::string_view text, bool at_start,
                                       std::vector<TokenId>& ids) const {
  std::string changed;
  if (parts_.normalizer != nullptr) {
    changed = parts_.normalizer->apply(text);
    text = changed;
  }
  EncodeSink sink(*parts_.encoder, ids);
  const char* const begin = text.data();
  normalized_.split(
      text,
      [&](std::string_view between) {
        const bool first = at_start && between.data() == begin;
        if (parts_.pre_tokenizer != nullptr) {
          parts_.pre_tokenizer->split(between, first, sink);
        } else {
          sink.piece(between, first);
        }
      },
      [&](TokenId id) { ids.push_back(id); });
}

void PipelineTokenizer::encode_to(std::string_view text, bool add_special_tokens,
                                  std::vector<TokenId>& ids) const {
  std::string repaired;
  if (!is_valid_utf8(text)) {
    repaired = replace_invalid_utf8(text);
    text = repaired;
  }
  if (add_special_tokens) {
    ids.insert(ids.end(), parts_.prefix.begin(), parts_.prefix.end());
  }
  const char* const begin = text.data();
  raw_.split(
      text,
      [&](std::string_view between) { encode_section(between, between.data() == begin, ids); },
      [&](TokenId id) { ids.push_back(id); });
  if (add_special_tokens) {
    ids.insert(ids.end(), parts_.suffix.begin(), parts_.suffix.end());
  }
}

std::string PipelineTokenizer::decode(std::span<const TokenId> ids,
                                      bool skip_special_tokens) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (const TokenId id : ids) {
    const std::string_view token = token_of(id);
    if (!token.empty() && !(skip_special_tokens && is_special(id))) {
      tokens.emplace_back(token);
    }
  }
  std::string text;
  if (parts_.decoder != nullptr) {
    parts_.decoder->apply(tokens);
  }
  for (const std::string& token : tokens) {
    if (parts_.decoder == nullptr && !text.empty()) {
      text.push_back(' ');
    }
    text += token;
  }
  return text;
}

std::string PipelineTokenizer::bytes_of(TokenId id) const {
  const std::string_view token = token_of(id);
  if (token.empty()) {
    return "";
  }
  return parts_.decoder != nullptr ? parts_.decoder->inside(std::string(token))
                                   : " " + std::string(token);
}

std::optional<TokenId> PipelineTokenizer::id_of(std::string_view token) const {
  const auto found = ids_.find(token);
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

std::string_view PipelineTokenizer::token_of(TokenId id) const {
  return id >= 0 && id < vocabulary_size() ? parts_.tokens[static_cast<std::size_t>(id)]
                                           : std::string_view();
}

bool PipelineTokenizer::is_special(TokenId id) const {
  return id >= 0 && id < vocabulary_size() && special_[static_cast<std::size_t>(id)];
}

}  // namespace gamelan::text
