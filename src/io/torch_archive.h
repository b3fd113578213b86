#pragma once

// torch.save files of tensors (docs/formats/torch_archive.md): zip archives (PyTorch 1.6 and newer)
// and the older form of pickles one after the other.

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "io/pickle_reader.h"
#include "io/weights.h"

namespace gamelan::io {

/// The tensors of a state dict in `bytes`, which must outlive the part; `name` stands for the file
/// in messages. Contiguous tensors are views, those that are saved transposed are copied into the
/// part's own memory, which is then no larger than the file.
base::StatusOr<Weights::Part> parse_torch_archive(std::span<const std::byte> bytes,
                                                  std::string_view name);

/// Bytes of the storages that a pickle refers to, by key.
using TorchStorages = std::map<std::string, std::span<const std::byte>, std::less<>>;

/// A storage as a pickle describes it.
struct TorchStorage {
  std::string_view key;
  tensor::DType dtype = tensor::DType::kF32;
  std::int64_t count = 0;
};

/// Reads the persistent id ("storage", type, key, device, count, …).
base::StatusOr<TorchStorage> read_torch_storage(const Pickle& pickle, const PickleValue& value);

/// The tensors of the dict that `pickle` holds. `copies` receives the memory of the copied ones.
base::StatusOr<std::vector<WeightView>> read_torch_tensors(
    const Pickle& pickle, const TorchStorages& storages, std::string_view file,
    std::vector<std::vector<std::byte>>& copies);

}  // namespace gamelan::io
