#include "text/bpe_trainer.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <queue>
#include <utility>

#include "text/byte_level.h"
#include "text/utf8.h"

namespace gamelan::text {
namespace {

constexpr std::size_t kMaxVocabulary = 10'000'000;

/// Two ids; compares as the ids do, the left one first.
using Pair = std::uint64_t;

Pair pair_of(TokenId left, TokenId right) {
  return (static_cast<Pair>(static_cast<std::uint32_t>(left)) << 32) |
         static_cast<std::uint32_t>(right);
}
TokenId left_of(Pair pair) {
  return static_cast<TokenId>(pair >> 32);
}
TokenId right_of(Pair pair) {
  return static_cast<TokenId>(pair & 0xFFFFFFFFU);
}

/// A piece as symbols, which merging shortens in place; they lie in Trainer::symbols_.
struct Word {
  std::size_t begin = 0;
  std::uint32_t size = 0;
  std::int64_t count = 0;
};

/// The words that a pair was found in.
using Places = std::vector<std::uint32_t>;

/// A pair that waits for its turn; its count may be stale.
struct Waiting {
  std::int64_t count = 0;
  Pair pair = 0;
  std::uint32_t places = 0;                     // index into Trainer::places_
  bool operator<(const Waiting& other) const {  // the heap's top is the greatest
    if (count != other.count) {
      return count < other.count;
    }
    return pair != other.pair ? pair > other.pair : places > other.places;
  }
};

class Trainer {
 public:
  Trainer(const PieceCounts& pieces, const BpeTrainerOptions& options)
      : pieces_(pieces), options_(options) {}

  base::StatusOr<BpeVocabulary> train() {
    GAMELAN_RETURN_IF_ERROR(add_special_tokens());
    GAMELAN_RETURN_IF_ERROR(add_bytes());
    spell_pieces();
    find_pairs();
    while (tokens_.size() < options_.vocabulary_size && merge_next()) {
    }
    return result();
  }

 private:
  struct PairState {
    std::int64_t count = 0;
    std::uint32_t fresh = 0;  // one more than the index in fresh_; 0: not there
  };

  TokenId id_for(const std::string& token) {
    const auto [place, is_new] = ids_.emplace(token, static_cast<TokenId>(tokens_.size()));
    if (is_new) {
      tokens_.push_back(token);
    }
    return place->second;
  }

  base::Status add_special_tokens() {
    for (const std::string& token : options_.special_tokens) {
      if (token.empty() || !is_valid_utf8(token)) {
        return base::invalid_argument("special token {}: expected UTF-8 text, got '{}'",
                                      &token - options_.special_tokens.data(),
                                      replace_invalid_utf8(token).substr(0, 60));
      }
      id_for(token);
    }
    return base::OkStatus();
  }

  /// The tokens of single bytes, in the order of the characters that spell them.
  base::Status add_bytes() {
    std::array<bool, 256> used = {};
    used.fill(options_.all_bytes);
    for (const PieceCounts::Entry& entry : pieces_.entries()) {
      for (const char byte : entry.piece) {
        used[static_cast<std::uint8_t>(byte)] = true;
      }
    }
    std::vector<std::pair<std::string, std::uint8_t>> spelled;
    for (unsigned byte = 0; byte < 256; ++byte) {
      const char raw = static_cast<char>(byte);
      if (used[byte]) {
        spelled.emplace_back(to_byte_alphabet({&raw, 1}), static_cast<std::uint8_t>(byte));
      }
    }
    std::sort(spelled.begin(), spelled.end());  // UTF-8 sorts as code points do
    for (const auto& [token, byte] : spelled) {
      byte_ids_[byte] = id_for(token);
    }
    if (options_.vocabulary_size < tokens_.size() || options_.vocabulary_size > kMaxVocabulary) {
      return base::invalid_argument(
          "expected a vocabulary of {} (special tokens and bytes) to {} tokens, got {}",
          tokens_.size(), kMaxVocabulary, options_.vocabulary_size);
    }
    return base::OkStatus();
  }

  void spell_pieces() {
    words_.reserve(pieces_.entries().size());
    for (const PieceCounts::Entry& entry : pieces_.entries()) {
      words_.push_back(
          {symbols_.size(), static_cast<std::uint32_t>(entry.piece.size()), entry.count});
      for (const char byte : entry.piece) {
        symbols_.push_back(byte_ids_[static_cast<std::uint8_t>(byte)]);
      }
    }
  }

