// Patterns without a hand-written scanner.

#include "text/regex.h"
#include "text/split_behavior.h"

namespace gamelan::text {
namespace {

class RegexSplitter : public PreTokenizer {
 public:
  RegexSplitter(Regex regex, SplitBehavior behavior, bool invert)
      : regex_(std::move(regex)), behavior_(behavior), invert_(invert) {}

  void split(std::string_view text, bool at_start, PieceSink& sink) const override {
    std::vector<SplitPart> parts = regex_.cut(text);
    for (SplitPart& part : parts) {
      part.matched = part.matched != invert_;
    }
    give_pieces(parts, behavior_, at_start, sink);
  }

 private:
  Regex regex_;
  SplitBehavior behavior_;
  bool invert_;
};

}  // namespace

base::StatusOr<std::unique_ptr<PreTokenizer>> make_regex_splitter(const std::string& regex,
                                                                  SplitBehavior behavior,
                                                                  bool invert) {
  GAMELAN_ASSIGN_OR_RETURN(Regex compiled, Regex::create(regex));
  return std::make_unique<RegexSplitter>(std::move(compiled), behavior, invert);
}

}  // namespace gamelan::text
