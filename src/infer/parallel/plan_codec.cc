#include "infer/parallel/plan_codec.h"

#include <array>
#include <cstring>
#include <type_traits>

namespace gamelan::infer {
namespace {

using Counts = std::array<std::uint64_t, 4>;  // tokens, sequences, blocks, copies

template <class T>
void append(const std::vector<T>& values, std::vector<std::byte>& bytes) {
  static_assert(std::is_trivially_copyable_v<T>);
  const auto* const data = reinterpret_cast<const std::byte*>(values.data());
  bytes.insert(bytes.end(), data, data + values.size() * sizeof(T));
}

/// Takes `count` values off the front of `bytes`.
template <class T>
bool take(std::span<const std::byte>& bytes, std::uint64_t count, std::vector<T>& values) {
  if (count > bytes.size() / sizeof(T)) {
    return false;
  }
  values.resize(count);
  if (count > 0) {
    std::memcpy(values.data(), bytes.data(), count * sizeof(T));
  }
  bytes = bytes.subspan(count * sizeof(T));
  return true;
}

}  // namespace

void encode_plan(const StepPlan& plan, std::vector<std::byte>& bytes) {
  const Counts counts = {plan.tokens.size(), plan.sequences.size(), plan.blocks.size(),
                         plan.copies.size()};
  const auto* const header = reinterpret_cast<const std::byte*>(counts.data());
  bytes.assign(header, header + sizeof(counts));
  append(plan.tokens, bytes);
  append(plan.sequences, bytes);
  append(plan.blocks, bytes);
  append(plan.copies, bytes);
}

base::Status decode_plan(std::span<const std::byte> bytes, StepPlan& plan) {
  const std::size_t size = bytes.size();
  Counts counts = {};
  if (size >= sizeof(counts)) {
    std::memcpy(counts.data(), bytes.data(), sizeof(counts));
    bytes = bytes.subspan(sizeof(counts));
    if (take(bytes, counts[0], plan.tokens) && take(bytes, counts[1], plan.sequences) &&
        take(bytes, counts[2], plan.blocks) && take(bytes, counts[3], plan.copies) &&
        bytes.empty()) {
      return base::OkStatus();
    }
  }
  return base::data_loss(
      "plan: {} bytes do not hold {} tokens, {} sequences, {} block numbers and {} copies", size,
      counts[0], counts[1], counts[2], counts[3]);
}

}  // namespace gamelan::infer
