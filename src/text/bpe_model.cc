#include "text/bpe_model.h"

#include <algorithm>
#include <array>
#include <bit>
#include <queue>

namespace gamelan::text {
namespace {

// Up to here a linear search for the best pair beats a heap; the ranks fit two cache lines.
constexpr std::size_t kShort = 32;

/// A pair that waits in the heap; stale when a symbol of it has changed since.
struct Waiting {
  std::uint32_t rank = 0;
  std::int32_t position = 0;
  TokenId result = 0;
  bool operator<(const Waiting& other) const {  // the heap's top is the greatest
    return rank != other.rank ? rank > other.rank : position > other.position;
  }
};

/// A symbol in the doubly linked list that merging shortens.
struct Linked {
  TokenId id = 0;
  std::int32_t previous = -1;
  std::int32_t next = -1;
  bool gone = false;
};

}  // namespace

base::StatusOr<BpeModel> BpeModel::create(std::span<const Merge> merges) {
  if (merges.size() > (std::size_t{1} << 28)) {
    return base::invalid_argument("expected at most 2^28 merges, got {}", merges.size());
  }
  BpeModel model(std::bit_ceil(2 * merges.size() + 1));
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const Merge& merge = merges[rank];
    const std::uint64_t key = key_of(merge.left, merge.right);
    std::size_t i = hash(key) & model.mask_;
    while (model.slots_[i].key != kFree && model.slots_[i].key != key) {
      i = (i + 1) & model.mask_;
    }
    model.slots_[i] = {key, static_cast<std::uint32_t>(rank), merge.result};
  }
  return model;
}

void BpeModel::apply(std::vector<TokenId>& symbols) const {
  if (symbols.size() <= kShort) {
    apply_short(symbols);
  } else {
    apply_long(symbols);
  }
}

void BpeModel::apply_short(std::vector<TokenId>& symbols) const {
  std::size_t size = symbols.size();
  std::array<Found, kShort> pairs;  // pairs[i]: symbols i and i + 1
  for (std::size_t i = 0; i + 1 < size; ++i) {
    pairs[i] = find(symbols[i], symbols[i + 1]);
  }
  while (size > 1) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < size; ++i) {
      if (pairs[i].rank < pairs[best].rank) {
        best = i;
      }
    }
    if (pairs[best].rank == kNoRank) {
      break;
    }
    symbols[best] = pairs[best].result;
    for (std::size_t i = best + 1; i + 1 < size; ++i) {
      symbols[i] = symbols[i + 1];
      pairs[i - 1] = pairs[i];
    }
    --size;
    if (best > 0) {
      pairs[best - 1] = find(symbols[best - 1], symbols[best]);
    }
    if (best + 1 < size) {
      pairs[best] = find(symbols[best], symbols[best + 1]);
    }
  }
  symbols.resize(size);
}

void BpeModel::apply_long(std::vector<TokenId>& symbols) const {
  const auto size = static_cast<std::int32_t>(symbols.size());
  std::vector<Linked> list(symbols.size());
  std::priority_queue<Waiting> heap;
  const auto offer = [&](std::int32_t left, std::int32_t right) {
    const Found found = find(list[left].id, list[right].id);
    if (found.rank != kNoRank) {
      heap.push({found.rank, left, found.result});
    }
  };
  for (std::int32_t i = 0; i < size; ++i) {
    list[i] = {symbols[i], i - 1, i + 1 < size ? i + 1 : -1, false};
  }
  for (std::int32_t i = 0; i + 1 < size; ++i) {
    offer(i, i + 1);
  }
  while (!heap.empty()) {
    const Waiting top = heap.top();
    heap.pop();
    Linked& left = list[top.position];
    if (left.gone || left.next < 0 || find(left.id, list[left.next].id).rank != top.rank) {
      continue;
    }
    Linked& right = list[left.next];
    left.id = top.result;
    right.gone = true;
    left.next = right.next;
    if (left.next >= 0) {
      list[left.next].previous = top.position;
      offer(top.position, left.next);
    }
    if (left.previous >= 0) {
      offer(left.previous, top.position);
    }
  }
  symbols.clear();
  for (std::int32_t i = 0; i >= 0; i = list[i].next) {
    symbols.push_back(list[i].id);
  }
}

}  // namespace gamelan::text
