#include <array>
#include <filesystem>
#include <map>
#include <set>

#include "io/int4_weights.h"
#include "io/int8_weights.h"
#include "io/json_file.h"
#include "io/safetensors.h"
#include "io/weight_files.h"
#include "io/weights.h"

namespace gamelan::io {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

/// A format that the weights of a HuggingFace folder come in.
struct FolderFormat {
  const char* file;
  const char* index;
  base::StatusOr<Weights::Part> (*open)(std::string_view path);
};

// The order is the order of preference.
constexpr std::array<FolderFormat, 2> kFormats = {
    {{"model.safetensors", "model.safetensors.index.json", open_safetensors_part},
     {"pytorch_model.bin", "pytorch_model.bin.index.json", open_torch_part}}};

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

base::StatusOr<std::vector<Weights::Part>> open_shards(const fs::path& folder,
                                                       const FolderFormat& format) {
  GAMELAN_ASSIGN_OR_RETURN(const auto index, load_index(folder / format.index));
  std::map<std::string, std::set<std::string, std::less<>>> names;  // of each shard
  std::vector<Weights::Part> parts;
  for (const auto& [tensor, shard] : index) {
    const auto [place, is_new] = names.try_emplace(shard);
    if (is_new) {
      GAMELAN_ASSIGN_OR_RETURN(Weights::Part part, format.open((folder / shard).string()));
      for (const WeightView& view : part.tensors) {
        place->second.insert(view.name);
      }
      parts.push_back(std::move(part));
    }
    if (!place->second.contains(tensor)) {
      return base::data_loss("{}: no tensor '{}', which {} says is there",
                             (folder / shard).string(), tensor, format.index);
    }
  }
  return parts;
}

}  // namespace

base::StatusOr<Weights::Part> open_safetensors_part(std::string_view path) {
  GAMELAN_ASSIGN_OR_RETURN(SafetensorsFile opened, SafetensorsFile::open(path));
  const auto file = std::make_shared<const SafetensorsFile>(std::move(opened));
  Weights::Part part;
  for (const SafetensorsView& view : file->tensors()) {
    part.tensors.push_back({view.name, view.dtype, view.shape, view.bytes, nullptr,
                            std::string_view(file->path()), true});
  }
  part.owner = file;
  return part;
}

base::StatusOr<Weights> open_weights(std::string_view folder) {
  const fs::path path(folder);
  for (const FolderFormat& format : kFormats) {
    if (has_file(path / format.file)) {
      std::vector<Weights::Part> parts(1);
      GAMELAN_ASSIGN_OR_RETURN(parts[0], format.open((path / format.file).string()));
      GAMELAN_RETURN_IF_ERROR(join_int4_weights(parts));
      GAMELAN_RETURN_IF_ERROR(join_int8_weights(parts));
      return Weights::create(std::string(folder), std::move(parts));
    }
    if (has_file(path / format.index)) {
      GAMELAN_ASSIGN_OR_RETURN(std::vector<Weights::Part> parts, open_shards(path, format));
      GAMELAN_RETURN_IF_ERROR(join_int4_weights(parts));
      GAMELAN_RETURN_IF_ERROR(join_int8_weights(parts));
      return Weights::create(std::string(folder), std::move(parts));
    }
  }
  std::string expected;
  for (const FolderFormat& format : kFormats) {
    expected += fmt::format("{}{} or {}", expected.empty() ? "" : ", ", format.file, format.index);
  }
  return base::not_found("{}: expected {}, found none of them", folder, expected);
}

}  // namespace gamelan::io
