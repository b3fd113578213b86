#include "text/pre_tokenizer.h"

#include <utility>

#include "text/character_classes.h"
#include "text/split_behavior.h"
#include "text/utf8.h"

namespace gamelan::text {
namespace {

class PatternSplitter : public PreTokenizer {
 public:
  PatternSplitter(SplitPattern pattern, SplitBehavior behavior, bool invert)
      : pattern_(pattern), behavior_(behavior), invert_(invert) {}

  void split(std::string_view text, bool at_start, PieceSink& sink) const override {
    const char* const end = text.data() + text.size();
    if (behavior_ == SplitBehavior::kIsolated) {  // every part is a piece: nothing to collect
      for (const char* p = text.data(); p != end; at_start = false) {
        const PatternMatch match = next_match(pattern_, p, end);
        sink.piece({p, static_cast<std::size_t>(match.end - p)}, at_start);
        p = match.end;
      }
      return;
    }
    std::vector<SplitPart> parts;
    for (const char* p = text.data(); p != end;) {
      const PatternMatch match = next_match(pattern_, p, end);
      parts.push_back({{p, static_cast<std::size_t>(match.end - p)}, match.matched != invert_});
      p = match.end;
    }
    give_pieces(parts, behavior_, at_start, sink);
  }

 private:
  SplitPattern pattern_;
  SplitBehavior behavior_;
  bool invert_;
};

class LiteralSplitter : public PreTokenizer {
 public:
  LiteralSplitter(std::string literal, SplitBehavior behavior, bool invert)
      : literal_(std::move(literal)), behavior_(behavior), invert_(invert) {}

  void split(std::string_view text, bool at_start, PieceSink& sink) const override {
    std::vector<SplitPart> parts;
    while (!text.empty()) {
      const std::size_t found = literal_.empty() ? std::string_view::npos : text.find(literal_);
      const std::size_t size = found == 0 ? literal_.size() : std::min(found, text.size());
      parts.push_back({text.substr(0, size), (found == 0) != invert_});
      text.remove_prefix(size);
    }
    give_pieces(parts, behavior_, at_start, sink);
  }

 private:
  std::string literal_;
  SplitBehavior behavior_;
  bool invert_;
};

class ClassSplitter : public PreTokenizer {
 public:
  ClassSplitter(unsigned classes, SplitBehavior behavior)
      : classes_(classes), behavior_(behavior) {}

  void split(std::string_view text, bool at_start, PieceSink& sink) const override {
    std::vector<SplitPart> parts;
    const char* const end = text.data() + text.size();
    for (const char* p = text.data(); p != end;) {
      const DecodedCharacter c = decode_utf8(p, end);
      const bool matched = character_classes().is(c.code_point, classes_);
      if (matched || parts.empty() || parts.back().matched) {
        parts.push_back({{p, 0}, matched});
      }
      SplitPart& last = parts.back();
      last.text = {last.text.data(), last.text.size() + c.size_bytes};
      p += c.size_bytes;
    }
    give_pieces(parts, behavior_, at_start, sink);
  }

 private:
  unsigned classes_;
  SplitBehavior behavior_;
};

class WordSplitter : public PreTokenizer {
 public:
  void split(std::string_view text, bool at_start, PieceSink& sink) const override {
    const char* const begin = text.data();
    const char* const end = begin + text.size();
    const auto kind = [](char32_t c) {
      const CharacterClasses& classes = character_classes();
      return classes.is(c, kWord) ? 1 : classes.is(c, kWhiteSpace) ? 0 : 2;
    };
    const char* start = begin;
    int current = 0;
    for (const char* p = begin;; p += decode_utf8(p, end).size_bytes) {
      const int next = p == end ? -1 : kind(decode_utf8(p, end).code_point);
      if (next != current) {
        if (current != 0 && p != start) {
          sink.piece({start, static_cast<std::size_t>(p - start)}, at_start && start == begin);
        }
        start = p;
        current = next;
      }
      if (p == end) {
        break;
      }
    }
  }
};

class Metaspace : public PreTokenizer {
 public:
  Metaspace(std::string replacement, PrependScheme scheme, bool split)
      : replacement_(std::move(replacement)), scheme_(scheme), split_(split) {}

