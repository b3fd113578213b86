#include "text/unigram.h"

#include <algorithm>
#include <limits>
#include <unordered_set>

namespace gamelan::text {
namespace {

/// Bytes that the character at the start takes by its first byte, as SentencePiece counts.
std::size_t character_size(std::string_view text) {
  constexpr std::string_view kSizes("\1\1\1\1\1\1\1\1\1\1\1\1\2\2\3\4", 16);
  const auto size = static_cast<std::size_t>(kSizes[static_cast<std::uint8_t>(text[0]) >> 4]);
  return std::min(size, text.size());
}

std::vector<ByteTrie::Entry> last_entries(std::span<const std::string> tokens) {
  std::vector<ByteTrie::Entry> entries;
  std::unordered_set<std::string_view> seen;
  for (std::size_t i = tokens.size(); i-- > 0;) {
    if (!tokens[i].empty() && seen.insert(tokens[i]).second) {
      entries.push_back({tokens[i], static_cast<std::int32_t>(i)});
    }
  }
  return entries;
}

}  // namespace

std::vector<ByteTrie::Entry> lookup_entries(const std::vector<SentencePiece>& pieces) {
  using Type = SentencePiece::Type;
  std::vector<ByteTrie::Entry> entries;
  std::unordered_set<std::string_view> seen;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const Type type = pieces[i].type;
    const bool looked_up =
        type == Type::kNormal || type == Type::kUserDefined || type == Type::kUnused;
    if (looked_up && !pieces[i].text.empty() && seen.insert(pieces[i].text).second) {
      entries.push_back({pieces[i].text, static_cast<std::int32_t>(i)});
    }
  }
  return entries;
}

Unigram::Unigram(const std::vector<SentencePiece>& pieces, TokenId unknown)
    : trie_(lookup_entries(pieces)), unknown_(unknown) {
  float lowest = std::numeric_limits<float>::max();
  float highest = std::numeric_limits<float>::lowest();
  for (const SentencePiece& piece : pieces) {
    scores_.push_back({static_cast<double>(piece.score),
                       piece.type == SentencePiece::Type::kUserDefined,
                       piece.type == SentencePiece::Type::kUnused});
    if (piece.type == SentencePiece::Type::kNormal) {
      lowest = std::min(lowest, piece.score);
      highest = std::max(highest, piece.score);
    }
  }
  if (lowest <= highest) {
    highest_ = highest;
    unknown_score_ = static_cast<double>(lowest - 10.0F);
  } else {
    unknown_score_ = -10.0;
  }
}

Unigram::Unigram(std::span<const std::string> tokens, std::span<const double> scores,
                 TokenId unknown)
    : trie_(last_entries(tokens)), unknown_(unknown), double_sums_(true) {
  double lowest = std::numeric_limits<double>::infinity();
  for (const double score : scores) {
    scores_.push_back({score});
    lowest = std::min(lowest, score);
  }
  unknown_score_ = lowest - 10.0;
}

TokenId Unigram::find(std::string_view text) const {
  const ByteTrie::State state = trie_.walk(ByteTrie::kRoot, text);
  return state == ByteTrie::kNowhere ? -1 : trie_.value_at(state);
}

double Unigram::score_of(TokenId id, std::size_t size_bytes) const {
  const Score& score = scores_[static_cast<std::size_t>(id)];
  // A user-defined symbol must win against every other way to cut its text.
  return score.user_defined ? static_cast<double>(static_cast<float>(size_bytes) * highest_) - 0.1
                            : score.score;
}

void Unigram::segment(std::string_view text, std::vector<Segment>& out) const {
  double_sums_ ? segment_as<double>(text, out) : segment_as<float>(text, out);
}

template <class Sum>
void Unigram::segment_as(std::string_view text, std::vector<Segment>& out) const {
  struct Best {
    std::int64_t begin = -1;  // of the last piece of the best path that ends here; -1 = none yet
    TokenId id = 0;
    Sum score = 0;
  };
  std::vector<Best> best(text.size() + 1);
  const auto offer = [&](std::size_t begin, std::size_t end, TokenId id, double score) {
    const double total = score + static_cast<double>(best[begin].score);
    Best& target = best[end];
    if (target.begin < 0 || total > static_cast<double>(target.score)) {
      target = {static_cast<std::int64_t>(begin), id, static_cast<Sum>(total)};
    }
  };
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t character = character_size(text.substr(begin));
    bool single = false;
    ByteTrie::State state = ByteTrie::kRoot;
    for (std::size_t end = begin + 1; end <= text.size(); ++end) {
      state = trie_.walk(state, text.substr(end - 1, 1));
      if (state == ByteTrie::kNowhere) {
        break;
      }
      const std::int32_t id = trie_.value_at(state);
      if (id >= 0 && !scores_[static_cast<std::size_t>(id)].unused) {
        offer(begin, end, id, score_of(id, end - begin));
        single = single || end - begin == character;
      }
    }
    if (!single) {
      offer(begin, begin + character, unknown_, unknown_score_);
    }
    begin += character;
  }
  const std::size_t first = out.size();
  for (std::size_t end = text.size(); end > 0;) {
    const auto begin = static_cast<std::size_t>(best[end].begin);
    out.push_back({text.substr(begin, end - begin), best[end].id});
    end = begin;
  }
  std::reverse(out.begin() + static_cast<std::ptrdiff_t>(first), out.end());
}

}  // namespace gamelan::text
