#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "text/split_behavior.h"

struct pcre2_real_code_8;

namespace gamelan::text {

/// A regular expression of PCRE2's, with Unicode properties. Immutable; thread-safe.
class Regex {
 public:
  /// kInvalidArgument when `pattern` is none.
  static base::StatusOr<Regex> create(const std::string& pattern);

  /// Cuts `text`, valid UTF-8, into its matches that are not empty and what lies between them.
  /// Where matching meets a limit of PCRE2's, the rest of the text counts as not matched.
  std::vector<SplitPart> cut(std::string_view text) const;

  /// `text` with every match replaced by `content`.
  std::string replace(std::string_view text, std::string_view content) const;

 private:
  struct Free {
    void operator()(pcre2_real_code_8* code) const;
  };
  explicit Regex(std::unique_ptr<pcre2_real_code_8, Free> code) : code_(std::move(code)) {}

  std::unique_ptr<pcre2_real_code_8, Free> code_;
};

}  // namespace gamelan::text
