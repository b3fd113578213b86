#include "text/piece_counts.h"

#include "text/utf8.h"

namespace gamelan::text {
namespace {

class CountingSink : public PieceSink {
 public:
  explicit CountingSink(PieceCounts& counts) : counts_(counts) {}
  void piece(std::string_view text, bool) override { counts_.add(text); }

 private:
  PieceCounts& counts_;
};

}  // namespace

void PieceCounts::add(std::string_view piece, std::int64_t count) {
  total_ += count;
  if (const auto found = index_.find(piece); found != index_.end()) {
    entries_[found->second].count += count;
    return;
  }
  const std::string_view kept = pieces_.emplace_back(piece);
  index_.emplace(kept, static_cast<std::uint32_t>(entries_.size()));
  entries_.push_back({kept, count});
}

void PieceCounts::add_text(std::string_view text, const PreTokenizer& splitter) {
  std::string repaired;
  if (!is_valid_utf8(text)) {
    repaired = replace_invalid_utf8(text);
    text = repaired;
  }
  CountingSink sink(*this);
  splitter.split(text, true, sink);
}

}  // namespace gamelan::text
