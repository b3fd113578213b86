// Patterns without a hand-written scanner: PCRE2.
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "text/pre_tokenizer.h"
#include "text/split_behavior.h"

namespace gamelan::text {
namespace {

struct FreeCode {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct FreeMatch {
  void operator()(pcre2_match_data* match) const { pcre2_match_data_free(match); }
};

class RegexSplitter : public PreTokenizer {
 public:
  RegexSplitter(std::unique_ptr<pcre2_code, FreeCode> code, SplitBehavior behavior, bool invert)
      : code_(std::move(code)), behavior_(behavior), invert_(invert) {}

  void split(std::string_view text, bool at_start, PieceSink& sink) const override {
    const std::unique_ptr<pcre2_match_data, FreeMatch> match(
        pcre2_match_data_create_from_pattern(code_.get(), nullptr));
    std::vector<SplitPart> parts;
    std::size_t given = 0;
    std::size_t from = 0;
    while (from < text.size() &&
           pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                       PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, match.get(), nullptr) > 0) {
      const PCRE2_SIZE* const range = pcre2_get_ovector_pointer(match.get());
      if (range[1] <= range[0] || range[0] < given) {  // \K can give such ranges
        break;
      }
      if (range[0] > given) {
        parts.push_back({text.substr(given, range[0] - given), invert_});
      }
      parts.push_back({text.substr(range[0], range[1] - range[0]), !invert_});
      given = range[1];
      from = range[1];
    }
    if (given < text.size()) {
      parts.push_back({text.substr(given), invert_});
    }
    give_pieces(parts, behavior_, at_start, sink);
  }

 private:
  std::unique_ptr<pcre2_code, FreeCode> code_;
  SplitBehavior behavior_;
  bool invert_;
};

}  // namespace

base::StatusOr<std::unique_ptr<PreTokenizer>> make_regex_splitter(const std::string& regex,
                                                                  SplitBehavior behavior,
                                                                  bool invert) {
  int error = 0;
  PCRE2_SIZE place = 0;
  std::unique_ptr<pcre2_code, FreeCode> code(
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(regex.data()), regex.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &place, nullptr));
  if (code == nullptr) {
    PCRE2_UCHAR text[256] = {};
    pcre2_get_error_message(error, text, sizeof(text));
    return base::invalid_argument("expected a regular expression, got '{}': {} at byte {}",
                                  regex.substr(0, 200), reinterpret_cast<const char*>(text), place);
  }
  pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);  // without it matching is merely slower
  return std::make_unique<RegexSplitter>(std::move(code), behavior, invert);
}

}  // namespace gamelan::text
