#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "text/byte_trie.h"
#include "text/tokenizer.h"

namespace gamelan::text {

/// A token that is found in the text before the model sees it.
struct AddedToken {
  std::string content;
  TokenId id = 0;
  /// Not within a word.
  bool single_word = false;
  /// Takes the white space before it, or after it.
  bool lstrip = false;
  bool rstrip = false;
  /// Looked for after normalisation.
  bool normalized = false;
  /// Left out of decoded text on demand.
  bool special = false;
};

/// Finds added tokens, leftmost and longest first. Immutable; thread-safe.
class AddedTokenFinder {
 public:
  AddedTokenFinder() = default;
  /// Tokens with empty content are ignored; of two with the same content the first counts.
  explicit AddedTokenFinder(std::vector<AddedToken> tokens);

  /// Calls `on_text(text between)` and `on_token(id)` in the order of the text.
  template <class OnText, class OnToken>
  void split(std::string_view text, OnText&& on_text, OnToken&& on_token) const {
    std::size_t given = 0;
    for (std::size_t from = 0; from < text.size();) {
      const Place place = next(text, from, given);
      if (place.token == nullptr) {
        break;
      }
      if (place.begin > given) {
        on_text(text.substr(given, place.begin - given));
      }
      on_token(place.token->id);
      from = place.match_end;
      given = place.end;
    }
    if (given < text.size()) {
      on_text(text.substr(given));
    }
  }

 private:
  struct Place {
    const AddedToken* token = nullptr;
    std::size_t begin = 0;  // white space that the token takes included
    std::size_t end = 0;
    std::size_t match_end = 0;  // without it
  };
  Place next(std::string_view text, std::size_t from, std::size_t given) const;

  std::vector<AddedToken> tokens_;
  ByteTrie trie_;
  std::array<bool, 256> starts_ = {};  // bytes that a token begins with
};

}  // namespace gamelan::text
