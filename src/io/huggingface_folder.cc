#include "io/huggingface_folder.h"

#include <filesystem>
#include <map>
#include <set>

#include "io/atomic_file.h"
#include "io/json_file.h"
#include "io/tokenizer_files.h"

namespace gamelan::io {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kWeightsName = "model.safetensors";
constexpr const char* kIndexName = "model.safetensors.index.json";

bool has_file(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

/// tensor name -> shard, both as the index says.
base::StatusOr<std::map<std::string, std::string>> load_index(const fs::path& path) {
  GAMELAN_ASSIGN_OR_RETURN(const json object, load_json(path.string()));
  JsonReader reader(object, path.string());
  const json* map = reader.object("weight_map");
  if (map == nullptr) {
    reader.fail("'weight_map' is missing");
  }
  GAMELAN_RETURN_IF_ERROR(reader.status());
  std::map<std::string, std::string> shards;
  for (const auto& [tensor, file] : map->items()) {
    // A shard lies in the same folder: a path could point anywhere.
    if (!file.is_string() || file.get<std::string>().empty() ||
        fs::path(file.get<std::string>()).filename() != file.get<std::string>() ||
        file.get<std::string>().starts_with('.')) {
      reader.fail("weight_map." + tensor, "the name of a file in the same folder", file);
      return reader.status();
    }
    shards[tensor] = file.get<std::string>();
  }
  return shards;
}

base::StatusOr<std::vector<SafetensorsFile>> open_shards(const fs::path& folder) {
  GAMELAN_ASSIGN_OR_RETURN(const auto index, load_index(folder / kIndexName));
  std::map<std::string, std::size_t> place;
  std::vector<SafetensorsFile> files;
  for (const auto& [tensor, shard] : index) {
    if (!place.contains(shard)) {
      GAMELAN_ASSIGN_OR_RETURN(SafetensorsFile file,
                               SafetensorsFile::open((folder / shard).string()));
      place[shard] = files.size();
      files.push_back(std::move(file));
    }
    if (files[place[shard]].find(tensor) == nullptr) {
      return base::data_loss("{}: no tensor '{}', which {} says is there",
                             files[place[shard]].path(), tensor, kIndexName);
    }
  }
  std::set<std::string_view> seen;
  for (const SafetensorsFile& file : files) {
    for (const SafetensorsView& view : file.tensors()) {
      if (!seen.insert(view.name).second) {
        return base::data_loss("{}: tensor '{}' is in another shard as well", file.path(),
                               view.name);
      }
    }
  }
  return files;
}

}  // namespace

base::StatusOr<HuggingFaceWeights> HuggingFaceWeights::open(std::string_view folder) {
  const fs::path path(folder);
  HuggingFaceWeights weights;
  if (has_file(path / kWeightsName)) {
    GAMELAN_ASSIGN_OR_RETURN(SafetensorsFile file,
                             SafetensorsFile::open((path / kWeightsName).string()));
    weights.files_.push_back(std::move(file));
    return weights;
  }
  if (has_file(path / kIndexName)) {
    GAMELAN_ASSIGN_OR_RETURN(weights.files_, open_shards(path));
    return weights;
  }
  if (has_file(path / "pytorch_model.bin")) {
    return base::not_found(
        "{}: has pytorch_model.bin but no {}; save the model with safetensors, for example "
        "`model.save_pretrained(folder)` of transformers",
        folder, kWeightsName);
  }
  return base::not_found("{}: expected {} or {}, found neither", folder, kWeightsName, kIndexName);
}

const SafetensorsView* HuggingFaceWeights::find(std::string_view name) const {
  for (const SafetensorsFile& file : files_) {
    if (const SafetensorsView* view = file.find(name)) {
      return view;
    }
  }
  return nullptr;
}

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
