#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace gamelan::text {

/// A set of byte strings with a number each, for finding the longest one that a text starts with. A
/// double array (Aoe 1989): one 12-byte node and one comparison a byte. Immutable after
/// construction; thread-safe.
class ByteTrie {
 public:
  struct Entry {
    std::string_view key;
    std::int32_t value = 0;  // at least 0
  };
  /// A place inside the trie, reached by some prefix.
  using State = std::int32_t;
  static constexpr State kRoot = 0;
  static constexpr State kNowhere = -1;

  /// value < 0: nothing matches. Else the bytes [begin, end) are the longest key.
  struct Match {
    std::int32_t value = -1;
    const char* end = nullptr;
  };

  ByteTrie() : ByteTrie(std::span<const Entry>()) {}
  /// Keys are unique and not empty; their order does not matter.
  explicit ByteTrie(std::span<const Entry> entries);

  /// Where `text` leads from `from`; kNowhere when no key goes on like that.
  State walk(State from, std::string_view text) const;
  /// The number of the key that ends at `state` (not kNowhere); negative when none does.
  std::int32_t value_at(State state) const { return nodes_[state].value; }

  /// The longest non-empty continuation of `from` that ends a key and that [begin, end) starts
  /// with.
  Match longest_match(State from, const char* begin, const char* end) const {
    Match match;
    State state = from;
    for (const char* p = begin; p != end;) {
      const State next = nodes_[state].base + static_cast<std::uint8_t>(*p);
      const Node& node = nodes_[next];
      if (node.parent != state) {
        break;
      }
      ++p;
      if (node.value >= 0) {
        match = {node.value, p};
      }
      state = next;
    }
    return match;
  }

 private:
  struct Node {
    std::int32_t base = 0;  // the child by byte b is nodes_[base + b], if that names us as parent
    std::int32_t parent = -1;  // -1: free
    std::int32_t value = -1;
  };
  struct Range;
  void add_children(std::span<const Entry> sorted, const Range& range, std::vector<Range>& pending);
  std::int32_t find_base(std::span<const std::uint8_t> bytes);

  std::vector<Node> nodes_;  // 256 free nodes follow the last used one, so lookups need no bound
  std::int32_t search_start_ = 1;
};

}  // namespace gamelan::text