  void split(std::string_view text, bool at_start, PieceSink& sink) const override {
    std::string changed;
    changed.reserve(text.size() + text.size() / 2);
    const bool prepends =
        scheme_ == PrependScheme::kAlways || (scheme_ == PrependScheme::kFirst && at_start);
    if (prepends && !text.starts_with(' ') && !text.starts_with(replacement_)) {
      changed = replacement_;
    }
    for (const char c : text) {
      if (c == ' ') {
        changed += replacement_;
      } else {
        changed.push_back(c);
      }
    }
    if (!split_) {
      sink.piece(changed, at_start);
      return;
    }
    for (std::size_t start = 0; start < changed.size();) {
      const std::size_t found = changed.find(replacement_, start == 0 ? 0 : start + 1);
      const std::size_t first_end =
          start == 0 && found == 0 ? changed.find(replacement_, replacement_.size()) : found;
      const std::size_t end = std::min(first_end, changed.size());
      sink.piece(std::string_view(changed).substr(start, end - start), at_start && start == 0);
      start = end;
    }
  }

 private:
  std::string replacement_;
  PrependScheme scheme_;
  bool split_;
};

class ByteLevel : public PreTokenizer {
 public:
  ByteLevel(bool add_prefix_space, bool use_regex)
      : add_prefix_space_(add_prefix_space),
        use_regex_(use_regex),
        pattern_(SplitPattern::kGpt2, SplitBehavior::kIsolated, false) {}

  void split(std::string_view text, bool at_start, PieceSink& sink) const override {
    std::string changed;
    if (add_prefix_space_ && !text.starts_with(' ')) {
      changed.reserve(text.size() + 1);
      changed.push_back(' ');
      changed += text;
      text = changed;
    }
    if (use_regex_) {
      pattern_.split(text, at_start, sink);
    } else {
      sink.piece(text, at_start);
    }
  }

 private:
  bool add_prefix_space_;
  bool use_regex_;
  PatternSplitter pattern_;
};

class Sequence : public PreTokenizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<PreTokenizer>> steps) : steps_(std::move(steps)) {}

  void split(std::string_view text, bool at_start, PieceSink& sink) const override {
    run(0, text, at_start, sink);
  }

 private:
  struct Next : PieceSink {
    Next(const Sequence& all, std::size_t step, PieceSink& sink)
        : all(all), step(step), sink(sink) {}
    void piece(std::string_view text, bool at_start) override {
      all.run(step, text, at_start, sink);
    }
    const Sequence& all;
    std::size_t step;
    PieceSink& sink;
  };

  void run(std::size_t step, std::string_view text, bool at_start, PieceSink& sink) const {
    if (step == steps_.size()) {
      sink.piece(text, at_start);
      return;
    }
    Next next(*this, step + 1, sink);
    steps_[step]->split(text, at_start, next);
  }

  std::vector<std::unique_ptr<PreTokenizer>> steps_;
};

}  // namespace

std::unique_ptr<PreTokenizer> make_pattern_splitter(SplitPattern pattern, SplitBehavior behavior,
                                                    bool invert) {
  return std::make_unique<PatternSplitter>(pattern, behavior, invert);
}

std::unique_ptr<PreTokenizer> make_literal_splitter(std::string literal, SplitBehavior behavior,
                                                    bool invert) {
  return std::make_unique<LiteralSplitter>(std::move(literal), behavior, invert);
}

std::unique_ptr<PreTokenizer> make_class_splitter(unsigned classes, SplitBehavior behavior) {
  return std::make_unique<ClassSplitter>(classes, behavior);
}

std::unique_ptr<PreTokenizer> make_word_splitter() {
  return std::make_unique<WordSplitter>();
}

std::unique_ptr<PreTokenizer> make_bert_splitter() {
  std::vector<std::unique_ptr<PreTokenizer>> steps;
  steps.push_back(make_class_splitter(kWhiteSpace, SplitBehavior::kRemoved));
  steps.push_back(make_class_splitter(kPunctuation, SplitBehavior::kIsolated));
  return make_sequence(std::move(steps));
}

std::unique_ptr<PreTokenizer> make_metaspace(std::string replacement, PrependScheme scheme,
                                             bool split) {
  return std::make_unique<Metaspace>(std::move(replacement), scheme, split);
}

std::unique_ptr<PreTokenizer> make_byte_level(bool add_prefix_space, bool use_regex) {
  return std::make_unique<ByteLevel>(add_prefix_space, use_regex);
}

std::unique_ptr<PreTokenizer> make_sequence(std::vector<std::unique_ptr<PreTokenizer>> steps) {
  return std::make_unique<Sequence>(std::move(steps));
}

}  // namespace gamelan::text
