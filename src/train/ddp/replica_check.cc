#include "train/ddp/replica_check.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "tensor/shape.h"
#include "train/torch_view.h"

namespace gamelan::train {
namespace {

// The longest plausible description: a million lines of 250 bytes.
constexpr std::int64_t kMaxTextBytes = 250'000'000;

std::uint64_t fnv1a(std::string_view text) {
  std::uint64_t hash = 14695981039346656037ULL;
  for (const char byte : text) {
    hash = (hash ^ static_cast<unsigned char>(byte)) * 1099511628211ULL;
  }
  return hash;
}

// The refusal is the first line; it has no line breaks.
std::string to_text(const ReplicaDescription& description) {
  std::string refusal = description.refusal;
  std::replace(refusal.begin(), refusal.end(), '\n', ' ');
  return fmt::format("{}\n{}", refusal, fmt::join(description.lines, "\n"));
}

ReplicaDescription from_text(std::string_view text) {
  ReplicaDescription result;
  std::vector<std::string> all;
  while (true) {
    const std::size_t end = text.find('\n');
    all.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) {
      break;
    }
    text.remove_prefix(end + 1);
  }
  result.refusal = all[0];
  result.lines.assign(all.begin() + 1, all.end());
  return result;
}

std::vector<ReplicaDescription> exchange(dist::ProcessGroup& group, const std::string& mine,
                                         const std::vector<std::int64_t>& digests) {
  const auto ranks = static_cast<std::size_t>(group.size());
  std::int64_t longest = 0;
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    const std::int64_t length = digests[2 * rank];
    TORCH_CHECK(length >= 0 && length <= kMaxTextBytes, "expected at most ", kMaxTextBytes,
                " bytes that describe the module of rank ", rank, ", got ", length);
    longest = std::max(longest, length);
  }
  const auto size = static_cast<std::size_t>(longest);
  std::vector<std::uint8_t> padded(size);
  std::copy(mine.begin(), mine.end(), padded.begin());
  std::vector<std::uint8_t> texts(size * ranks);
  throw_if_error(group
                     .all_gather(tensor::view_of(padded.data(), padded.size()),
                                 tensor::view_of(texts.data(), texts.size()))
                     .wait());
  std::vector<ReplicaDescription> result;
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    const auto* text = reinterpret_cast<const char*>(texts.data() + rank * size);
    result.push_back(from_text({text, static_cast<std::size_t>(digests[2 * rank])}));
  }
  return result;
}

// What is wrong with `other` in one sentence, empty when nothing is.
std::string difference(const ReplicaDescription& other, const ReplicaDescription& root) {
  if (!other.refusal.empty()) {
    return other.refusal;
  }
  const std::size_t common = std::min(other.lines.size(), root.lines.size());
  for (std::size_t i = 0; i < common; ++i) {
    if (other.lines[i] != root.lines[i]) {
      return fmt::format("has {} where rank 0 has {}", other.lines[i], root.lines[i]);
    }
  }
  if (other.lines.size() > common) {
    return fmt::format("has {}, which rank 0 has not", other.lines[common]);
  }
  if (root.lines.size() > common) {
    return fmt::format("has no {}, which rank 0 has", root.lines[common]);
  }
  return {};
}

}  // namespace

void describe(const std::string& kind, const std::vector<NamedTensor>& tensors,
              std::vector<std::string>& lines) {
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const at::Tensor& tensor = tensors[i].tensor;
    std::string line =
        fmt::format("{}[{}] '{}' {}{}", kind, i, tensors[i].name,
                    c10::toString(tensor.scalar_type()), tensor::to_string(tensor.sizes().vec()));
    if (!tensor.is_contiguous()) {
      line += fmt::format(" with strides {}", tensor::to_string(tensor.strides().vec()));
    }
    lines.push_back(std::move(line));
  }
}

void check_replicas(dist::ProcessGroup& group, const ReplicaDescription& mine) {
  const auto ranks = static_cast<std::size_t>(group.size());
  const std::string text = to_text(mine);
  std::int64_t digest[2] = {static_cast<std::int64_t>(text.size()),
                            static_cast<std::int64_t>(fnv1a(text))};
  std::vector<std::int64_t> digests(2 * ranks);
  throw_if_error(
      group.all_gather(tensor::view_of(digest, 2), tensor::view_of(digests.data(), digests.size()))
          .wait());
  bool equal = true;
  for (std::size_t i = 0; i < digests.size(); ++i) {
    equal = equal && digests[i] == digests[i % 2];
  }
  // Equal refusals are equal on every rank too: each throws its own.
  TORCH_CHECK(!equal || mine.refusal.empty(), "DistributedDataParallel: ", mine.refusal);
  if (equal) {
    return;
  }
  const std::vector<ReplicaDescription> all = exchange(group, text, digests);
  std::string message = "DistributedDataParallel: the replicas differ.";
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    if (const std::string what = difference(all[rank], all[0]); !what.empty()) {
      message += fmt::format("\n  rank {}: {}", rank, what);
    }
  }
  TORCH_CHECK(false, message);
}

}  // namespace gamelan::train
