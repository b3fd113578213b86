#include "text/sentence_piece_bpe.h"

#include <queue>
#include <unordered_map>

#include "text/utf8.h"

namespace gamelan::text {
namespace {

constexpr std::int32_t kNone = -1;

struct Symbol {
  std::string_view text;  // empty once it was joined to its left neighbour
  std::int32_t previous = kNone;
  std::int32_t next = kNone;
  bool frozen = false;  // a user-defined symbol, which joins nothing
};

struct Pair {
  float score = 0;
  std::int32_t left = 0;
  std::int32_t right = 0;
  std::size_t size_bytes = 0;  // of both when the pair was found; another one now = outdated
};

struct Later {
  bool operator()(const Pair& a, const Pair& b) const {
    return a.score < b.score || (a.score == b.score && a.left > b.left);
  }
};

std::vector<ByteTrie::Entry> user_defined_entries(const std::vector<SentencePiece>& pieces) {
  std::vector<ByteTrie::Entry> entries;
  for (const ByteTrie::Entry& entry : lookup_entries(pieces)) {
    if (pieces[static_cast<std::size_t>(entry.value)].type == SentencePiece::Type::kUserDefined) {
      entries.push_back(entry);
    }
  }
  return entries;
}

std::string_view joined(const Symbol& left, const Symbol& right) {
  return {left.text.data(), left.text.size() + right.text.size()};  // they are adjacent
}

}  // namespace

/// The joining of one text.
struct SentencePieceBpe::Run {
  std::vector<Symbol> symbols;
  std::priority_queue<Pair, std::vector<Pair>, Later> pairs;
  /// Size of the left part of each joined text that is an unused piece: it is taken apart again.
  std::unordered_map<std::string_view, std::size_t> unused;

  void add_pair(const SentencePieceBpe& model, std::int32_t left, std::int32_t right) {
    if (left == kNone || right == kNone) {
      return;
    }
    const Symbol& a = symbols[static_cast<std::size_t>(left)];
    const Symbol& b = symbols[static_cast<std::size_t>(right)];
    if (a.frozen || b.frozen) {
      return;
    }
    const std::string_view text = joined(a, b);
    if (const TokenId id = model.find(text); id >= 0) {
      pairs.push({model.scores_[static_cast<std::size_t>(id)], left, right, text.size()});
      if (model.unused_[static_cast<std::size_t>(id)]) {
        unused[text] = a.text.size();
      }
    }
  }
};

SentencePieceBpe::SentencePieceBpe(const std::vector<SentencePiece>& pieces, TokenId unknown)
    : trie_(lookup_entries(pieces)),
      user_defined_(user_defined_entries(pieces)),
      unknown_(unknown) {
  for (const SentencePiece& piece : pieces) {
    scores_.push_back(piece.score);
    unused_.push_back(piece.type == SentencePiece::Type::kUnused);
  }
}

TokenId SentencePieceBpe::find(std::string_view text) const {
  const ByteTrie::State state = trie_.walk(ByteTrie::kRoot, text);
  return state == ByteTrie::kNowhere ? -1 : trie_.value_at(state);
}

void SentencePieceBpe::emit(std::string_view text, const Run& run,
                            std::vector<Segment>& out) const {
  std::vector<std::string_view> pending = {text};
  while (!pending.empty()) {
    const std::string_view part = pending.back();
    pending.pop_back();
    const TokenId id = find(part);
    const auto split = run.unused.find(part);
    if (id >= 0 && unused_[static_cast<std::size_t>(id)] && split != run.unused.end()) {
      pending.push_back(part.substr(split->second));
      pending.push_back(part.substr(0, split->second));
    } else {
      out.push_back({part, id >= 0 ? id : unknown_});
    }
  }
}

void SentencePieceBpe::segment(std::string_view text, std::vector<Segment>& out) const {
  Run run;
  const char* const end = text.data() + text.size();
  for (const char* p = text.data(); p != end;) {
    const auto match = user_defined_.longest_match(ByteTrie::kRoot, p, end);
    const std::size_t size =
        match.value >= 0 ? static_cast<std::size_t>(match.end - p) : decode_utf8(p, end).size_bytes;
    const auto i = static_cast<std::int32_t>(run.symbols.size());
    run.symbols.push_back({{p, size}, i - 1, i + 1, match.value >= 0});
    p += size;
  }
  if (run.symbols.empty()) {
    return;
  }
  run.symbols.back().next = kNone;
  for (std::int32_t i = 1; i < static_cast<std::int32_t>(run.symbols.size()); ++i) {
    run.add_pair(*this, i - 1, i);
  }
  while (!run.pairs.empty()) {
    const Pair pair = run.pairs.top();
    run.pairs.pop();
    Symbol& left = run.symbols[static_cast<std::size_t>(pair.left)];
    Symbol& right = run.symbols[static_cast<std::size_t>(pair.right)];
    if (left.text.empty() || right.text.empty() ||
        left.text.size() + right.text.size() != pair.size_bytes) {
      continue;
    }
    left.text = joined(left, right);
    right.text = {};
    left.next = right.next;
    if (left.next != kNone) {
      run.symbols[static_cast<std::size_t>(left.next)].previous = pair.left;
    }
    run.add_pair(*this, left.previous, pair.left);
    run.add_pair(*this, pair.left, left.next);
  }
  for (std::int32_t i = 0; i != kNone; i = run.symbols[static_cast<std::size_t>(i)].next) {
    emit(run.symbols[static_cast<std::size_t>(i)].text, run, out);
  }
}

}  // namespace gamelan::text
