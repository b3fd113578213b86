#include "train/checkpoint/snapshot_files.h"

#include <ATen/ATen.h>

#include <array>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "io/atomic_file.h"
#include "io/checksum.h"
#include "io/mapped_file.h"
#include "io/safetensors.h"
#include "io/safetensors_writer.h"
#include "train/torch_view.h"

namespace gamelan::train {
namespace {

using nlohmann::json;
using Tensors = std::map<std::string, at::Tensor>;

constexpr const char* kFormat = "gamelan-snapshot";
constexpr const char* kManifest = "manifest.json";
constexpr const char* kState = "state.json";
constexpr const char* kModel = "model.safetensors";
constexpr const char* kOptimizer = "optimizer.safetensors";
constexpr const char* kRanks = "ranks.safetensors";
constexpr std::array<const char*, 4> kFiles = {kModel, kOptimizer, kRanks, kState};

/// Larger JSON files are refused: a state has a few hundred bytes a rank and a parameter.
constexpr std::uint64_t kMaxJsonBytes = 256u << 20;

std::string join(const std::string& folder, const char* file) {
  return folder + "/" + file;
}

base::Status save_tensors(const std::string& path, const Tensors& tensors) {
  std::vector<at::Tensor> contiguous;  // keeps the bytes of the views alive
  std::vector<io::SafetensorsView> views;
  for (const auto& [name, tensor] : tensors) {
    if (!tensor.is_cpu() || tensor.layout() != at::kStrided) {
      return base::invalid_argument("{}: tensor '{}': expected a dense tensor on the CPU", path,
                                    name);
    }
    contiguous.push_back(tensor.detach().contiguous());
    const at::Tensor& dense = contiguous.back();
    views.push_back({name, dtype_of(dense.scalar_type()), dense.sizes().vec(),
                     std::as_bytes(std::span(static_cast<const char*>(dense.data_ptr()),
                                             static_cast<std::size_t>(dense.nbytes())))});
  }
  return io::save_safetensors(path, views, {{"format", "pt"}});
}

base::StatusOr<Tensors> load_tensors(const std::string& path) {
  GAMELAN_ASSIGN_OR_RETURN(const io::SafetensorsFile file, io::SafetensorsFile::open(path));
  Tensors tensors;
  for (const io::SafetensorsView& view : file.tensors()) {
    at::Tensor tensor = at::empty(view.shape, at::dtype(scalar_type_of(view.dtype)));
    if (!view.bytes.empty()) {
      std::memcpy(tensor.data_ptr(), view.bytes.data(), view.bytes.size());
    }
    tensors.emplace(view.name, std::move(tensor));
  }
  return tensors;
}

Tensors flatten_optimizer(const OptimizerState& optimizer) {
  Tensors flat;
  for (const auto& [number, tensors] : optimizer.state) {
    for (const auto& [name, tensor] : tensors) {
      flat.emplace(fmt::format("state.{}.{}", number, name), tensor);
    }
  }
  return flat;
}

/// "state.12.exp_avg" -> {12, "exp_avg"}; nullopt for anything else.
std::optional<std::pair<std::int64_t, std::string>> split_numbered(std::string_view name,
                                                                   std::string_view prefix) {
  if (!name.starts_with(prefix)) {
    return std::nullopt;
  }
  name.remove_prefix(prefix.size());
  const std::size_t dot = name.find('.');
  std::int64_t number = -1;
  const auto [end, error] =
      std::from_chars(name.data(), name.data() + std::min(dot, name.size()), number);
  if (error != std::errc() || dot == name.npos || end != name.data() + dot || number < 0) {
    return std::nullopt;
  }
  return std::pair(number, std::string(name.substr(dot + 1)));
}

base::Status add_optimizer_tensors(const Tensors& flat, const std::string& path,
                                   Snapshot& snapshot) {
  for (const auto& [name, tensor] : flat) {
    const auto numbered = split_numbered(name, "state.");
    if (!numbered) {
      return base::data_loss("{}: expected tensors named 'state.<number>.<name>', got '{}'", path,
                             name);
    }
    snapshot.optimizer.state[numbered->first].emplace(numbered->second, tensor);
  }
  return base::OkStatus();
}

base::Status add_rank_tensors(const Tensors& flat, const std::string& path, Snapshot& snapshot) {
  for (const auto& [name, tensor] : flat) {
    const auto numbered = split_numbered(name, "rank.");
    const auto ranks = static_cast<std::int64_t>(snapshot.ranks.size());
    if (!numbered || numbered->first >= ranks || numbered->second != "rng") {
      return base::data_loss("{}: expected tensors 'rank.0.rng' to 'rank.{}.rng', got '{}'", path,
                             ranks - 1, name);
    }
    snapshot.ranks[static_cast<std::size_t>(numbered->first)].rng = tensor;
  }
  for (std::size_t r = 0; r < snapshot.ranks.size(); ++r) {
    if (!snapshot.ranks[r].rng.defined()) {
      return base::data_loss("{}: expected a tensor 'rank.{}.rng', got none", path, r);
    }
  }
  return base::OkStatus();
}

base::StatusOr<json> read_json(const std::string& path) {
  GAMELAN_ASSIGN_OR_RETURN(const io::MappedFile file, io::MappedFile::open(path));
  if (file.bytes().size() > kMaxJsonBytes) {
    return base::data_loss("{}: expected at most {} bytes, got {}", path, kMaxJsonBytes,
                           file.bytes().size());
  }
  return parse_json(file.text(), path);
}

base::StatusOr<json> read_manifest(const std::string& folder) {
  const std::string path = join(folder, kManifest);
  base::StatusOr<json> manifest = read_json(path);
  if (absl::IsNotFound(manifest.status())) {
    return base::data_loss("{}: the manifest is missing", path);
  }
  GAMELAN_RETURN_IF_ERROR(manifest.status());
  const json& m = *manifest;
  if (!m.is_object() || m.value("format", json()) != kFormat ||
      !m.value("version", json()).is_number_integer() ||
      !m.value("step", json()).is_number_integer() || !m.value("files", json()).is_object()) {
    return base::data_loss("{}: expected the manifest of a {}, got something else", path, kFormat);
  }
  const auto version = m["version"].get<std::int64_t>();
  if (version != kSnapshotVersion) {
    return base::failed_precondition(
        "{}: expected version {} of the snapshot format, got {}: written by another version of "
        "Gamelan",
        path, kSnapshotVersion, version);
  }
  return manifest;
}

base::Status check_file(const std::string& folder, const char* name, const json& files) {
  const std::string path = join(folder, name);
  const json entry = files.value(name, json());
  if (!entry.is_object() || !entry.value("bytes", json()).is_number_unsigned() ||
      !entry.value("sha256", json()).is_string()) {
    return base::data_loss("{}: expected size and sha256 of '{}', got none",
                           join(folder, kManifest), name);
  }
  std::error_code error;
  const std::uint64_t size = std::filesystem::file_size(path, error);
  if (error == std::errc::no_such_file_or_directory) {
    return base::data_loss("{}: the file is missing", path);
  }
  if (error) {
    return base::errno_status(error.value(), "read {}", path);
  }
  const auto expected_size = entry["bytes"].get<std::uint64_t>();
  if (size != expected_size) {
    return base::data_loss("{}: expected {} bytes, got {}", path, expected_size, size);
  }
  GAMELAN_ASSIGN_OR_RETURN(const std::string digest, io::sha256_of_file(path));
  const auto& expected = entry["sha256"].get_ref<const std::string&>();
  if (digest != expected) {
    return base::data_loss("{}: expected sha256 {}, got {}", path, expected, digest);
  }
  return base::OkStatus();
}

/// A snapshot whose bytes are as written but that no reader understands is as lost as one that is
/// damaged.
base::Status as_data_loss(const base::Status& status) {
  if (status.ok() || absl::IsDataLoss(status) || absl::IsResourceExhausted(status)) {
    return status;
  }
  return base::data_loss("{}", base::message(status));
}

/// `dump` throws for text that is not UTF-8.
base::StatusOr<std::string> dump(const json& value, const std::string& path) {
  try {
    return value.dump(1) + "\n";
  } catch (const json::exception& error) {
    return base::invalid_argument("{}: {}", path, error.what());
  }
}

base::Status write_manifest(const std::string& folder, std::int64_t step) {
  json files = json::object();
  for (const char* name : kFiles) {
    const std::string path = join(folder, name);
    GAMELAN_ASSIGN_OR_RETURN(const std::string digest, io::sha256_of_file(path));
    std::error_code error;
    const std::uint64_t size = std::filesystem::file_size(path, error);
    if (error) {
      return base::errno_status(error.value(), "read {}", path);
    }
    files[name] = {{"bytes", size}, {"sha256", digest}};
  }
  const json manifest = {
      {"format", kFormat}, {"version", kSnapshotVersion}, {"step", step}, {"files", files}};
  return io::write_file(join(folder, kManifest), manifest.dump(1) + "\n");
}

}  // namespace

base::Status write_snapshot_files(const std::string& folder, const Snapshot& snapshot) {
  GAMELAN_RETURN_IF_ERROR(save_tensors(join(folder, kModel), snapshot.model));
  GAMELAN_RETURN_IF_ERROR(
      save_tensors(join(folder, kOptimizer), flatten_optimizer(snapshot.optimizer)));
  Tensors ranks;
  for (std::size_t r = 0; r < snapshot.ranks.size(); ++r) {
    ranks.emplace(fmt::format("rank.{}.rng", r), snapshot.ranks[r].rng);
  }
  GAMELAN_RETURN_IF_ERROR(save_tensors(join(folder, kRanks), ranks));
  const std::string state_path = join(folder, kState);
  GAMELAN_ASSIGN_OR_RETURN(const std::string state, dump(snapshot_to_json(snapshot), state_path));
  GAMELAN_RETURN_IF_ERROR(io::write_file(state_path, state));
  return write_manifest(folder, snapshot.progress.step);
}

base::StatusOr<std::int64_t> read_snapshot_step(const std::string& folder) {
  GAMELAN_ASSIGN_OR_RETURN(const json manifest, read_manifest(folder));
  return manifest["step"].get<std::int64_t>();
}

base::StatusOr<Snapshot> read_snapshot_files(const std::string& folder) {
  GAMELAN_ASSIGN_OR_RETURN(const json manifest, read_manifest(folder));
  for (const char* name : kFiles) {
    GAMELAN_RETURN_IF_ERROR(check_file(folder, name, manifest["files"]));
  }
  const std::string state_path = join(folder, kState);
  GAMELAN_ASSIGN_OR_RETURN(const json state, read_json(state_path));
  GAMELAN_ASSIGN_OR_RETURN(Snapshot snapshot, snapshot_from_json(state, state_path));
  if (snapshot.progress.step != manifest["step"].get<std::int64_t>()) {
    return base::data_loss("{}: expected step {} as in the manifest, got {}", state_path,
                           manifest["step"].get<std::int64_t>(), snapshot.progress.step);
  }
  base::StatusOr<Tensors> model = load_tensors(join(folder, kModel));
  GAMELAN_RETURN_IF_ERROR(as_data_loss(model.status()));
  snapshot.model = *std::move(model);
  base::StatusOr<Tensors> optimizer = load_tensors(join(folder, kOptimizer));
  GAMELAN_RETURN_IF_ERROR(as_data_loss(optimizer.status()));
  GAMELAN_RETURN_IF_ERROR(add_optimizer_tensors(*optimizer, join(folder, kOptimizer), snapshot));
  base::StatusOr<Tensors> ranks = load_tensors(join(folder, kRanks));
  GAMELAN_RETURN_IF_ERROR(as_data_loss(ranks.status()));
  GAMELAN_RETURN_IF_ERROR(add_rank_tensors(*ranks, join(folder, kRanks), snapshot));
  return snapshot;
}

}  // namespace gamelan::train
