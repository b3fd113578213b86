#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "text/pre_tokenizer.h"

namespace gamelan::text {

/// How often each piece of a text occurs: what the training of a vocabulary needs of it. Not
/// thread-safe.
class PieceCounts {
 public:
  struct Entry {
    std::string_view piece;  // lives as long as the object
    std::int64_t count = 0;
  };

  PieceCounts() = default;
  PieceCounts(PieceCounts&&) = default;  // the pieces stay where they are
  PieceCounts& operator=(PieceCounts&&) = default;

  void add(std::string_view piece, std::int64_t count = 1);
  /// Cuts `text` into pieces and adds them. Invalid UTF-8 counts as U+FFFD.
  void add_text(std::string_view text, const PreTokenizer& splitter);

  /// In the order of first occurrence.
  const std::vector<Entry>& entries() const { return entries_; }
  /// Pieces added, repetitions included.
  std::int64_t total() const { return total_; }

 private:
  std::deque<std::string> pieces_;  // never moves a string
  std::vector<Entry> entries_;
  absl::flat_hash_map<std::string_view, std::uint32_t> index_;
  std::int64_t total_ = 0;
};

}  // namespace gamelan::text
