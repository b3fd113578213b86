#pragma once

// The sections of a tokenizer.json, one function each. In .cc files only: it brings nlohmann's
// header.

#include <memory>
#include <string>
#include <vector>

#include "io/json_file.h"
#include "text/pipeline_tokenizer.h"
#include "text/subword_encoder.h"

namespace gamelan::io {

/// Each takes the section (null: nothing) and the name of its place for messages.
base::StatusOr<std::unique_ptr<text::Normalizer>> read_normalizer_json(
    const nlohmann::json& section, const std::string& where);

struct PreTokenizerJson {
  std::unique_ptr<text::PreTokenizer> pre_tokenizer;
  /// The last step is ByteLevel: the vocabulary is spelled in the byte alphabet.
  bool byte_level = false;
};
base::StatusOr<PreTokenizerJson> read_pre_tokenizer_json(const nlohmann::json& section,
                                                         const std::string& where);

base::StatusOr<std::unique_ptr<text::TokenDecoder>> read_decoder_json(const nlohmann::json& section,
                                                                      const std::string& where);

struct ModelJson {
  std::unique_ptr<text::SubwordEncoder> encoder;
  std::vector<std::string> tokens;
};
/// A model of type BPE or Unigram.
base::StatusOr<ModelJson> read_model_json(const nlohmann::json& section, const std::string& where,
                                          bool byte_level);

/// "type", or what the other keys tell.
std::string model_kind(JsonReader& reader, const nlohmann::json& section);

/// Appends `parts.added_tokens` and fills `parts.tokens` up; `tokens` is a list of objects with an
/// id.
base::Status read_added_tokens_json(const nlohmann::json& tokens, const std::string& where,
                                    text::TokenizerParts& parts);

/// What stands around one text: `parts.prefix` and `parts.suffix`. Needs `parts.tokens`.
base::Status read_post_processor_json(const nlohmann::json& section, const std::string& where,
                                      text::TokenizerParts& parts);

/// Puts every token of the object `vocabulary` at its id.
base::Status read_vocabulary_json(const nlohmann::json& vocabulary, const std::string& where,
                                  std::vector<std::string>& tokens);

/// kUnimplemented with the known types.
base::Status unknown_type(const std::string& where, const std::string& type,
                          std::string_view known);

}  // namespace gamelan::io
