#include "text/byte_trie.h"

#include <algorithm>

namespace gamelan::text {
namespace {

constexpr std::int32_t kAlphabet = 256;
// Places tried for a node's children before they go to the end of the array: bounds the time that a
// hostile vocabulary can cost.
constexpr int kMaxAttempts = 1024;
// When this share of the tried places was taken, later searches start behind them. The few places
// lost cost less memory than trying them again costs time (Darts does the same, at 0.95).
constexpr double kCrowded = 0.8;

}  // namespace

/// Keys [first, last) of the sorted list share their first `depth` bytes, which lead to `state`.
struct ByteTrie::Range {
  std::size_t first;
  std::size_t last;
  std::size_t depth;
  State state;
};

ByteTrie::ByteTrie(std::span<const Entry> entries) {
  std::vector<Entry> sorted(entries.begin(), entries.end());
  std::sort(sorted.begin(), sorted.end(),
            [](const Entry& a, const Entry& b) { return a.key < b.key; });
  nodes_.resize(1 + kAlphabet);
  nodes_[kRoot].parent = kRoot;
  // Breadth first: the nodes that every lookup passes lie together.
  std::vector<Range> pending = {{0, sorted.size(), 0, kRoot}};
  for (std::size_t i = 0; i < pending.size(); ++i) {
    const Range range = pending[i];
    add_children(sorted, range, pending);
  }
}

void ByteTrie::add_children(std::span<const Entry> sorted, const Range& range,
                            std::vector<Range>& pending) {
  std::vector<std::uint8_t> bytes;
  std::vector<Range> children;
  for (std::size_t i = range.first; i < range.last; ++i) {
    const std::string_view key = sorted[i].key;
    if (key.size() == range.depth) {
      nodes_[range.state].value = sorted[i].value;
      continue;
    }
    const auto byte = static_cast<std::uint8_t>(key[range.depth]);
    if (bytes.empty() || bytes.back() != byte) {
      bytes.push_back(byte);
      children.push_back({i, i, range.depth + 1, 0});
    }
    children.back().last = i + 1;
  }
  if (bytes.empty()) {
    // A leaf: any base inside the array will do, as no node names it as parent. (The root does name
    // itself; bases of at least 1 keep every byte from leading back to it.)
    nodes_[range.state].base = 1;
    return;
  }
  const std::int32_t base = find_base(bytes);
  nodes_[range.state].base = base;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const State child = base + bytes[i];
    nodes_[child].parent = range.state;
    children[i].state = child;
    pending.push_back(children[i]);
  }
}

std::int32_t ByteTrie::find_base(std::span<const std::uint8_t> bytes) {
  const auto size = [this] { return static_cast<std::int32_t>(nodes_.size()); };
  while (nodes_[search_start_].parent >= 0) {
    ++search_start_;  // ends: the last 256 nodes are free
  }
  std::int32_t slot = std::max<std::int32_t>(search_start_, bytes.front() + 1);
  std::int32_t base = size() - kAlphabet;  // past everything used
  int attempts = 0;
  int taken = 0;
  for (; attempts < kMaxAttempts && slot < size() - kAlphabet; ++attempts, ++slot) {
    if (nodes_[slot].parent >= 0) {
      ++taken;
      continue;
    }
    const std::int32_t candidate = slot - bytes.front();
    if (std::all_of(bytes.begin(), bytes.end(),
                    [&](std::uint8_t byte) { return nodes_[candidate + byte].parent < 0; })) {
      base = candidate;
      break;
    }
  }
  if (taken > kCrowded * attempts && attempts > 16) {
    search_start_ = std::min(slot, size() - kAlphabet);
  }
  const auto needed = static_cast<std::size_t>(base) + bytes.back() + 1 + kAlphabet;
  if (needed > nodes_.size()) {
    nodes_.resize(needed);
  }
  return base;
}

ByteTrie::State ByteTrie::walk(State from, std::string_view text) const {
  State state = from;
  for (const char c : text) {
    if (state == kNowhere) {
      break;
    }
    const State next = nodes_[state].base + static_cast<std::uint8_t>(c);
    state = nodes_[next].parent == state ? next : kNowhere;
  }
  return state;
}

}  // namespace gamelan::text
