#include "text/word_piece_adapter.h"

#include <algorithm>
#include <utility>

namespace gamelan::text {
namespace {

class WordPieceAdapter : public Tokenizer {
 public:
  explicit WordPieceAdapter(WordPieceTokenizer tokenizer) : inner_(std::move(tokenizer)) {}

  void encode_to(std::string_view text, bool add_special_tokens,
                 std::vector<TokenId>& ids) const override {
    inner_.encode_to(text, {.add_special_tokens = add_special_tokens}, ids);
  }
  std::string decode(std::span<const TokenId> ids, bool skip_special_tokens) const override {
    return inner_.decode(ids, skip_special_tokens);
  }
  std::string bytes_of(TokenId id) const override {
    const std::string_view token = inner_.token_of(id);
    const std::string& prefix = inner_.model().continuing_prefix;
    if (token.empty()) {
      return "";
    }
    return token.starts_with(prefix) ? std::string(token.substr(prefix.size()))
                                     : " " + std::string(token);
  }
  std::optional<TokenId> id_of(std::string_view token) const override {
    return inner_.id_of(token);
  }
  std::string_view token_of(TokenId id) const override { return inner_.token_of(id); }
  bool is_special(TokenId id) const override {
    return id == inner_.unk_id() || id == inner_.cls_id() || id == inner_.sep_id() ||
           id == inner_.pad_id() || id == inner_.mask_id();
  }
  std::int64_t vocabulary_size() const override {
    return static_cast<std::int64_t>(inner_.vocabulary_size());
  }

 private:
  WordPieceTokenizer inner_;
};

}  // namespace

std::unique_ptr<Tokenizer> make_tokenizer(WordPieceTokenizer tokenizer) {
  return std::make_unique<WordPieceAdapter>(std::move(tokenizer));
}

}  // namespace gamelan::text
