#include "text/token_decoder.h"

#include <charconv>
#include <optional>
#include <utility>

#include "text/byte_level.h"
#include "text/normalizer.h"
#include "text/utf8.h"

namespace gamelan::text {
namespace {

std::string joined(const std::vector<std::string>& tokens) {
  std::string text;
  for (const std::string& token : tokens) {
    text += token;
  }
  return text;
}

class ByteLevelDecoder : public TokenDecoder {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::string bytes;
    for (std::string& token : tokens) {
      bytes += inside(std::move(token));
    }
    tokens = {replace_invalid_utf8(bytes)};
  }
  std::string inside(std::string token) const override {
    return from_byte_alphabet(token).value_or(token);
  }
};

/// 0…255, or nullopt.
std::optional<char> byte_of(std::string_view token) {
  unsigned value = 0;
  if (token.size() != 6 || !token.starts_with("<0x") || !token.ends_with('>') ||
      std::from_chars(token.data() + 3, token.data() + 5, value, 16).ptr != token.data() + 5) {
    return std::nullopt;
  }
  return static_cast<char>(value);
}

class ByteFallbackDecoder : public TokenDecoder {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::vector<std::string> out;
    std::string run;
    const auto flush = [&] {
      if (!run.empty() && is_valid_utf8(run)) {
        out.push_back(run);
      } else {
        out.insert(out.end(), run.size(), "\uFFFD");
      }
      run.clear();
    };
    for (std::string& token : tokens) {
      if (const auto byte = byte_of(token)) {
        run.push_back(*byte);
        continue;
      }
      flush();
      out.push_back(std::move(token));
    }
    flush();
    tokens = std::move(out);
  }
  std::string inside(std::string token) const override {
    const auto byte = byte_of(token);
    return byte ? std::string(1, *byte) : token;
  }
};

class FuseDecoder : public TokenDecoder {
 public:
  void apply(std::vector<std::string>& tokens) const override { tokens = {joined(tokens)}; }
  std::string inside(std::string token) const override { return token; }
};

class ReplaceDecoder : public TokenDecoder {
 public:
  explicit ReplaceDecoder(std::unique_ptr<Normalizer> replace) : replace_(std::move(replace)) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (std::string& token : tokens) {
      token = replace_->apply(token);
    }
  }
  std::string inside(std::string token) const override { return replace_->apply(token); }

 private:
  std::unique_ptr<Normalizer> replace_;
};

class StripDecoder : public TokenDecoder {
 public:
  StripDecoder(std::string content, std::size_t start, std::size_t stop)
      : content_(std::move(content)), start_(start), stop_(stop) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (std::string& token : tokens) {
      std::string_view left = token;
      for (std::size_t i = 0; i < start_ && left.starts_with(content_); ++i) {
        left.remove_prefix(content_.size());
      }
      for (std::size_t i = 0; i < stop_ && left.ends_with(content_); ++i) {
        left.remove_suffix(content_.size());
      }
      token = std::string(left);
    }
  }
  std::string inside(std::string token) const override { return token; }

 private:
  std::string content_;
  std::size_t start_;
  std::size_t stop_;
};

class MetaspaceDecoder : public TokenDecoder {
 public:
  MetaspaceDecoder(std::string replacement, bool drops_first)
      : replacement_(std::move(replacement)), drops_first_(drops_first) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      // The first token loses every blank, wherever it stands in it, as in the reference.
      tokens[i] = replace_all(tokens[i], replacement_, i == 0 && drops_first_ ? "" : " ");
    }
  }
  std::string inside(std::string token) const override {
    return replace_all(token, replacement_, " ");
  }

 private:
  std::string replacement_;
  bool drops_first_;
};

class DecoderSequence : public TokenDecoder {
 public:
  explicit DecoderSequence(std::vector<std::unique_ptr<TokenDecoder>> steps)
      : steps_(std::move(steps)) {}
  void apply(std::vector<std::string>& tokens) const override {
    for (const auto& step : steps_) {
      step->apply(tokens);
    }
  }
  std::string inside(std::string token) const override {
    for (const auto& step : steps_) {
      token = step->inside(std::move(token));
    }
    return token;
  }

 private:
  std::vector<std::unique_ptr<TokenDecoder>> steps_;
};

}  // namespace

std::unique_ptr<TokenDecoder> make_byte_level_decoder() {
  return std::make_unique<ByteLevelDecoder>();
}
std::unique_ptr<TokenDecoder> make_byte_fallback_decoder() {
  return std::make_unique<ByteFallbackDecoder>();
}
std::unique_ptr<TokenDecoder> make_fuse_decoder() {
  return std::make_unique<FuseDecoder>();
}
std::unique_ptr<TokenDecoder> make_replace_decoder(std::string pattern, std::string content) {
  return std::make_unique<ReplaceDecoder>(make_replace(std::move(pattern), std::move(content)));
}
base::StatusOr<std::unique_ptr<TokenDecoder>> make_regex_replace_decoder(const std::string& regex,
                                                                         std::string content) {
  GAMELAN_ASSIGN_OR_RETURN(auto replace, make_regex_replace(regex, std::move(content)));
  return std::make_unique<ReplaceDecoder>(std::move(replace));
}
std::unique_ptr<TokenDecoder> make_strip_decoder(std::string content, std::size_t start,
                                                 std::size_t stop) {
  return std::make_unique<StripDecoder>(std::move(content), start, stop);
}
std::unique_ptr<TokenDecoder> make_metaspace_decoder(std::string replacement, bool drops_first) {
  return std::make_unique<MetaspaceDecoder>(std::move(replacement), drops_first);
}
std::unique_ptr<TokenDecoder> make_decoder_sequence(
    std::vector<std::unique_ptr<TokenDecoder>> steps) {
  return std::make_unique<DecoderSequence>(std::move(steps));
}

}  // namespace gamelan::text
