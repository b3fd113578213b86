#include "io/sentence_config.h"

#include <filesystem>
#include <string>

#include "io/json_file.h"

namespace gamelan::io {
namespace {

using nlohmann::json;

constexpr std::int64_t kLongest = std::int64_t{1} << 20;

base::Status read_pooling(const std::string& path, SentenceConfig& config) {
  GAMELAN_ASSIGN_OR_RETURN(const json file, load_json(path));
  JsonReader reader(file, path);
  const bool mean = reader.boolean("pooling_mode_mean_tokens", false);
  const bool cls = reader.boolean("pooling_mode_cls_token", false);
  for (const char* other : {"pooling_mode_max_tokens", "pooling_mode_mean_sqrt_len_tokens",
                            "pooling_mode_weightedmean_tokens", "pooling_mode_lasttoken"}) {
    if (reader.boolean(other, false)) {
      return base::unimplemented(
          "{}: {}: known are pooling_mode_mean_tokens and "
          "pooling_mode_cls_token",
          path, other);
    }
  }
  GAMELAN_RETURN_IF_ERROR(reader.status());
  if (mean == cls) {
    return base::invalid_argument(
        "{}: expected one of pooling_mode_mean_tokens and pooling_mode_cls_token to be true, got "
        "{}",
        path, mean ? "both" : "none");
  }
  config.pooling = mean ? SentenceConfig::Pooling::kMean : SentenceConfig::Pooling::kCls;
  return base::OkStatus();
}

base::Status read_modules(const std::string& folder, SentenceConfig& config) {
  const std::string path = folder + "/modules.json";
  GAMELAN_ASSIGN_OR_RETURN(const json modules, load_json(path));
  if (!modules.is_array()) {
    return base::invalid_argument("{}: expected an array of modules, got {}", path,
                                  describe(modules));
  }
  config.normalize = false;
  for (const json& module : modules) {
    JsonReader reader(module, path);
    const std::string type = reader.string("type", {});
    const std::string name = reader.string("path", "");
    GAMELAN_RETURN_IF_ERROR(reader.status());
    const std::string last = type.substr(type.rfind('.') + 1);
    if (last == "Pooling") {
      if (name.find("..") != name.npos || name.find('/') != name.npos) {
        return base::invalid_argument("{}: path: expected a folder beside it, got '{}'", path,
                                      name);
      }
      GAMELAN_RETURN_IF_ERROR(read_pooling(folder + "/" + name + "/config.json", config));
    } else if (last == "Normalize") {
      config.normalize = true;
    } else if (last != "Transformer") {
      return base::unimplemented("{}: module '{}': known are Transformer, Pooling, Normalize", path,
                                 type);
    }
  }
  return base::OkStatus();
}

}  // namespace

base::StatusOr<SentenceConfig> load_sentence_config(std::string_view folder) {
  SentenceConfig config;
  const std::string path(folder);
  if (std::filesystem::exists(path + "/modules.json")) {
    GAMELAN_RETURN_IF_ERROR(read_modules(path, config));
  }
  const std::string lengths = path + "/sentence_bert_config.json";
  if (std::filesystem::exists(lengths)) {
    GAMELAN_ASSIGN_OR_RETURN(const json file, load_json(lengths));
    JsonReader reader(file, lengths);
    const std::int64_t length = reader.integer("max_seq_length", 0, 0, kLongest);
    GAMELAN_RETURN_IF_ERROR(reader.status());
    if (length > 0) {
      config.max_seq_length = length;
    }
  }
  return config;
}

}  // namespace gamelan::io
