#pragma once

// tokenizer.json of every kind but WordPiece, which io/tokenizer_files.h reads
// (docs/formats/tokenizer_json.md).

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "base/status.h"
#include "text/pipeline_tokenizer.h"
#include "text/tokenizer.h"

namespace gamelan::io {

/// The tokenizer that `text`, a tokenizer.json with a model of type BPE or Unigram, describes.
/// `config` is the text of the tokenizer_config.json beside it, or empty. kUnimplemented names a
/// part that is not known and lists the known ones; every message begins with `name`.
base::StatusOr<std::unique_ptr<text::Tokenizer>> parse_pipeline_json(std::string_view text,
                                                                     std::string_view name,
                                                                     std::string_view config = {});

/// vocab.json with merges.txt: GPT-2's tokenizer, or Qwen2's when the config names its class.
base::StatusOr<std::unique_ptr<text::Tokenizer>> parse_vocab_and_merges(std::string_view vocab,
                                                                        std::string_view merges,
                                                                        std::string_view name,
                                                                        std::string_view config);

/// "model"/"type" of a tokenizer.json; BPE, Unigram or WordPiece by its keys when there is none.
base::StatusOr<std::string> tokenizer_json_kind(std::string_view text, std::string_view name);

}  // namespace gamelan::io
