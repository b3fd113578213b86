#include "io/huggingface_folder.h"

#include <filesystem>

#include "io/atomic_file.h"
#include "io/tokenizer_files.h"

namespace gamelan::io {

namespace fs = std::filesystem;

base::StatusOr<BertConfig> load_bert_config_of_folder(std::string_view folder) {
  return load_bert_config((fs::path(folder) / "config.json").string());
}

base::Status save_bert_folder(std::string_view folder, const BertConfig& config,
                              const text::WordPieceTokenizer& tokenizer) {
  GAMELAN_RETURN_IF_ERROR(make_folders(folder));
  GAMELAN_RETURN_IF_ERROR(write_file((fs::path(folder) / "config.json").string(), to_json(config)));
  return save_tokenizer_files(folder, tokenizer,
                              static_cast<std::size_t>(config.max_position_embeddings));
}

}  // namespace gamelan::io
