// The sections of a tokenizer.json that treat text: normalizer, pre_tokenizer, decoder.

#include "io/base64.h"
#include "io/tokenizer_json_parts.h"
#include "text/character_classes.h"
#include "text/sentence_piece_normalizer.h"

namespace gamelan::io {
namespace {

using nlohmann::json;
using text::SplitBehavior;

/// A list of sections, each read by `read`.
template <class Part, class Read>
base::Status read_list(const json& section, const char* key, const std::string& where,
                       std::vector<std::unique_ptr<Part>>& parts, Read&& read) {
  JsonReader reader(section, where);
  const json* const list = reader.array(key);
  GAMELAN_RETURN_IF_ERROR(reader.status());
  if (list == nullptr) {
    return base::invalid_argument("{}: '{}' is missing", where, key);
  }
  for (std::size_t i = 0; i < list->size(); ++i) {
    GAMELAN_ASSIGN_OR_RETURN(std::unique_ptr<Part> part,
                             read((*list)[i], fmt::format("{}[{}]", where, i)));
    if (part != nullptr) {
      parts.push_back(std::move(part));
    }
  }
  return base::OkStatus();
}

struct Pattern {
  std::string text;
  bool is_regex = false;
};

/// {"String": …} or {"Regex": …}.
Pattern read_pattern(JsonReader& reader) {
  const json* const pattern = reader.object("pattern");
  for (const char* kind : {"String", "Regex"}) {
    if (pattern != nullptr && pattern->contains(kind) && (*pattern)[kind].is_string()) {
      return {(*pattern)[kind].get<std::string>(), std::string_view(kind) == "Regex"};
    }
  }
  reader.fail("'pattern': expected {\"String\": …} or {\"Regex\": …}");
  return {};
}

/// `simple`(pattern, content) for a String, `regex` of the same for a Regex.
template <class Part, class Simple, class OfRegex>
base::StatusOr<std::unique_ptr<Part>> read_replace(JsonReader& reader, Simple&& simple,
                                                   OfRegex&& of_regex) {
  const Pattern pattern = read_pattern(reader);
  const std::string content = reader.string("content", std::nullopt);
  GAMELAN_RETURN_IF_ERROR(reader.status());
  if (!pattern.is_regex) {
    return simple(pattern.text, content);
  }
  auto part = of_regex(pattern.text, content);
  if (!part.ok()) {
    return base::annotate(part.status(), reader.where());
  }
  return part;
}

base::StatusOr<std::unique_ptr<text::Normalizer>> read_precompiled(JsonReader& reader) {
  const std::string charsmap = reader.string("precompiled_charsmap", std::nullopt);
  GAMELAN_RETURN_IF_ERROR(reader.status());
  const std::optional<std::string> blob = decode_base64(charsmap);
  if (!blob) {
    return base::invalid_argument("{}: 'precompiled_charsmap': expected base64, got '{}'",
                                  reader.where(), charsmap.substr(0, 60));
  }
  GAMELAN_ASSIGN_OR_RETURN(text::PrecompiledMap map,
                           text::PrecompiledMap::create(*blob, reader.where()));
  return text::make_precompiled(std::move(map));
}

SplitBehavior read_behavior(JsonReader& reader) {
  const std::string name =
      reader.one_of("behavior", "Removed",
                    {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"});
  return name == "Isolated"             ? SplitBehavior::kIsolated
         : name == "MergedWithPrevious" ? SplitBehavior::kMergedWithPrevious
         : name == "MergedWithNext"     ? SplitBehavior::kMergedWithNext
         : name == "Contiguous"         ? SplitBehavior::kContiguous
                                        : SplitBehavior::kRemoved;
}

base::StatusOr<std::unique_ptr<text::PreTokenizer>> read_split(JsonReader& reader,
                                                               const std::string& where) {
  const Pattern pattern = read_pattern(reader);
  const SplitBehavior behavior = read_behavior(reader);
  const bool invert = reader.boolean("invert", false);
  GAMELAN_RETURN_IF_ERROR(reader.status());
  if (!pattern.is_regex) {
    return text::make_literal_splitter(pattern.text, behavior, invert);
  }
  if (const auto known = text::known_split_pattern(pattern.text)) {
    return text::make_pattern_splitter(*known, behavior, invert);
  }
  auto splitter = text::make_regex_splitter(pattern.text, behavior, invert);
  if (!splitter.ok()) {
    return base::annotate(splitter.status(), where);
  }
  return splitter;
}

std::unique_ptr<text::PreTokenizer> read_metaspace(JsonReader& reader) {
  const std::string replacement = reader.string("replacement", "\u2581");
  const bool legacy = reader.boolean("add_prefix_space", true);
  const std::string scheme =
      reader.one_of("prepend_scheme", legacy ? "always" : "never", {"always", "first", "never"});
  const bool split = reader.boolean("split", true);
  if (replacement.empty()) {
    reader.fail("'replacement' is empty");
    return nullptr;
  }
  return text::make_metaspace(replacement,
                              scheme == "always"  ? text::PrependScheme::kAlways
                              : scheme == "first" ? text::PrependScheme::kFirst
                                                  : text::PrependScheme::kNever,
                              split);
}

base::StatusOr<std::unique_ptr<text::PreTokenizer>> read_step(const json& section,
                                                              const std::string& where,
                                                              bool& byte_level) {
  JsonReader reader(section, where);
  const std::string type = reader.string("type", std::nullopt);
  GAMELAN_RETURN_IF_ERROR(reader.status());
  if (byte_level) {
    return base::unimplemented("{}: expected ByteLevel to be the last step, got {} after it", where,
                               type);
  }
  std::unique_ptr<text::PreTokenizer> step;
  if (type == "Sequence") {
    std::vector<std::unique_ptr<text::PreTokenizer>> steps;
    GAMELAN_RETURN_IF_ERROR(read_list(section, "pretokenizers", where, steps,
                                      [&](const json& part, const std::string& place) {
                                        return read_step(part, place, byte_level);
                                      }));
    return text::make_sequence(std::move(steps));
  }
  if (type == "Split") {
    return read_split(reader, where);
  }
  if (type == "ByteLevel") {
    byte_level = true;
    step = text::make_byte_level(reader.boolean("add_prefix_space", true),
                                 reader.boolean("use_regex", true));
  } else if (type == "Digits") {
    step = text::make_class_splitter(text::kNumber, reader.boolean("individual_digits", false)
                                                        ? SplitBehavior::kIsolated
                                                        : SplitBehavior::kContiguous);
  } else if (type == "Punctuation") {
    const SplitBehavior behavior =
        section.contains("behavior") ? read_behavior(reader) : SplitBehavior::kIsolated;
    step = text::make_class_splitter(text::kPunctuation, behavior);
  } else if (type == "Whitespace") {
    step = text::make_word_splitter();
  } else if (type == "WhitespaceSplit") {
    step = text::make_class_splitter(text::kWhiteSpace, SplitBehavior::kRemoved);
  } else if (type == "BertPreTokenizer") {
    step = text::make_bert_splitter();
  } else if (type == "Metaspace") {
    step = read_metaspace(reader);
  } else {
    return unknown_type(where, type,
                        "BertPreTokenizer, ByteLevel, Digits, Metaspace, Punctuation, Sequence, "
                        "Split, Whitespace, WhitespaceSplit");
  }
  GAMELAN_RETURN_IF_ERROR(reader.status());
  return step;
}

}  // namespace

base::Status unknown_type(const std::string& where, const std::string& type,
                          std::string_view known) {
  return base::unimplemented("{}: expected one of {}; got '{}'", where, known, type.substr(0, 60));
}

base::StatusOr<std::unique_ptr<text::Normalizer>> read_normalizer_json(const json& section,
                                                                       const std::string& where) {
  if (section.is_null()) {
    return nullptr;
  }
  JsonReader reader(section, where);
  const std::string type = reader.string("type", std::nullopt);
  GAMELAN_RETURN_IF_ERROR(reader.status());
  std::unique_ptr<text::Normalizer> normalizer;
  if (type == "Sequence") {
    std::vector<std::unique_ptr<text::Normalizer>> steps;
    GAMELAN_RETURN_IF_ERROR(read_list(section, "normalizers", where, steps, read_normalizer_json));
    return text::make_normalizer_sequence(std::move(steps));
  }
  if (type == "NFC" || type == "NFD" || type == "NFKC" || type == "NFKD") {
    normalizer = text::make_unicode_normalizer(type == "NFC"    ? text::UnicodeForm::kNfc
                                               : type == "NFD"  ? text::UnicodeForm::kNfd
                                               : type == "NFKC" ? text::UnicodeForm::kNfkc
                                                                : text::UnicodeForm::kNfkd);
  } else if (type == "Lowercase") {
    normalizer = text::make_lowercase();
  } else if (type == "StripAccents") {
    normalizer = text::make_strip_accents();
  } else if (type == "Strip") {
    normalizer =
        text::make_strip(reader.boolean("strip_left", true), reader.boolean("strip_right", true));
  } else if (type == "Prepend") {
    normalizer = text::make_prepend(reader.string("prepend", std::nullopt));
  } else if (type == "Replace") {
    return read_replace<text::Normalizer>(reader, text::make_replace, text::make_regex_replace);
  } else if (type == "Precompiled") {
    return read_precompiled(reader);
  } else if (type == "Nmt") {
    normalizer = text::make_nmt();
  } else if (type == "ByteLevel") {
    normalizer = text::make_byte_alphabet();
  } else {
    return unknown_type(where, type,
                        "ByteLevel, Lowercase, NFC, NFD, NFKC, NFKD, Nmt, Precompiled, Prepend, "
                        "Replace, Sequence, Strip, StripAccents");
  }
  GAMELAN_RETURN_IF_ERROR(reader.status());
  return normalizer;
}

base::StatusOr<PreTokenizerJson> read_pre_tokenizer_json(const json& section,
                                                         const std::string& where) {
  PreTokenizerJson result;
  if (!section.is_null()) {
    GAMELAN_ASSIGN_OR_RETURN(result.pre_tokenizer, read_step(section, where, result.byte_level));
  }
  return result;
}

base::StatusOr<std::unique_ptr<text::TokenDecoder>> read_decoder_json(const json& section,
                                                                      const std::string& where) {
  if (section.is_null()) {
    return nullptr;
  }
  JsonReader reader(section, where);
  const std::string type = reader.string("type", std::nullopt);
  GAMELAN_RETURN_IF_ERROR(reader.status());
  std::unique_ptr<text::TokenDecoder> decoder;
  if (type == "Sequence") {
    std::vector<std::unique_ptr<text::TokenDecoder>> steps;
    GAMELAN_RETURN_IF_ERROR(read_list(section, "decoders", where, steps, read_decoder_json));
    return text::make_decoder_sequence(std::move(steps));
  }
  if (type == "ByteLevel") {
    decoder = text::make_byte_level_decoder();
  } else if (type == "ByteFallback") {
    decoder = text::make_byte_fallback_decoder();
  } else if (type == "Fuse") {
    decoder = text::make_fuse_decoder();
  } else if (type == "Replace") {
    return read_replace<text::TokenDecoder>(reader, text::make_replace_decoder,
                                            text::make_regex_replace_decoder);
  } else if (type == "Strip") {
    const std::string content = reader.string("content", " ");
    const auto start = static_cast<std::size_t>(reader.integer("start", 0, 0, 1'000'000));
    const auto stop = static_cast<std::size_t>(reader.integer("stop", 0, 0, 1'000'000));
    decoder = text::make_strip_decoder(content, start, content.empty() ? 0 : stop);
  } else if (type == "Metaspace") {
    const bool legacy = reader.boolean("add_prefix_space", true);
    const std::string scheme = reader.string("prepend_scheme", legacy ? "always" : "never");
    decoder =
        text::make_metaspace_decoder(reader.string("replacement", "\u2581"), scheme != "never");
  } else {
    return unknown_type(where, type,
                        "ByteFallback, ByteLevel, Fuse, Metaspace, Replace, Sequence, Strip");
  }
  GAMELAN_RETURN_IF_ERROR(reader.status());
  return decoder;
}

}  // namespace gamelan::io
