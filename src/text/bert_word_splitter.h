#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>

#include "text/bert_character_table.h"
#include "text/utf8.h"

namespace gamelan::text {

/// The longest word that is looked up; longer ones are unknown whatever their letters.
inline constexpr std::size_t kMaxWordCharacters = 1000;

/// A word under construction: normalised UTF-8 in fixed storage.
struct WordBuffer {
  static constexpr std::size_t kNoRun = std::numeric_limits<std::size_t>::max();

  std::array<char, 4 * kMaxWordCharacters> bytes;  // not initialised: `size` of them count
  std::size_t size = 0;
  std::size_t characters = 0;
  /// More characters came than the limit of the splitter; `bytes` holds the first ones.
  bool too_long = false;
  /// Where the current run of combining characters starts in `bytes`.
  std::size_t run_start = kNoRun;

  std::string_view text() const { return {bytes.data(), size}; }
  bool empty() const { return characters == 0; }
  void clear() {
    size = 0;
    characters = 0;
    too_long = false;
    run_start = kNoRun;
  }
};

/// BERT's normaliser and pre-tokeniser in one pass: text in, normalised words out, nothing
/// allocated. Immutable; thread-safe.
class BertWordSplitter {
 public:
  /// `max_word_characters` is at most kMaxWordCharacters.
  BertWordSplitter(const BertNormalizerOptions& options, std::size_t max_word_characters);

  /// From now on `split` asks its sink at every raw byte `byte`, as an added token may start there.
  void stop_at(char byte) {
    plain_[static_cast<std::uint8_t>(byte)] = 0;
    stops_[static_cast<std::uint8_t>(byte)] = true;
  }

  /// Calls, in the order of the text:
  ///   `bool sink.word(const WordBuffer&)` for every word; false ends the pass;
  ///   `std::size_t sink.added_token(const char* p, const char* end)` at the bytes of `stop_at`:
  ///   how many bytes an added token takes there, 0 for none; it ends the word before it; `bool
  ///   sink.take_added_token()` then, after that word; false ends the pass.
  /// Bytes that are no UTF-8 count as U+FFFD.
  template <class Sink>
  void split(std::string_view text, Sink& sink) const;

  const BertCharacterTable& table() const { return table_; }

 private:
  using Action = BertCharacterTable::Action;

  const char* copy_plain(const char* p, const char* end, WordBuffer& word) const;
  void append(char32_t code_point, std::uint8_t combining_class, WordBuffer& word) const;
  void append_combining(char32_t code_point, std::uint8_t combining_class, WordBuffer& word) const;
  template <class Sink>
  static bool flush(WordBuffer& word, Sink& sink);
  template <class Sink>
  bool take_character(char32_t code_point, WordBuffer& word, Sink& sink) const;
  template <class Sink>
  bool take_mapping(const BertCharacterTable::Mapping& mapping, WordBuffer& word, Sink& sink) const;

  BertCharacterTable table_;
  std::size_t max_word_characters_;
  /// For each byte what it becomes when it is ASCII and part of a word whatever stands beside it;
  /// else 0.
  std::array<char, 256> plain_ = {};
  std::array<bool, 256> stops_ = {};
};

/// The run of plain ASCII at `p` goes into the word: the loop that nearly all English text is spent
/// in.
inline const char* BertWordSplitter::copy_plain(const char* p, const char* end,
                                                WordBuffer& word) const {
  const std::size_t room = max_word_characters_ - word.characters;
  const char* const stop = static_cast<std::size_t>(end - p) < room ? end : p + room;
  char* out = word.bytes.data() + word.size;
  char* const first = out;
  char lower = 0;
  while (p != stop && (lower = plain_[static_cast<std::uint8_t>(*p)]) != 0) {
    *out++ = lower;
    ++p;
  }
  const auto copied = static_cast<std::size_t>(out - first);
  if (copied != 0) {
    word.size += copied;
    word.characters += copied;
    word.run_start = WordBuffer::kNoRun;
  }
  return p;
}

inline void BertWordSplitter::append(char32_t code_point, std::uint8_t combining_class,
                                     WordBuffer& word) const {
  if (word.characters == max_word_characters_) {
    word.too_long = true;
    return;
  }
  ++word.characters;
  if (combining_class != 0) {
    append_combining(code_point, combining_class, word);
    return;
  }
  word.run_start = WordBuffer::kNoRun;
  word.size += encode_utf8(code_point, word.bytes.data() + word.size);
}

template <class Sink>
bool BertWordSplitter::flush(WordBuffer& word, Sink& sink) {
  const bool go_on = word.empty() || sink.word(static_cast<const WordBuffer&>(word));
  word.clear();
  return go_on;
}

template <class Sink>
bool BertWordSplitter::take_character(char32_t code_point, WordBuffer& word, Sink& sink) const {
  const BertCharacterTable::Entry entry = table_.entry(code_point);
  switch (entry.action()) {
    case Action::kKeep:
      append(code_point, entry.combining_class(), word);
      return true;
    case Action::kDrop:
      return true;
    case Action::kDropMark:
      if (entry.combining_class() == 0) {
        word.run_start = WordBuffer::kNoRun;  // marks are not reordered across a starter
      }
      return true;
    case Action::kSpace:
      return flush(word, sink);
    case Action::kIsolate:
      if (!flush(word, sink)) {
        return false;
      }
      append(code_point, 0, word);
      return flush(word, sink);
    case Action::kMap:
      break;
  }
  return take_mapping(table_.mapping(entry.index()), word, sink);
}

template <class Sink>
bool BertWordSplitter::take_mapping(const BertCharacterTable::Mapping& mapping, WordBuffer& word,
                                    Sink& sink) const {
  if (mapping.isolate && !flush(word, sink)) {
    return false;
  }
  for (const BertCharacterTable::Mapped& character : mapping.characters) {
    if (character.action != Action::kKeep && !flush(word, sink)) {
      return false;
    }
    if (character.action == Action::kSpace) {
      continue;
    }
    append(character.code_point, character.combining_class, word);
    if (character.action == Action::kIsolate && !flush(word, sink)) {
      return false;
    }
  }
  return !mapping.isolate || flush(word, sink);
}

template <class Sink>
void BertWordSplitter::split(std::string_view text, Sink& sink) const {
  WordBuffer word;
  const char* p = text.data();
  const char* const end = p + text.size();
  while (p != end) {
    p = copy_plain(p, end, word);
    if (p == end) {
      break;
    }
    if (*p == ' ') {
      ++p;
      if (!flush(word, sink)) {
        return;
      }
      continue;
    }
    if (stops_[static_cast<std::uint8_t>(*p)]) {
      if (const std::size_t size = sink.added_token(p, end); size != 0) {
        p += size;
        if (!flush(word, sink) || !sink.take_added_token()) {
          return;
        }
        continue;
      }
    }
    const DecodedCharacter character = decode_utf8(p, end);
    p += character.size_bytes;
    if (!take_character(character.code_point, word, sink)) {
      return;
    }
  }
  flush(word, sink);
}

}  // namespace gamelan::text
