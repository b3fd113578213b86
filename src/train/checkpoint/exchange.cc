#include "train/checkpoint/exchange.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>

#include "dist/collective/process_group.h"
#include "tensor/buffer_view.h"
#include "train/checkpoint/snapshot_files.h"
#include "train/torch_view.h"

namespace gamelan::train {
namespace {

tensor::BufferView bytes_of(std::string& text) {
  return {text.data(), text.size(), tensor::DType::kU8, {}};
}

bool alone(const dist::ProcessGroup* group) {
  return group == nullptr || group->size() == 1;
}

/// Tensors as rank 0's header lists them: allocated elsewhere, then filled by broadcasts in order.
void broadcast_tensors(dist::ProcessGroup& group,
                       std::vector<std::pair<std::string, at::Tensor>>& list) {
  nlohmann::json header = nlohmann::json::array();
  for (const auto& [name, tensor] : list) {
    header.push_back({{"name", name},
                      {"dtype", static_cast<int>(dtype_of(tensor.scalar_type()))},
                      {"shape", tensor.sizes().vec()}});
  }
  const std::string text = broadcast_text(&group, header.dump());
  if (group.rank() != 0) {
    header = value_or_throw(parse_json(text, "tensors of rank 0's snapshot"));
    list.clear();
    for (const nlohmann::json& entry : header) {
      const auto dtype = static_cast<tensor::DType>(entry.at("dtype").get<int>());
      list.emplace_back(entry.at("name").get<std::string>(),
                        at::empty(entry.at("shape").get<std::vector<std::int64_t>>(),
                                  at::dtype(scalar_type_of(dtype))));
    }
  }
  for (auto& [name, tensor] : list) {
    if (tensor.numel() > 0) {
      tensor = tensor.contiguous();
      throw_if_error(group.broadcast(view_of(tensor)).wait());
    }
  }
}

}  // namespace

int rank_of(const dist::ProcessGroup* group) {
  return group == nullptr ? 0 : group->rank();
}
int size_of(const dist::ProcessGroup* group) {
  return group == nullptr ? 1 : group->size();
}

std::string broadcast_text(dist::ProcessGroup* group, const std::string& text) {
  if (alone(group)) {
    return text;
  }
  std::int64_t length = static_cast<std::int64_t>(text.size());
  throw_if_error(group->broadcast(tensor::view_of(&length, 1)).wait());
  std::string received =
      group->rank() == 0 ? text : std::string(static_cast<std::size_t>(length), '\0');
  if (length > 0) {
    throw_if_error(group->broadcast(bytes_of(received)).wait());
  }
  return received;
}

base::Status broadcast_status(dist::ProcessGroup* group, const base::Status& status) {
  if (alone(group)) {
    return status;
  }
  std::int64_t code = static_cast<std::int64_t>(status.code());
  throw_if_error(group->broadcast(tensor::view_of(&code, 1)).wait());
  const std::string text = broadcast_text(group, std::string(base::message(status)));
  return code == 0 ? base::OkStatus() : base::Status(static_cast<base::StatusCode>(code), text);
}

std::vector<std::string> gather_texts(dist::ProcessGroup* group, const std::string& text) {
  if (alone(group)) {
    return {text};
  }
  const auto ranks = static_cast<std::size_t>(group->size());
  std::int64_t length = static_cast<std::int64_t>(text.size());
  std::vector<std::int64_t> lengths(ranks);
  throw_if_error(
      group->all_gather(tensor::view_of(&length, 1), tensor::view_of(lengths.data(), ranks))
          .wait());
  const auto longest = static_cast<std::size_t>(*std::max_element(lengths.begin(), lengths.end()));
  if (longest == 0) {
    return group->rank() == 0 ? std::vector<std::string>(ranks) : std::vector<std::string>();
  }
  std::string padded = text;
  padded.resize(longest);
  std::string all(group->rank() == 0 ? longest * ranks : 0, '\0');
  throw_if_error(group->gather(bytes_of(padded), bytes_of(all)).wait());
  std::vector<std::string> texts;
  for (std::size_t r = 0; group->rank() == 0 && r < ranks; ++r) {
    texts.push_back(all.substr(r * longest, static_cast<std::size_t>(lengths[r])));
  }
  return texts;
}

std::vector<RankState> gather_rank_states(dist::ProcessGroup* group, const RankState& state) {
  const at::Tensor rng = state.rng.contiguous();
  const std::vector<std::string> extras = gather_texts(group, state.extra.dump());
  const std::vector<std::string> rngs =
      gather_texts(group, std::string(static_cast<const char*>(rng.data_ptr()),
                                      static_cast<std::size_t>(rng.nbytes())));
  std::vector<RankState> states;
  for (std::size_t r = 0; r < extras.size(); ++r) {
    RankState& gathered = states.emplace_back();
    gathered.extra = value_or_throw(parse_json(extras[r], fmt::format("state of rank {}", r)));
    gathered.rng = at::empty({static_cast<std::int64_t>(rngs[r].size())}, at::dtype(at::kByte));
    std::memcpy(gathered.rng.data_ptr(), rngs[r].data(), rngs[r].size());
  }
  return states;
}

Snapshot broadcast_snapshot(dist::ProcessGroup* group, const Snapshot& snapshot) {
  if (alone(group)) {
    return snapshot;
  }
  const bool root = group->rank() == 0;
  const std::string text =
      broadcast_text(group, root ? snapshot_to_json(snapshot).dump() : std::string());
  const std::string where = "rank 0's snapshot";
  Snapshot received =
      root ? snapshot
           : value_or_throw(snapshot_from_json(value_or_throw(parse_json(text, where)), where));

  std::vector<std::pair<std::string, at::Tensor>> model(received.model.begin(),
                                                        received.model.end());
  broadcast_tensors(*group, model);
  received.model = {model.begin(), model.end()};

  std::vector<std::pair<std::string, at::Tensor>> rngs;
  for (const RankState& rank : received.ranks) {
    rngs.emplace_back("rng", root ? rank.rng : at::empty({0}, at::dtype(at::kByte)));
  }
  broadcast_tensors(*group, rngs);
  for (std::size_t r = 0; r < received.ranks.size(); ++r) {
    received.ranks[r].rng = rngs.at(r).second;
  }

  // One list for all parameters: "<number>/<name>".
  std::vector<std::pair<std::string, at::Tensor>> states;
  for (const auto& [number, tensors] : received.optimizer.state) {
    for (const auto& [name, tensor] : tensors) {
      states.emplace_back(fmt::format("{}/{}", number, name), tensor);
    }
  }
  broadcast_tensors(*group, states);
  received.optimizer.state.clear();
  for (auto& [key, tensor] : states) {
    const std::size_t slash = key.find('/');
    received.optimizer.state[std::stoll(key.substr(0, slash))].emplace(key.substr(slash + 1),
                                                                       tensor);
  }
  return received;
}

std::vector<double> sum_over_ranks(dist::ProcessGroup* group, std::vector<double> values) {
  if (!alone(group)) {
    throw_if_error(group->all_reduce(tensor::view_of(values.data(), values.size())).wait());
  }
  return values;
}

bool any_rank(dist::ProcessGroup* group, bool value) {
  if (alone(group)) {
    return value;
  }
  std::uint8_t flag = value ? 1 : 0;
  dist::ReduceOptions options;
  options.op = dist::ReduceOp::kMax;
  throw_if_error(group->all_reduce(tensor::view_of(&flag, 1), options).wait());
  return flag != 0;
}

}  // namespace gamelan::train
