#include "text/unigram_encoder.h"

#include <fmt/format.h>

#include <algorithm>

namespace gamelan::text {

UnigramEncoder::UnigramEncoder(const UnigramVocabulary& vocabulary)
    : unigram_(vocabulary.tokens, vocabulary.scores, vocabulary.unk_id),
      unknown_(vocabulary.unk_id),
      byte_level_(vocabulary.byte_level) {
  byte_ids_.fill(-1);
  for (std::size_t byte = 0; vocabulary.byte_fallback && byte < byte_ids_.size(); ++byte) {
    byte_ids_[byte] = unigram_.find(fmt::format("<0x{:02X}>", byte));
  }
}

void UnigramEncoder::append_unknown(std::string_view run, std::vector<TokenId>& ids) const {
  // The run may be spelled as a token: <unk> itself.
  if (const TokenId id = unigram_.find(run); id >= 0) {
    ids.push_back(id);
  } else if (!append_byte_tokens(byte_ids_, run, ids) && unknown_ >= 0) {
    ids.push_back(unknown_);
  }
}

void UnigramEncoder::append(std::string_view piece, std::vector<TokenId>& ids) const {
  std::string spelled;
  if (byte_level_) {
    spelled = to_byte_alphabet(piece);
    piece = spelled;
  }
  thread_local std::vector<Segment> segments;  // keeps its memory from piece to piece
  segments.clear();
  unigram_.segment(piece, segments);
  const auto is_unknown = [this](const Segment& segment) { return segment.id == unknown_; };
  for (auto at = segments.begin(); at != segments.end();) {
    const auto run_end = std::find_if_not(at, segments.end(), is_unknown);
    if (run_end == at) {
      ids.push_back(at->id);
      ++at;
      continue;
    }
    const char* const end =
        run_end == segments.end() ? piece.data() + piece.size() : run_end->text.data();
    append_unknown({at->text.data(), static_cast<std::size_t>(end - at->text.data())}, ids);
    at = run_end;
  }
}

}  // namespace gamelan::text
