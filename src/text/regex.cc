#include "text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace gamelan::text {
namespace {

struct FreeMatch {
  void operator()(pcre2_match_data* match) const { pcre2_match_data_free(match); }
};

}  // namespace

void Regex::Free::operator()(pcre2_real_code_8* code) const {
  pcre2_code_free(code);
}

base::StatusOr<Regex> Regex::create(const std::string& pattern) {
  int error = 0;
  PCRE2_SIZE place = 0;
  std::unique_ptr<pcre2_real_code_8, Free> code(
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &place, nullptr));
  if (code == nullptr) {
    PCRE2_UCHAR text[256] = {};
    pcre2_get_error_message(error, text, sizeof(text));
    return base::invalid_argument("expected a regular expression, got '{}': {} at byte {}",
                                  pattern.substr(0, 200), reinterpret_cast<const char*>(text),
                                  place);
  }
  pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);  // without it matching is merely slower
  return Regex(std::move(code));
}

std::vector<SplitPart> Regex::cut(std::string_view text) const {
  const std::unique_ptr<pcre2_match_data, FreeMatch> match(
      pcre2_match_data_create_from_pattern(code_.get(), nullptr));
  std::vector<SplitPart> parts;
  std::size_t given = 0;
  while (given < text.size() &&
         pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), given,
                     PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, match.get(), nullptr) > 0) {
    const PCRE2_SIZE* const range = pcre2_get_ovector_pointer(match.get());
    if (range[1] <= range[0] || range[0] < given) {  // \K can give such ranges
      break;
    }
    if (range[0] > given) {
      parts.push_back({text.substr(given, range[0] - given), false});
    }
    parts.push_back({text.substr(range[0], range[1] - range[0]), true});
    given = range[1];
  }
  if (given < text.size()) {
    parts.push_back({text.substr(given), false});
  }
  return parts;
}

std::string Regex::replace(std::string_view text, std::string_view content) const {
  std::string out;
  for (const SplitPart& part : cut(text)) {
    out += part.matched ? content : part.text;
  }
  return out;
}

}  // namespace gamelan::text
