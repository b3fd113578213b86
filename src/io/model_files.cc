#include "io/model_files.h"

#include <filesystem>
#include <set>
#include <utility>
#include <vector>

#include "base/log.h"
#include "io/faster_transformer.h"
#include "io/gguf.h"
#include "io/gguf_file.h"
#include "io/gguf_parts.h"
#include "io/llama2c.h"
#include "io/mapped_file.h"

namespace gamelan::io {
namespace {

namespace fs = std::filesystem;

base::StatusOr<ModelFiles> load_huggingface_folder(const fs::path& folder) {
  const std::string name = folder.string();
  GAMELAN_ASSIGN_OR_RETURN(ModelConfig config, load_model_config(name));
  GAMELAN_ASSIGN_OR_RETURN(Weights weights, open_weights(name));
  return ModelFiles{std::move(config), std::move(weights), name};
}

/// tokenizer.bin, else the only tok*.bin, beside a checkpoint; empty when there is none.
std::string tokenizer_beside(const fs::path& checkpoint) {
  const fs::path folder = checkpoint.has_parent_path() ? checkpoint.parent_path() : fs::path(".");
  std::error_code error;
  if (fs::exists(folder / "tokenizer.bin", error)) {
    return (folder / "tokenizer.bin").string();
  }
  std::vector<std::string> found;
  for (fs::directory_iterator i(folder, error), end; !error && i != end; i.increment(error)) {
    const std::string name = i->path().filename().string();
    if (name.starts_with("tok") && name.ends_with(".bin")) {
      found.push_back(i->path().string());
    }
  }
  return found.size() == 1 ? found.front() : "";
}

/// The only *.gguf of a folder, or the first part of the only model in several; empty when there is
/// none, or several models.
std::string only_gguf(const fs::path& folder) {
  std::error_code error;
  std::set<std::string> found;
  for (fs::directory_iterator i(folder, error), end; !error && i != end; i.increment(error)) {
    if (i->path().extension() == ".gguf") {
      found.insert(first_gguf_part(i->path().string()));
    }
  }
  return found.size() == 1 ? *found.begin() : "";
}

base::StatusOr<ModelFiles> load_faster_transformer(const std::string& path) {
  GAMELAN_ASSIGN_OR_RETURN(FasterTransformerModel model, open_faster_transformer(path));
  for (const std::string& note : model.notes) {
    base::log().info("{}", note);
  }
  return ModelFiles{std::move(model.config), std::move(model.weights), ""};
}

base::StatusOr<ModelFiles> load_file(const fs::path& path) {
  GAMELAN_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::open(path.string()));
  if (is_gguf(file.bytes())) {
    return open_gguf(path.string());
  }
  if (is_llama2c(file.bytes())) {
    GAMELAN_ASSIGN_OR_RETURN(ModelFiles model, open_llama2c(path.string()));
    model.tokenizer_path = tokenizer_beside(path);
    return model;
  }
  return base::invalid_argument(
      "{}: expected a GGUF file, a llama2.c checkpoint or a model's folder, got a "
      "file of {} bytes that starts as none of these",
      path.string(), file.bytes().size());
}

}  // namespace

base::StatusOr<ModelFiles> load_model_files(std::string_view path) {
  const fs::path place(path);
  std::error_code error;
  const fs::file_status status = fs::status(place, error);
  if (!fs::exists(status)) {
    return base::not_found("{}: expected a model's folder or file, found nothing", path);
  }
  if (!fs::is_directory(status)) {
    return load_file(place);
  }
  if (fs::exists(place / "config.json", error)) {
    return load_huggingface_folder(place);
  }
  if (is_faster_transformer_folder(path)) {
    return load_faster_transformer(std::string(path));
  }
  if (const std::string file = only_gguf(place); !file.empty()) {
    return open_gguf(file);
  }
  return base::invalid_argument(
      "{}: expected config.json (a HuggingFace folder), config.ini (a FasterTransformer folder, "
      "or one *-gpu folder that holds it) or one *.gguf (or its parts), found none of them",
      path);
}

}  // namespace gamelan::io
