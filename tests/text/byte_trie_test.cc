#include "text/byte_trie.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

namespace gamelan::text {
namespace {

ByteTrie make(const std::map<std::string, int>& keys) {
  std::vector<ByteTrie::Entry> entries;
  for (const auto& [key, value] : keys) {
    entries.push_back({key, value});
  }
  return ByteTrie(entries);
}

/// (value, length) of the longest match from the root.
std::pair<int, std::ptrdiff_t> longest(const ByteTrie& trie, std::string_view text,
                                       ByteTrie::State from = ByteTrie::kRoot) {
  const ByteTrie::Match match = trie.longest_match(from, text.data(), text.data() + text.size());
  return {match.value, match.value < 0 ? 0 : match.end - text.data()};
}

TEST(ByteTrie, FindsTheLongestKey) {
  const ByteTrie trie = make({{"un", 1}, {"unable", 2}, {"##able", 3}, {"a", 4}});
  EXPECT_EQ(longest(trie, "unable"), std::pair(2, std::ptrdiff_t{6}));
  EXPECT_EQ(longest(trie, "unabl"), std::pair(1, std::ptrdiff_t{2}));
  EXPECT_EQ(longest(trie, "u"), std::pair(-1, std::ptrdiff_t{0}));
  EXPECT_EQ(longest(trie, ""), std::pair(-1, std::ptrdiff_t{0}));
  const ByteTrie::State rest = trie.walk(ByteTrie::kRoot, "##");
  ASSERT_NE(rest, ByteTrie::kNowhere);
  EXPECT_EQ(longest(trie, "able", rest), std::pair(3, std::ptrdiff_t{4}));
  EXPECT_EQ(trie.walk(ByteTrie::kRoot, "#x"), ByteTrie::kNowhere);
}

TEST(ByteTrie, AnEmptyTrieMatchesNothing) {
  EXPECT_EQ(longest(ByteTrie(), std::string_view("\0\xff"
                                                 "a",
                                                 3))
                .first,
            -1);
}

TEST(ByteTrie, AgreesWithAMapOnRandomKeys) {
  std::mt19937 random(7);
  for (const int alphabet : {2, 5, 256}) {
    std::map<std::string, int> keys;
    const auto any = [&](std::size_t most) {
      std::string text(1 + random() % most, '\0');
      for (char& c : text) {
        c = static_cast<char>(random() % static_cast<unsigned>(alphabet));
      }
      return text;
    };
    for (int i = 0; i < 5000; ++i) {
      keys.emplace(any(9), i);
    }
    const ByteTrie trie = make(keys);
    for (int i = 0; i < 5000; ++i) {
      const std::string text = any(12);
      std::pair<int, std::ptrdiff_t> expected = {-1, 0};
      for (std::size_t size = 1; size <= text.size(); ++size) {
        if (const auto found = keys.find(text.substr(0, size)); found != keys.end()) {
          expected = {found->second, static_cast<std::ptrdiff_t>(size)};
        }
      }
      ASSERT_EQ(longest(trie, text), expected);
    }
  }
}

}  // namespace
}  // namespace gamelan::text
