#include "text/word_piece_tokenizer.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

namespace gamelan::text {
namespace {

constexpr std::size_t kNoLimit = std::numeric_limits<std::size_t>::max();

/// What `cleanup` of the WordPiece decoder replaces, in its order.
constexpr std::array<std::pair<std::string_view, std::string_view>, 11> kCleanups = {{
    {" .", "."},
    {" ?", "?"},
    {" !", "!"},
    {" ,", ","},
    {" ' ", "'"},
    {" n't", "n't"},
    {" 'm", "'m"},
    {" do not", " don't"},
    {" 's", "'s"},
    {" 've", "'ve"},
    {" 're", "'re"},
}};

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos;
       at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
}

/// Ids left for the texts when `special` of them go to special tokens.
std::size_t limit_of(const EncodeOptions& options, std::size_t special) {
  if (options.max_length == 0) {
    return kNoLimit;
  }
  return options.max_length -
         std::min(options.max_length, options.add_special_tokens ? special : 0);
}

/// How many ids each of two texts keeps of `n1` and `n2` when both together may have `limit`.
std::pair<std::size_t, std::size_t> longest_first(std::size_t n1, std::size_t n2,
                                                  std::size_t limit) {
  if (n1 + n2 <= limit) {
    return {n1, n2};
  }
  const bool swapped = n1 > n2;
  std::size_t shorter = std::min(n1, n2);
  std::size_t longer = shorter > limit ? shorter : std::max(shorter, limit - shorter);
  if (shorter + longer > limit) {
    shorter = limit / 2;
    longer = shorter + limit % 2;
  }
  return swapped ? std::pair(longer, shorter) : std::pair(shorter, longer);
}

}  // namespace

/// Receives the words of one text and appends their ids until there are `limit` of them.
class WordPieceTokenizer::Sink {
 public:
  Sink(const WordPieceTokenizer& owner, std::size_t limit, std::vector<TokenId>& ids)
      : owner_(owner), ids_(ids), end_(limit == kNoLimit ? kNoLimit : ids.size() + limit) {}

  bool word(const WordBuffer& word) {
    if (word.too_long) {
      ids_.push_back(owner_.unk_);
    } else {
      owner_.append_pieces(word.text(), ids_);
    }
    return ids_.size() < end_;
  }
  std::size_t added_token(const char* p, const char* end) {
    const std::string_view rest(p, static_cast<std::size_t>(end - p));
    for (const AddedToken& token : owner_.added_) {
      if (rest.starts_with(token.text)) {
        found_ = token.id;
        return token.text.size();
      }
    }
    return 0;
  }
  bool take_added_token() {
    ids_.push_back(found_);
    return ids_.size() < end_;
  }

 private:
  const WordPieceTokenizer& owner_;
  std::vector<TokenId>& ids_;
  std::size_t end_;
  TokenId found_ = 0;
};

base::StatusOr<WordPieceTokenizer> WordPieceTokenizer::create(WordPieceModel model) {
  if (model.max_word_characters == 0 || model.max_word_characters > kMaxWordCharacters) {
    return base::invalid_argument("max_input_chars_per_word must be 1 to {}, got {}",
                                  kMaxWordCharacters, model.max_word_characters);
  }
  if (model.tokens.empty() || model.tokens.size() > kMaxVocabularySize) {
    return base::invalid_argument("a vocabulary has 1 to {} tokens, got {}", kMaxVocabularySize,
                                  model.tokens.size());
  }
  WordPieceTokenizer tokenizer(std::move(model));
  GAMELAN_RETURN_IF_ERROR(tokenizer.check_and_index());
  return tokenizer;
}

WordPieceTokenizer::WordPieceTokenizer(WordPieceModel model)
    : model_(std::move(model)), splitter_(model_.normalizer, model_.max_word_characters) {}

base::Status WordPieceTokenizer::check_and_index() {
  ids_.reserve(model_.tokens.size());
  for (std::size_t i = 0; i < model_.tokens.size(); ++i) {
    const std::string& token = model_.tokens[i];
    if (token.size() > kMaxTokenBytes) {
      return base::invalid_argument("token {} has {} bytes, over the limit of {}", i, token.size(),
                                    kMaxTokenBytes);
    }
    if (!token.empty()) {
      ids_[token] = static_cast<TokenId>(i);
    }
  }
  std::vector<ByteTrie::Entry> entries;
  entries.reserve(ids_.size());
  for (const auto& [token, id] : ids_) {
    entries.push_back({token, id});
  }
  pieces_ = ByteTrie(entries);
  continuing_ = pieces_.walk(ByteTrie::kRoot, model_.continuing_prefix);

  GAMELAN_RETURN_IF_ERROR(find_special(model_.unk_token, unk_));
  GAMELAN_RETURN_IF_ERROR(find_special(model_.cls_token, cls_));
  GAMELAN_RETURN_IF_ERROR(find_special(model_.sep_token, sep_));
  GAMELAN_RETURN_IF_ERROR(find_special(model_.pad_token, pad_));
  mask_ = id_of(model_.mask_token);
  for (const std::string& token :
       {model_.unk_token, model_.cls_token, model_.sep_token, model_.pad_token}) {
    GAMELAN_RETURN_IF_ERROR(add_token_of_text(token));
  }
  if (mask_) {
    GAMELAN_RETURN_IF_ERROR(add_token_of_text(model_.mask_token));
  }
  for (const std::string& token : model_.added_tokens) {
    GAMELAN_RETURN_IF_ERROR(add_token_of_text(token));
  }
  std::stable_sort(added_.begin(), added_.end(), [](const AddedToken& a, const AddedToken& b) {
    return a.text.size() > b.text.size();
  });
  return base::OkStatus();
}

