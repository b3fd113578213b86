#include "text/bert_word_splitter.h"

#include <cstring>

#include "base/status.h"

namespace gamelan::text {

BertWordSplitter::BertWordSplitter(const BertNormalizerOptions& options,
                                   std::size_t max_word_characters)
    : table_(options), max_word_characters_(max_word_characters) {
  GAMELAN_CHECK(max_word_characters <= kMaxWordCharacters, "{} is at most {}", max_word_characters,
                kMaxWordCharacters);
  for (char32_t c = 0; c < 0x80; ++c) {
    const BertCharacterTable::Entry entry = table_.entry(c);
    if (entry.action() == Action::kKeep) {
      plain_[c] = static_cast<char>(c);
    } else if (entry.action() == Action::kMap) {  // a capital
      plain_[c] = static_cast<char>(table_.mapping(entry.index()).characters[0].code_point);
    }
  }
}

/// The canonical ordering algorithm (Unicode 15, D109) as an insertion sort inside the current run
/// of combining characters. A word has at most max_word_characters_, so its cost is bounded.
void BertWordSplitter::append_combining(char32_t code_point, std::uint8_t combining_class,
                                        WordBuffer& word) const {
  if (word.run_start == WordBuffer::kNoRun) {
    word.run_start = word.size;
  }
  char* const data = word.bytes.data();
  std::size_t place = word.size;
  while (place > word.run_start) {
    std::size_t previous = place - 1;
    while ((static_cast<std::uint8_t>(data[previous]) & 0xC0U) == 0x80U) {
      --previous;
    }
    const char32_t before = decode_utf8(data + previous, data + place).code_point;
    if (table_.entry(before).combining_class() <= combining_class) {
      break;
    }
    place = previous;
  }
  char encoded[4];
  const std::size_t size = encode_utf8(code_point, encoded);
  std::memmove(data + place + size, data + place, word.size - place);
  std::memcpy(data + place, encoded, size);
  word.size += size;
}

}  // namespace gamelan::text
