#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "text/byte_trie.h"

namespace gamelan::text {

/// A table of character replacements as SentencePiece compiles them (`precompiled_charsmap`, also
/// in tokenizer.json): a double array (Darts-clone) over the sources, then the replacements,
/// NUL-terminated. Immutable; thread-safe.
class PrecompiledMap {
 public:
  PrecompiledMap() = default;
  /// kDataLoss when `blob` is no such table or its replacements are no UTF-8. An empty one replaces
  /// nothing.
  static base::StatusOr<PrecompiledMap> create(std::string_view blob, std::string_view name);

  struct Match {
    std::size_t size_bytes = 0;  // of the source; 0 = nothing matches
    std::string_view replacement;
  };
  /// The longest source that `text` starts with. The replacement lives as long as the map.
  Match longest_match(std::string_view text) const;
  /// The shortest one.
  Match shortest_match(std::string_view text) const;
  bool empty() const { return units_.empty(); }

 private:
  /// Calls f(match) for the sources that `text` starts with, shortest first, until it says false.
  template <class F>
  void each_match(std::string_view text, F&& f) const;

  std::vector<std::uint32_t> units_;
  std::string replacements_;
};

/// SentencePiece's normalizer_spec and what of the trainer_spec matters for it.
struct SentencePieceNormalization {
  /// Empty = identity.
  PrecompiledMap map;
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
  bool treat_whitespace_as_suffix = false;
};

inline constexpr std::string_view kMetaSpace = "\xe2\x96\x81";  // U+2581

/// Appends the normal form of `text` to `out`, as SentencePiece's Normalizer; user-defined symbols
/// (`kept`) are not touched. `dummy_prefix` false omits the prefix that the spec may ask for.
void normalize_sentence(const SentencePieceNormalization& spec, const ByteTrie& kept,
                        std::string_view text, bool dummy_prefix, std::string& out);

}  // namespace gamelan::text