base::Status WordPieceTokenizer::find_special(const std::string& token, TokenId& id) const {
  const std::optional<TokenId> found = id_of(token);
  if (!found) {
    return base::invalid_argument("the vocabulary of {} tokens has no '{}'", model_.tokens.size(),
                                  token);
  }
  id = *found;
  return base::OkStatus();
}

base::Status WordPieceTokenizer::add_token_of_text(const std::string& token) {
  TokenId id = 0;
  GAMELAN_RETURN_IF_ERROR(find_special(token, id));
  added_.push_back({token, id});
  splitter_.stop_at(token.front());
  return base::OkStatus();
}

void WordPieceTokenizer::append_pieces(std::string_view word, std::vector<TokenId>& ids) const {
  const std::size_t before = ids.size();
  const char* p = word.data();
  const char* const end = p + word.size();
  ByteTrie::State state = ByteTrie::kRoot;
  while (p != end) {
    const ByteTrie::Match match =
        state == ByteTrie::kNowhere ? ByteTrie::Match{} : pieces_.longest_match(state, p, end);
    if (match.value < 0) {  // one unknown piece makes the whole word unknown
      ids.resize(before);
      ids.push_back(unk_);
      return;
    }
    ids.push_back(match.value);
    p = match.end;
    state = continuing_;
  }
}

void WordPieceTokenizer::append_text(std::string_view text, std::size_t limit,
                                     std::vector<TokenId>& ids) const {
  if (limit == 0) {
    return;
  }
  const std::size_t before = ids.size();
  Sink sink(*this, limit, ids);
  splitter_.split(text, sink);
  if (ids.size() - before > limit) {
    ids.resize(before + limit);
  }
}

std::vector<TokenId> WordPieceTokenizer::encode(std::string_view text,
                                                const EncodeOptions& options) const {
  std::vector<TokenId> ids;
  encode_to(text, options, ids);
  return ids;
}

void WordPieceTokenizer::encode_to(std::string_view text, const EncodeOptions& options,
                                   std::vector<TokenId>& ids) const {
  if (options.add_special_tokens) {
    ids.push_back(cls_);
  }
  append_text(text, limit_of(options, 2), ids);
  if (options.add_special_tokens) {
    ids.push_back(sep_);
  }
}

Encoding WordPieceTokenizer::encode_pair(std::string_view first, std::string_view second,
                                         const EncodeOptions& options) const {
  const std::size_t limit = limit_of(options, 3);
  std::vector<TokenId> a;
  std::vector<TokenId> b;
  append_text(first, kNoLimit, a);  // which one is longer decides what each keeps
  append_text(second, kNoLimit, b);
  const auto [keep_a, keep_b] = longest_first(a.size(), b.size(), limit);
  a.resize(keep_a);
  b.resize(keep_b);
  Encoding result;
  if (options.add_special_tokens) {
    a.insert(a.begin(), cls_);
    a.push_back(sep_);
    b.push_back(sep_);
  }
  result.type_ids.assign(a.size(), 0);
  result.type_ids.resize(a.size() + b.size(), 1);
  result.ids = std::move(a);
  result.ids.insert(result.ids.end(), b.begin(), b.end());
  return result;
}

std::string WordPieceTokenizer::decode(std::span<const TokenId> ids,
                                       bool skip_special_tokens) const {
  std::string text;
  bool first = true;
  for (const TokenId id : ids) {
    const std::string_view token = token_of(id);
    if (token.empty() || (skip_special_tokens && is_special(id))) {
      continue;
    }
    std::string piece;
    if (!first && token.starts_with(model_.continuing_prefix)) {
      piece = token.substr(model_.continuing_prefix.size());
    } else {
      piece = (first ? "" : " ") + std::string(token);
    }
    for (const auto& [from, to] : kCleanups) {
      replace_all(piece, from, to);
    }
    text += piece;
    first = false;
  }
  return text;
}

bool WordPieceTokenizer::is_special(TokenId id) const {
  return id == unk_ || id == cls_ || id == sep_ || id == pad_ || id == mask_;
}

std::optional<TokenId> WordPieceTokenizer::id_of(std::string_view token) const {
  const auto found = ids_.find(token);
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

std::string_view WordPieceTokenizer::token_of(TokenId id) const {
  return id >= 0 && static_cast<std::size_t>(id) < model_.tokens.size()
             ? std::string_view(model_.tokens[static_cast<std::size_t>(id)])
             : std::string_view();
}

}  // namespace gamelan::text
