#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace gamelan::text {

/// How BERT prepares text, in this order. The names are those of tokenizer.json's BertNormalizer.
struct BertNormalizerOptions {
  /// Remove control characters, NUL and U+FFFD; turn every white space into a blank.
  bool clean_text = true;
  /// Make every CJK ideograph a word of its own.
  bool handle_chinese_chars = true;
  /// Decompose (NFD) and remove nonspacing marks; unset = as `lowercase`.
  std::optional<bool> strip_accents;
  bool lowercase = true;

  bool strips_accents() const { return strip_accents.value_or(lowercase); }
  bool operator==(const BertNormalizerOptions&) const = default;
};

/// What every code point becomes under given options, looked up in two steps of an array. The
/// answer combines all stages of BERT's normaliser with its split at white space and punctuation.
///
/// HuggingFace's tokenizers mixes Unicode versions: categories of Unicode 8, decompositions of 9,
/// lower-casing of 17. ICU's data are cut down to that by the age of each character, so that
/// results do not depend on the ICU installed; the few characters whose properties have changed
/// since are listed in the source file. About 0.3 MB and a few milliseconds to build. Immutable;
/// thread-safe.
class BertCharacterTable {
 public:
  explicit BertCharacterTable(const BertNormalizerOptions& options);

  enum class Action : std::uint8_t {
    kKeep,      // part of a word, as it is
    kDrop,      // vanishes
    kDropMark,  // vanishes, but not before it has taken part in the reordering of marks
    kSpace,     // ends a word
    kIsolate,   // a word of its own, as it is
    kMap,       // becomes mapping(index)
  };

  /// One code point. `index` belongs to kMap.
  struct Entry {
    std::uint32_t bits = 0;
    Action action() const { return static_cast<Action>(bits & 7U); }
    std::uint32_t index() const { return (bits >> 3) & 0x1FFFFFU; }
    /// Of kKeep and kDropMark: the canonical combining class (the lowest one of its decomposition);
    /// 0 where accents are kept, as nothing is reordered then.
    std::uint8_t combining_class() const { return static_cast<std::uint8_t>(bits >> 24); }
    bool operator==(const Entry&) const = default;
  };

  /// A character of a mapping: kKeep, kSpace or kIsolate.
  struct Mapped {
    char32_t code_point = 0;
    Action action = Action::kKeep;
    std::uint8_t combining_class = 0;
  };
  /// `isolate`: the whole is a word of its own (a compatibility ideograph).
  struct Mapping {
    std::span<const Mapped> characters;
    bool isolate = false;
  };

  Entry entry(char32_t code_point) const {
    return blocks_[block_of_[code_point >> 8] * 256U + (code_point & 0xFFU)];
  }
  Mapping mapping(std::uint32_t index) const {
    const MappingRange& range = ranges_[index];
    return {std::span(pool_).subspan(range.begin, range.size), range.isolate};
  }

 private:
  struct MappingRange {
    std::uint32_t begin = 0;
    std::uint16_t size = 0;
    bool isolate = false;
  };
  Entry make_entry(char32_t code_point, const BertNormalizerOptions& options);
  Entry make_mapping(char32_t code_point, const BertNormalizerOptions& options, bool isolate);

  std::array<std::uint16_t, 0x1100> block_of_ = {};
  std::vector<Entry> blocks_;
  std::vector<MappingRange> ranges_;
  std::vector<Mapped> pool_;
};

}  // namespace gamelan::text
