#pragma once

// What the fuzz targets of text/ and io/ do with their bytes. tests/io/mutation_test.cc runs the
// same functions over seeded mutations, so that every run of the tests covers a little of it.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "io/bert_config.h"
#include "io/checksum.h"
#include "io/ft_config.h"
#include "io/gguf.h"
#include "io/int4_weights.h"
#include "io/int8_weights.h"
#include "io/line_reader.h"
#include "io/llama2c.h"
#include "io/model_config.h"
#include "io/safetensors.h"
#include "io/sentence_piece_model.h"
#include "io/text_dataset.h"
#include "io/tokenizer_files.h"
#include "io/tokenizer_json.h"
#include "io/torch_archive.h"
#include "io/weight_rows.h"
#include "text/byte_trie.h"
#include "text/utf8.h"

namespace gamelan::fuzz {

inline void require(bool condition) {
  if (!condition) {
    std::abort();
  }
}

/// Reads some numbers of every tensor, wherever its bytes lie.
inline void read_some(const std::vector<io::WeightView>& tensors) {
  for (const io::WeightView& view : tensors) {
    const std::int64_t rows = std::min<std::int64_t>(io::rows_of(view), 3);
    const std::int64_t columns = std::min<std::int64_t>(io::columns_of(view), 300);
    std::vector<float> numbers(static_cast<std::size_t>(rows * columns));
    io::read_block(view, {io::rows_of(view) - rows, rows, io::columns_of(view) - columns, columns},
                   numbers);
  }
}

/// What is accepted has tensors that tile the data exactly; quantised ones are joined as a
/// folder's.
inline void safetensors(std::string_view bytes) {
  const auto span = std::as_bytes(std::span(bytes.data(), bytes.size()));
  const auto file = io::SafetensorsFile::parse(span, "fuzz");
  if (!file.ok()) {
    require(base::message(file.status()).starts_with("fuzz"));
    return;
  }
  std::size_t total = 0;
  for (const io::SafetensorsView& view : file->tensors()) {
    require(file->find(view.name) == &view);
    io::crc32c(view.bytes);  // touches every byte
    total += view.bytes.size();
  }
  require(total <= bytes.size());
  std::vector<io::Weights::Part> parts(1);
  for (const io::SafetensorsView& view : file->tensors()) {
    parts[0].tensors.push_back({view.name, view.dtype, view.shape, view.bytes, nullptr, "fuzz"});
  }
  for (const auto join : {io::join_int4_weights, io::join_int8_weights}) {
    if (const base::Status joined = join(parts); !joined.ok()) {
      require(base::message(joined).starts_with("fuzz"));
      return;
    }
  }
  for (const io::Weights::Part& part : parts) {
    read_some(part.tensors);
  }
}

/// What is accepted survives being written and read again.
inline void bert_config(std::string_view bytes) {
  const auto config = io::parse_bert_config(bytes, "fuzz");
  if (config.ok() && config->num_labels < 1000) {
    require(io::parse_bert_config(io::to_json(*config), "again").ok());
  }
}

/// What is accepted has sizes that a program can compute with.
inline void model_config(std::string_view bytes) {
  auto config = io::parse_model_config(bytes, "fuzz");
  if (!config.ok()) {
    require(base::message(config.status()).starts_with("fuzz"));
    return;
  }
  require(config->num_heads % config->num_kv_heads == 0 && config->head_dim > 0);
  io::window_of_layer(*config, config->num_layers - 1);
  if (config->positions == io::Positions::kRope && config->rope.rotary_dim < 4096) {
    io::rope_frequencies(config->rope, config->max_positions, 2 * config->max_positions);
  }
  io::apply_generation_config(bytes, "fuzz", *config).IgnoreError();
}

/// What is accepted is a model, and survives being written and read again.
inline void ft_config(std::string_view bytes) {
  const auto config = io::parse_ft_config(bytes, "fuzz", nullptr);
  if (!config.ok()) {
    require(base::message(config.status()).starts_with("fuzz"));
    return;
  }
  require(io::to_model_config(*config, true).ok());
  const auto again = io::parse_ft_config(io::format_ft_config(*config), "again", nullptr);
  require(again.ok() && again->hidden_size() == config->hidden_size());
}

inline void torch_archive(std::string_view bytes) {
  const auto span = std::as_bytes(std::span(bytes.data(), bytes.size()));
  const auto part = io::parse_torch_archive(span, "fuzz");
  if (!part.ok()) {
    require(base::message(part.status()).starts_with("fuzz"));
    return;
  }
  read_some(part->tensors);
}

/// A checkpoint and a tokenizer.bin.
inline void llama2c(std::string_view bytes) {
  const auto span = std::as_bytes(std::span(bytes.data(), bytes.size()));
  if (const auto model = io::parse_llama2c(span, "fuzz"); model.ok()) {
    read_some(model->weights.tensors());
  } else {
    require(base::message(model.status()).starts_with("fuzz"));
  }
  if (const auto tokenizer = io::parse_llama2c_tokenizer(span, "fuzz"); tokenizer.ok()) {
    (*tokenizer)->decode((*tokenizer)->encode(bytes.substr(0, 100)), true);
  }
}

/// Ids of the vocabulary, and a text from any ids.
inline void use_tokenizer(const text::Tokenizer& tokenizer) {
  const auto ids = tokenizer.encode("a \xef\xac\x81x\xff<sep> the king's  \xe4\xb8\xad\n12345");
  for (const text::TokenId id : ids) {
    require(id >= 0 && id < tokenizer.vocabulary_size());
  }
  require(text::is_valid_utf8(tokenizer.decode(ids, false)));
  tokenizer.decode(std::vector<text::TokenId>{0, 1, -1, 300, 2}, true);
}

/// A model and its tokenizer.
inline void gguf(std::string_view bytes) {
  const auto span = std::as_bytes(std::span(bytes.data(), bytes.size()));
  if (const auto model = io::parse_gguf(span, "fuzz"); model.ok()) {
    read_some(model->weights.tensors());
  } else {
    require(base::message(model.status()).starts_with("fuzz"));
  }
  if (const auto tokenizer = io::parse_gguf_tokenizer(span, "fuzz"); tokenizer.ok()) {
    use_tokenizer(**tokenizer);
  } else {
    require(base::message(tokenizer.status()).starts_with("fuzz"));
  }
}

/// A tokenizer.json of the kinds that io/tokenizer_json.h reads.
inline void tokenizer_json(std::string_view bytes) {
  const auto tokenizer = io::parse_pipeline_json(bytes, "fuzz");
  if (tokenizer.ok()) {
    use_tokenizer(**tokenizer);
  } else {
    require(base::message(tokenizer.status()).starts_with("fuzz"));
  }
}

/// What is accepted turns any text into ids of the vocabulary.
inline void sentence_piece(std::string_view bytes) {
  auto model = io::parse_sentence_piece_model(bytes, "fuzz");
  if (!model.ok()) {
    require(base::message(model.status()).starts_with("fuzz"));
    return;
  }
  const auto made = text::SentencePieceTokenizer::create(*std::move(model), "fuzz");
  if (!made.ok()) {
    return;
  }
  for (const text::TokenId id :
       (*made)->encode("a \xef\xac\x81x\xff<sep> the king's \xe4\xb8\xad")) {
    require(id >= 0 && id < (*made)->vocabulary_size());
  }
}

/// The first byte picks vocab.txt, tokenizer.json or tokenizer_config.json.
inline void tokenizer_files(std::string_view bytes) {
  if (bytes.empty()) {
    return;
  }
  const int kind = static_cast<std::uint8_t>(bytes.front()) % 3;
  bytes.remove_prefix(1);
  text::WordPieceModel model;
  if (kind == 2) {
    io::apply_tokenizer_config(bytes, "fuzz", model).IgnoreError();
    return;
  }
  const auto parsed =
      kind == 0 ? io::parse_vocab_txt(bytes, "fuzz") : io::parse_tokenizer_json(bytes, "fuzz");
  if (!parsed.ok()) {
    return;
  }
  std::vector<text::ByteTrie::Entry> entries;
  std::unordered_map<std::string_view, std::int32_t> unique;
  for (const std::string& token : parsed->tokens) {
    if (!token.empty() && unique.emplace(token, static_cast<std::int32_t>(unique.size())).second) {
      entries.push_back({token, static_cast<std::int32_t>(unique.size() - 1)});
    }
  }
  const text::ByteTrie trie(entries);
  for (const text::ByteTrie::Entry& entry : entries) {
    const char* const begin = entry.key.data();
    const auto match = trie.longest_match(text::ByteTrie::kRoot, begin, begin + entry.key.size());
    require(match.value == entry.value && match.end == begin + entry.key.size());
  }
}

/// The first byte picks the format; the rest are the lines. What is accepted has valid texts and
/// labels.
inline void dataset(std::string_view bytes) {
  if (bytes.empty()) {
    return;
  }
  const auto kind = static_cast<std::uint8_t>(bytes.front());
  bytes.remove_prefix(1);
  io::TextDatasetOptions options;
  options.format = kind % 3 == 0   ? io::DatasetFormat::kTsv
                   : kind % 3 == 1 ? io::DatasetFormat::kCsv
                                   : io::DatasetFormat::kJsonl;
  options.has_header = (kind & 4U) != 0;
  if (!options.has_header && options.format != io::DatasetFormat::kJsonl) {
    options.columns = {.text = "1", .label = "0"};
  }
  options.label_transform =
      (kind & 8U) != 0 ? io::LabelTransform::kSign : io::LabelTransform::kNone;
  const auto data = io::read_text_dataset(io::LineReader::over(bytes, "fuzz"), options);
  if (!data.ok()) {
    require(base::message(data.status()).find("fuzz") != std::string_view::npos);
    return;
  }
  for (const io::TextExample& example : data->examples) {
    require(text::is_valid_utf8(example.text));
    require(example.label >= 0 && example.label < static_cast<std::int64_t>(data->labels.size()));
  }
}

/// Any bytes are a text: the ids are in range and replacing invalid bytes first changes nothing.
inline void encode(const text::WordPieceTokenizer& tokenizer, std::string_view bytes) {
  const auto ids = tokenizer.encode(bytes);
  for (const text::TokenId id : ids) {
    require(!tokenizer.token_of(id).empty());
  }
  require(ids == tokenizer.encode(text::replace_invalid_utf8(bytes)));
}

}  // namespace gamelan::fuzz
