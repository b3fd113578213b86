#include "dist/collective/operation.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace gamelan::dist {
namespace {

constexpr std::array<std::string_view, kLastOpKind + 1> kKindNames = {
    "nothing", "broadcast", "all_reduce", "all_gather", "reduce_scatter",
    "gather",  "barrier",   "send",       "recv"};
constexpr std::array<std::string_view, 5> kReduceNames = {"sum", "avg", "product", "min", "max"};

template <std::size_t N>
std::string_view name_at(const std::array<std::string_view, N>& names, std::size_t index) {
  return index < N ? names[index] : std::string_view("unknown");
}

}  // namespace

std::string to_string(const OpSignature& signature) {
  std::string text = fmt::format(
      "{} #{}", name_at(kKindNames, static_cast<std::size_t>(signature.kind)), signature.sequence);
  if (signature.kind == OpKind::kBarrier) {
    return text;
  }
  const bool known = static_cast<int>(signature.dtype) < tensor::kDTypeCount;
  text += fmt::format(" ({}[{}]", known ? tensor::name_of(signature.dtype) : "unknown",
                      signature.count);
  const bool reduces =
      signature.kind == OpKind::kAllReduce || signature.kind == OpKind::kReduceScatter;
  if (reduces && signature.reduce != ReduceOp::kSum) {
    text += fmt::format(", {}", name_at(kReduceNames, static_cast<std::size_t>(signature.reduce)));
  }
  if (signature.kind == OpKind::kBroadcast || signature.kind == OpKind::kGather) {
    text += fmt::format(", root {}", signature.root);
  }
  return text + ")";
}

Part part_of(std::size_t count, std::size_t element_bytes, int ranks, int rank) {
  const auto parts = static_cast<std::size_t>(ranks);
  const std::size_t line = 64 / element_bytes;
  const std::size_t share = ((count + parts - 1) / parts + line - 1) / line * line;
  const std::size_t begin = std::min(count, share * static_cast<std::size_t>(rank));
  return {begin, std::min(share, count - begin)};
}

}  // namespace gamelan::dist
