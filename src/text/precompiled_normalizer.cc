// SentencePiece's map of characters as the `Precompiled` of tokenizer.json applies it.

#include "text/graphemes.h"
#include "text/normalizer.h"
#include "text/sentence_piece_normalizer.h"
#include "text/utf8.h"

namespace gamelan::text {
namespace {

// The reference looks up whole clusters only below this size.
constexpr std::size_t kLongClusterBytes = 6;

class Precompiled : public Normalizer {
 public:
  explicit Precompiled(PrecompiledMap map) : map_(std::move(map)) {}

  std::string apply(std::string_view text) const override {
    std::string out;
    out.reserve(text.size());
    while (!text.empty()) {
      const std::string_view cluster = text.substr(0, grapheme_size(text));
      if (cluster.size() >= kLongClusterBytes || !append_replacement(cluster, out)) {
        append_characters(cluster, out);
      }
      text.remove_prefix(cluster.size());
    }
    return out;
  }

 private:
  /// A source that is only the beginning of `part` replaces all of it, as in the reference.
  bool append_replacement(std::string_view part, std::string& out) const {
    const PrecompiledMap::Match match = map_.shortest_match(part);
    out += match.replacement;
    return match.size_bytes > 0;
  }

  void append_characters(std::string_view cluster, std::string& out) const {
    while (!cluster.empty()) {
      const char* const end = cluster.data() + cluster.size();
      const std::string_view character =
          cluster.substr(0, decode_utf8(cluster.data(), end).size_bytes);
      if (!append_replacement(character, out)) {
        out += character;
      }
      cluster.remove_prefix(character.size());
    }
  }

  PrecompiledMap map_;
};

}  // namespace

std::unique_ptr<Normalizer> make_precompiled(PrecompiledMap map) {
  return std::make_unique<Precompiled>(std::move(map));
}

}  // namespace gamelan::text