  void find_pairs() {
    for (std::uint32_t index = 0; index < words_.size(); ++index) {
      const Word& word = words_[index];
      for (std::size_t i = word.begin; i + 1 < word.begin + word.size; ++i) {
        found(pair_of(symbols_[i], symbols_[i + 1]), index);
      }
    }
    queue_fresh();
  }

  void found(Pair pair, std::uint32_t word) {
    PairState& state = pairs_[pair];
    state.count += words_[word].count;
    if (state.fresh == 0) {
      fresh_.emplace_back(pair, Places());
      state.fresh = static_cast<std::uint32_t>(fresh_.size());
    }
    Places& places = fresh_[state.fresh - 1].second;
    if (places.empty() || places.back() != word) {  // words come one after the other
      places.push_back(word);
    }
  }

  void lost(Pair pair, std::uint32_t word) { pairs_[pair].count -= words_[word].count; }

  void queue_fresh() {
    for (auto& [pair, places] : fresh_) {
      PairState& state = pairs_[pair];
      state.fresh = 0;
      if (state.count > 0) {
        queue_.push({state.count, pair, static_cast<std::uint32_t>(places_.size())});
        places_.push_back(std::move(places));
      }
    }
    fresh_.clear();
  }

  /// False when no pair is left that is frequent enough.
  bool merge_next() {
    if (queue_.empty()) {
      return false;
    }
    Waiting top = queue_.top();
    queue_.pop();
    if (const std::int64_t count = pairs_[top.pair].count; count != top.count) {
      top.count = count;
      queue_.push(top);
      return true;
    }
    if (top.count < std::max<std::int64_t>(1, options_.min_frequency)) {
      return false;
    }
    const TokenId left = left_of(top.pair);
    const TokenId right = right_of(top.pair);
    const TokenId merged =
        id_for(tokens_[static_cast<std::size_t>(left)] + tokens_[static_cast<std::size_t>(right)]);
    merges_.push_back(top.pair);
    const Places places = std::exchange(places_[top.places], Places());
    for (const std::uint32_t word : places) {
      merge_in(word, left, right, merged);
    }
    queue_fresh();
    return true;
  }

  /// From left to right. A merged pair's own count stays as it was: only its neighbours' change.
  void merge_in(std::uint32_t index, TokenId left, TokenId right, TokenId merged) {
    Word& word = words_[index];
    TokenId* const symbols = symbols_.data() + word.begin;
    std::uint32_t out = 0;
    for (std::uint32_t in = 0; in < word.size; ++in) {
      if (symbols[in] != left || in + 1 == word.size || symbols[in + 1] != right) {
        symbols[out++] = symbols[in];
        continue;
      }
      ++in;
      if (out > 0) {
        lost(pair_of(symbols[out - 1], left), index);
        found(pair_of(symbols[out - 1], merged), index);
      }
      if (in + 1 < word.size) {
        lost(pair_of(right, symbols[in + 1]), index);
        found(pair_of(merged, symbols[in + 1]), index);
      }
      symbols[out++] = merged;
    }
    word.size = out;
  }

  BpeVocabulary result() {
    BpeVocabulary vocabulary;
    vocabulary.byte_level = true;
    absl::flat_hash_map<Pair, std::size_t> last;
    for (std::size_t rank = 0; rank < merges_.size(); ++rank) {
      last[merges_[rank]] = rank;
    }
    for (std::size_t rank = 0; rank < merges_.size(); ++rank) {
      const Pair pair = merges_[rank];
      if (last[pair] == rank) {
        vocabulary.merges.emplace_back(tokens_[static_cast<std::size_t>(left_of(pair))],
                                       tokens_[static_cast<std::size_t>(right_of(pair))]);
      }
    }
    vocabulary.tokens = std::move(tokens_);
    return vocabulary;
  }

  const PieceCounts& pieces_;
  const BpeTrainerOptions& options_;
  std::vector<std::string> tokens_;
  absl::flat_hash_map<std::string, TokenId> ids_;
  std::array<TokenId, 256> byte_ids_ = {};
  std::vector<TokenId> symbols_;
  std::vector<Word> words_;
  absl::flat_hash_map<Pair, PairState> pairs_;
  std::vector<std::pair<Pair, Places>> fresh_;  // found since the queue was filled last
  std::vector<Places> places_;
  std::priority_queue<Waiting> queue_;
  std::vector<Pair> merges_;
};

}  // namespace

base::StatusOr<BpeVocabulary> train_bpe(const PieceCounts& pieces,
                                        const BpeTrainerOptions& options) {
  return Trainer(pieces, options).train();
}

}  // namespace gamelan::text
