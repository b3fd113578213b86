#include "text/normalizer.h"

#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include <utility>

#include "text/byte_level.h"
#include "text/character_classes.h"
#include "text/regex.h"
#include "text/utf8.h"

namespace gamelan::text {
namespace {

class Unicode : public Normalizer {
 public:
  explicit Unicode(UnicodeForm form) {
    UErrorCode error = U_ZERO_ERROR;
    instance_ = form == UnicodeForm::kNfc    ? icu::Normalizer2::getNFCInstance(error)
                : form == UnicodeForm::kNfd  ? icu::Normalizer2::getNFDInstance(error)
                : form == UnicodeForm::kNfkc ? icu::Normalizer2::getNFKCInstance(error)
                                             : icu::Normalizer2::getNFKDInstance(error);
  }

  std::string apply(std::string_view text) const override {
    bool ascii = true;
    for (const char c : text) {
      ascii = ascii && static_cast<unsigned char>(c) < 0x80;
    }
    if (ascii || instance_ == nullptr) {
      return std::string(text);
    }
    UErrorCode error = U_ZERO_ERROR;
    const icu::UnicodeString in =
        icu::UnicodeString::fromUTF8({text.data(), static_cast<std::int32_t>(text.size())});
    std::string out;
    instance_->normalize(in, error).toUTF8String(out);
    return out;
  }

 private:
  const icu::Normalizer2* instance_ = nullptr;  // belongs to ICU, for the life of the process
};

/// Calls f(code point, its bytes) for each character.
template <class F>
void each_character(std::string_view text, F&& f) {
  const char* const end = text.data() + text.size();
  for (const char* p = text.data(); p != end;) {
    const DecodedCharacter c = decode_utf8(p, end);
    f(c.code_point, std::string_view(p, c.size_bytes));
    p += c.size_bytes;
  }
}

class Lowercase : public Normalizer {
 public:
  std::string apply(std::string_view text) const override {
    std::string out;
    each_character(text, [&](char32_t c, std::string_view) {
      append_utf8(static_cast<char32_t>(u_tolower(static_cast<UChar32>(c))), out);
      if (c == 0x130) {
        append_utf8(0x307, out);  // the only letter with a lower case of two characters
      }
    });
    return out;
  }
};

class StripAccents : public Normalizer {
 public:
  std::string apply(std::string_view text) const override {
    std::string out;
    each_character(text, [&](char32_t c, std::string_view bytes) {
      if (!character_classes().is(c, kMark)) {
        out += bytes;
      }
    });
    return out;
  }
};

class Strip : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  std::string apply(std::string_view text) const override {
    std::size_t begin = text.size();
    std::size_t end = 0;
    each_character(text, [&](char32_t c, std::string_view bytes) {
      if (!character_classes().is(c, kWhiteSpace)) {
        const auto place = static_cast<std::size_t>(bytes.data() - text.data());
        begin = std::min(begin, place);
        end = place + bytes.size();
      }
    });
    if (begin >= end) {
      return left_ || right_ ? "" : std::string(text);
    }
    begin = left_ ? begin : 0;
    end = right_ ? end : text.size();
    return std::string(text.substr(begin, end - begin));
  }

 private:
  bool left_;
  bool right_;
};

class Replace : public Normalizer {
 public:
  Replace(std::string pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  std::string apply(std::string_view text) const override {
    return replace_all(text, pattern_, content_);
  }

 private:
  std::string pattern_;
  std::string content_;
};

class RegexReplace : public Normalizer {
 public:
  RegexReplace(Regex regex, std::string content)
      : regex_(std::move(regex)), content_(std::move(content)) {}
  std::string apply(std::string_view text) const override { return regex_.replace(text, content_); }

 private:
  Regex regex_;
  std::string content_;
};

constexpr bool is_dropped_by_nmt(char32_t c) {
  return (c >= 0x01 && c <= 0x08) || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F ||
         c == 0x8F || c == 0x9F;
}

constexpr bool is_blank_for_nmt(char32_t c) {
  return c == '\t' || c == '\n' || c == '\f' || c == '\r' || c == 0x1680 ||
         (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF ||
         c == kReplacementCharacter;
}

class Nmt : public Normalizer {
 public:
  std::string apply(std::string_view text) const override {
    std::string out;
    each_character(text, [&](char32_t c, std::string_view bytes) {
      if (!is_dropped_by_nmt(c)) {
        out += is_blank_for_nmt(c) ? " " : bytes;
      }
    });
    return out;
  }
};

class ByteAlphabet : public Normalizer {
 public:
  std::string apply(std::string_view text) const override { return to_byte_alphabet(text); }
};

class Prepend : public Normalizer {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}
  std::string apply(std::string_view text) const override {
    return text.empty() ? "" : prefix_ + std::string(text);
  }

 private:
  std::string prefix_;
};

class NormalizerSequence : public Normalizer {
 public:
  explicit NormalizerSequence(std::vector<std::unique_ptr<Normalizer>> steps)
      : steps_(std::move(steps)) {}
  std::string apply(std::string_view text) const override {
    std::string out(text);
    for (const auto& step : steps_) {
      out = step->apply(out);
    }
    return out;
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> steps_;
};

}  // namespace

std::string replace_all(std::string_view text, std::string_view pattern, std::string_view content) {
  std::string out;
  while (!pattern.empty()) {
    const std::size_t found = text.find(pattern);
    if (found == std::string_view::npos) {
      break;
    }
    out += text.substr(0, found);
    out += content;
    text.remove_prefix(found + pattern.size());
  }
  return out += text;
}

std::unique_ptr<Normalizer> make_unicode_normalizer(UnicodeForm form) {
  return std::make_unique<Unicode>(form);
}
std::unique_ptr<Normalizer> make_lowercase() {
  return std::make_unique<Lowercase>();
}
std::unique_ptr<Normalizer> make_strip_accents() {
  return std::make_unique<StripAccents>();
}
std::unique_ptr<Normalizer> make_strip(bool left, bool right) {
  return std::make_unique<Strip>(left, right);
}
std::unique_ptr<Normalizer> make_replace(std::string pattern, std::string content) {
  return std::make_unique<Replace>(std::move(pattern), std::move(content));
}
base::StatusOr<std::unique_ptr<Normalizer>> make_regex_replace(const std::string& regex,
                                                               std::string content) {
  GAMELAN_ASSIGN_OR_RETURN(Regex compiled, Regex::create(regex));
  return std::make_unique<RegexReplace>(std::move(compiled), std::move(content));
}
std::unique_ptr<Normalizer> make_nmt() {
  return std::make_unique<Nmt>();
}
std::unique_ptr<Normalizer> make_byte_alphabet() {
  return std::make_unique<ByteAlphabet>();
}
std::unique_ptr<Normalizer> make_prepend(std::string prefix) {
  return std::make_unique<Prepend>(std::move(prefix));
}
std::unique_ptr<Normalizer> make_normalizer_sequence(
    std::vector<std::unique_ptr<Normalizer>> steps) {
  return std::make_unique<NormalizerSequence>(std::move(steps));
}

}  // namespace gamelan::text
