#include "kernels/cpu/packed_linear.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <vector>

#include "kernels/cpu/packed_int4.h"
#include "tensor/dtype.h"

namespace gamelan::kernels::cpu {
namespace {

// Sums of 255 * 127 over so many inputs still fit 32 bits.
constexpr std::int64_t kMaxIntInputs = 65'536;

bool is_int8(WeightScheme scheme) {
  return scheme == WeightScheme::kInt8 || scheme == WeightScheme::kInt8Dynamic;
}

/// Where input k of column c lies in a panel, in elements.
std::size_t index_in_panel(std::int64_t k, std::int64_t c, std::int64_t group) {
  return static_cast<std::size_t>((k / group * kPanel + c) * group + k % group);
}

void pack_floats(const float* row, std::int64_t c, const PackedLinear::Impl& to, std::byte* panel) {
  const std::int64_t group = layout_of(to.scheme).group;
  if (to.scheme == WeightScheme::kF32) {
    auto* out = reinterpret_cast<float*>(panel);
    for (std::int64_t k = 0; k < to.in; ++k) {
      out[index_in_panel(k, c, group)] = row[k];
    }
    return;
  }
  auto* out = reinterpret_cast<std::uint16_t*>(panel);
  for (std::int64_t k = 0; k < to.in; ++k) {
    out[index_in_panel(k, c, group)] = to.scheme == WeightScheme::kBF16
                                           ? tensor::to_bfloat16(row[k]).bits
                                           : tensor::to_float16(row[k]).bits;
  }
}

/// False when a number is not finite.
bool pack_int8(const float* row, std::int64_t c, std::int64_t n, PackedLinear::Impl& to,
               std::byte* panel) {
  float largest = 0.0F;
  for (std::int64_t k = 0; k < to.in; ++k) {
    if (!std::isfinite(row[k])) {
      return false;
    }
    largest = std::max(largest, std::fabs(row[k]));
  }
  const float scale = largest / 127.0F;
  auto* out = reinterpret_cast<std::int8_t*>(panel);
  std::int32_t sum = 0;
  for (std::int64_t k = 0; k < to.in; ++k) {
    const auto value = static_cast<std::int32_t>(
        scale > 0.0F ? std::nearbyint(std::clamp(row[k] / scale, -127.0F, 127.0F)) : 0.0F);
    out[index_in_panel(k, c, 4)] = static_cast<std::int8_t>(value);
    sum += value;
  }
  to.scales[static_cast<std::size_t>(n)] = scale;
  to.sums[static_cast<std::size_t>(n)] = sum;
  return true;
}

/// False when a number does not fit the scheme.
bool pack_row(const float* row, std::int64_t c, std::int64_t n, PackedLinear::Impl& to,
              std::byte* panel) {
  if (to.scheme == WeightScheme::kInt4) {
    return pack_int4(row, to.in, to.group_size, c, panel);
  }
  if (is_int8(to.scheme)) {
    return pack_int8(row, c, n, to, panel);
  }
  pack_floats(row, c, to, panel);
  return true;
}

base::Status check(std::int64_t out, std::int64_t in, const PackOptions& options) {
  const WeightScheme scheme = options.scheme;
  if (out <= 0 || in <= 0) {
    return base::invalid_argument("linear layer: expected positive sizes, got [{}, {}]", out, in);
  }
  if (is_int8(scheme) && in > kMaxIntInputs) {
    return base::invalid_argument("linear layer in {}: expected at most {} inputs, got {}",
                                  name_of(scheme), kMaxIntInputs, in);
  }
  const std::int64_t group = options.group_size;
  if (scheme == WeightScheme::kInt4 && group != 32 && group != 64 && group != 128) {
    return base::invalid_argument(
        "linear layer [{}, {}] in int4: expected groups of 32, 64 or 128 inputs, got {}", out, in,
        group);
  }
  return base::OkStatus();
}

}  // namespace

SchemeLayout layout_of(WeightScheme scheme) {
  switch (scheme) {
    case WeightScheme::kF32:
      return {4, 1};
    case WeightScheme::kBF16:
      return {2, 2, 32};
    case WeightScheme::kF16:
      return {2, 1};
    case WeightScheme::kInt8:
    case WeightScheme::kInt8Dynamic:
    case WeightScheme::kInt4:
      break;
  }
  return {1, 4, 64};
}

std::int64_t PackedLinear::Impl::padded_in() const {
  const std::int64_t multiple =
      scheme == WeightScheme::kInt4 ? group_size : layout_of(scheme).multiple;
  return (in + multiple - 1) / multiple * multiple;
}

std::size_t PackedLinear::Impl::panel_bytes() const {
  if (scheme == WeightScheme::kInt4) {
    return static_cast<std::size_t>(padded_in() / group_size) * int4_group_bytes(group_size);
  }
  return static_cast<std::size_t>(padded_in() * kPanel) * layout_of(scheme).bytes;
}

TilePanel PackedLinear::Impl::panel(std::int64_t index) const {
  TilePanel panel;
  panel.data = data.get() + static_cast<std::size_t>(index) * panel_bytes();
  panel.in = padded_in();
  panel.group = group_size;
  if (is_int8(scheme)) {
    panel.scale = scales.get() + index * kPanel;
    panel.sum = sums.get() + index * kPanel;
  }
  return panel;
}

PackedLinear::PackedLinear() = default;
PackedLinear::~PackedLinear() = default;
PackedLinear::PackedLinear(PackedLinear&&) noexcept = default;
PackedLinear& PackedLinear::operator=(PackedLinear&&) noexcept = default;

base::StatusOr<PackedLinear> PackedLinear::pack(const Context& context, std::int64_t out_features,
                                                std::int64_t in_features, const RowReader& rows,
                                                const PackOptions& options) {
  GAMELAN_RETURN_IF_ERROR(check(out_features, in_features, options));
  const WeightScheme scheme = options.scheme;
  PackedLinear packed;
  packed.impl_ = std::make_unique<Impl>();
  Impl& impl = *packed.impl_;
  impl.out = out_features;
  impl.in = in_features;
  impl.scheme = scheme;
  impl.group_size = scheme == WeightScheme::kInt4 ? options.group_size : 0;
  const std::size_t bytes = static_cast<std::size_t>(impl.panels()) * impl.panel_bytes();
  impl.data = device::allocate_aligned(bytes);
  if (impl.data == nullptr) {
    return base::resource_exhausted("linear layer [{}, {}] in {}: no memory for {} bytes",
                                    out_features, in_features, name_of(scheme), bytes);
  }
  if (is_int8(scheme)) {
    const auto padded = static_cast<std::size_t>(impl.panels() * kPanel);
    impl.scales = std::make_unique<float[]>(padded);
    impl.sums = std::make_unique<std::int32_t[]>(padded);
  }
  std::atomic<std::int64_t> bad_row{-1};
  context.threads->parallel_for_dynamic(
      impl.panels(), 1, [&](std::int64_t begin, std::int64_t end, int) {
        std::vector<float> buffer(static_cast<std::size_t>(kPanel * in_features));
        for (std::int64_t p = begin; p < end; ++p) {
          std::byte* panel = impl.data.get() + static_cast<std::size_t>(p) * impl.panel_bytes();
          std::memset(panel, 0, impl.panel_bytes());
          const std::int64_t first = p * kPanel;
          const std::int64_t count = std::min(kPanel, out_features - first);
          rows(first, count,
               std::span(buffer).first(static_cast<std::size_t>(count * in_features)));
          for (std::int64_t c = 0; c < count; ++c) {
            if (!pack_row(buffer.data() + c * in_features, c, first + c, impl, panel)) {
              bad_row = first + c;
            }
          }
        }
      });
  if (bad_row >= 0) {
    return base::invalid_argument(
        "row {} of a linear layer [{}, {}]: expected finite numbers for {} (int4: of at most "
        "65504)",
        bad_row.load(), out_features, in_features, name_of(scheme));
  }
  return packed;
}

std::int64_t PackedLinear::out_features() const {
  return impl_->out;
}
std::int64_t PackedLinear::in_features() const {
  return impl_->in;
}
WeightScheme PackedLinear::scheme() const {
  return impl_->scheme;
}

std::size_t PackedLinear::size_bytes() const {
  const auto padded = static_cast<std::size_t>(impl_->panels() * kPanel);
  return static_cast<std::size_t>(impl_->panels()) * impl_->panel_bytes() +
         (is_int8(impl_->scheme) ? padded * (sizeof(float) + sizeof(std::int32_t)) : 0);
}

void PackedLinear::read_row(std::int64_t row, std::span<float> out) const {
  const Impl& impl = *impl_;
  const TilePanel panel = impl.panel(row / kPanel);
  const std::int64_t c = row % kPanel;
  const std::int64_t group = layout_of(impl.scheme).group;
  for (std::int64_t k = 0; k < impl.in; ++k) {
    const std::size_t at = index_in_panel(k, c, group);
    float& value = out[static_cast<std::size_t>(k)];
    switch (impl.scheme) {
      case WeightScheme::kF32:
        value = reinterpret_cast<const float*>(panel.data)[at];
        break;
      case WeightScheme::kBF16:
        value = tensor::to_float(reinterpret_cast<const tensor::BFloat16*>(panel.data)[at]);
        break;
      case WeightScheme::kF16:
        value = tensor::to_float(reinterpret_cast<const tensor::Float16*>(panel.data)[at]);
        break;
      case WeightScheme::kInt8:
      case WeightScheme::kInt8Dynamic:
        value = static_cast<float>(reinterpret_cast<const std::int8_t*>(panel.data)[at]) *
                panel.scale[c];
        break;
      case WeightScheme::kInt4:
        value = read_int4(panel.data, impl.group_size, k, c);
        break;
    }
  }
}

}  // namespace gamelan::kernels::cpu
