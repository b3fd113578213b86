#include <optional>

#include "train/checkpoint/snapshot_files.h"

namespace gamelan::train {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 64;

/// Deeper nesting would cost stack when the value is printed or destroyed.
bool too_deep(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxDepth) {
        return true;
      }
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

std::optional<std::int64_t> count(const json& object, const char* name) {
  const json value = object.value(name, json());
  if (!value.is_number_integer() || value.get<std::int64_t>() < 0) {
    return std::nullopt;
  }
  return value.get<std::int64_t>();
}

base::StatusOr<Progress> progress_from(const json& value, std::string_view where) {
  Progress progress;
  const std::pair<const char*, std::int64_t*> fields[] = {{"epoch", &progress.epoch},
                                                          {"step", &progress.step},
                                                          {"position", &progress.position},
                                                          {"samples", &progress.samples}};
  for (const auto& [name, field] : fields) {
    const std::optional<std::int64_t> number =
        value.is_object() ? count(value, name) : std::nullopt;
    if (!number) {
      return base::data_loss("{}: expected a count '{}' in 'progress', got none", where, name);
    }
    *field = *number;
  }
  return progress;
}

}  // namespace

base::StatusOr<json> parse_json(std::string_view text, std::string_view where) {
  if (too_deep(text)) {
    return base::data_loss("{}: expected JSON nested at most {} deep, got deeper", where,
                           kMaxDepth);
  }
  try {
    return json::parse(text);
  } catch (const json::exception& error) {
    return base::data_loss("{}: expected JSON: {}", where, error.what());
  }
}

json snapshot_to_json(const Snapshot& snapshot) {
  json ranks = json::array();
  for (const RankState& rank : snapshot.ranks) {
    ranks.push_back(rank.extra);
  }
  const Progress& progress = snapshot.progress;
  return {{"progress",
           {{"epoch", progress.epoch},
            {"step", progress.step},
            {"position", progress.position},
            {"samples", progress.samples}}},
          {"world_size", snapshot.ranks.size()},
          {"optimizer",
           {{"type", snapshot.optimizer.type}, {"param_groups", snapshot.optimizer.param_groups}}},
          {"scheduler", snapshot.scheduler},
          {"ranks", ranks},
          {"extra", snapshot.extra}};
}

base::StatusOr<Snapshot> snapshot_from_json(const json& state, std::string_view where) {
  if (!state.is_object()) {
    return base::data_loss("{}: expected an object, got {}", where, state.type_name());
  }
  Snapshot snapshot;
  GAMELAN_ASSIGN_OR_RETURN(snapshot.progress,
                           progress_from(state.value("progress", json()), where));
  const json ranks = state.value("ranks", json());
  const std::optional<std::int64_t> world_size = count(state, "world_size");
  if (!ranks.is_array() || !world_size || static_cast<std::uint64_t>(*world_size) != ranks.size()) {
    return base::data_loss("{}: expected 'world_size' and as many 'ranks', got {} and {}", where,
                           world_size.value_or(-1), ranks.is_array() ? ranks.size() : 0);
  }
  for (const json& rank : ranks) {
    snapshot.ranks.push_back({at::Tensor(), rank});
  }
  const json optimizer = state.value("optimizer", json());
  if (!optimizer.is_object() || !optimizer.value("type", json()).is_string() ||
      !optimizer.value("param_groups", json()).is_array()) {
    return base::data_loss("{}: expected 'optimizer' with 'type' and 'param_groups', got none",
                           where);
  }
  snapshot.optimizer.type = optimizer["type"].get<std::string>();
  snapshot.optimizer.param_groups = optimizer["param_groups"];
  snapshot.scheduler = state.value("scheduler", json());
  snapshot.extra = state.value("extra", json());
  return snapshot;
}

}  // namespace gamelan::train
