// The tensors that the pickle of a torch.save file describes.

#include <algorithm>
#include <array>
#include <cstring>

#include "io/safetensors_header.h"
#include "io/torch_archive.h"

namespace gamelan::io {
namespace {

using tensor::DType;

constexpr std::size_t kMaxDimensions = 64;

struct StorageType {
  std::string_view name;
  DType dtype;
};

constexpr std::array<StorageType, 10> kStorageTypes = {{{"torch FloatStorage", DType::kF32},
                                                        {"torch DoubleStorage", DType::kF64},
                                                        {"torch HalfStorage", DType::kF16},
                                                        {"torch BFloat16Storage", DType::kBF16},
                                                        {"torch LongStorage", DType::kI64},
                                                        {"torch IntStorage", DType::kI32},
                                                        {"torch ShortStorage", DType::kI16},
                                                        {"torch CharStorage", DType::kI8},
                                                        {"torch ByteStorage", DType::kU8},
                                                        {"torch BoolStorage", DType::kBool}}};

/// A tensor as its pickle describes it; sizes are bounded, the storage is not looked at yet.
struct TensorRecord {
  TorchStorage storage;
  std::int64_t offset = 0;
  tensor::Shape shape;
  std::vector<std::int64_t> strides;
};

base::StatusOr<std::vector<std::int64_t>> read_sizes(const Pickle& pickle,
                                                     const PickleValue& value) {
  if (value.kind != PickleKind::kTuple || value.items.size() > kMaxDimensions) {
    return base::invalid_argument("expected a tuple of at most {} sizes, got {}", kMaxDimensions,
                                  describe(value));
  }
  std::vector<std::int64_t> sizes;
  for (const PickleRef item : value.items) {
    if (pickle.at(item).kind != PickleKind::kInt || pickle.at(item).integer < 0) {
      return base::invalid_argument("expected a size of at least 0, got {}",
                                    describe(pickle.at(item)));
    }
    sizes.push_back(pickle.at(item).integer);
  }
  return sizes;
}

/// _rebuild_tensor(_v2)(storage, offset, size, stride, …).
base::StatusOr<TensorRecord> read_record(const Pickle& pickle, const PickleValue& arguments) {
  if (arguments.items.size() < 4) {
    return base::invalid_argument("a tensor of {} properties, expected at least 4",
                                  arguments.items.size());
  }
  TensorRecord record;
  GAMELAN_ASSIGN_OR_RETURN(record.storage, read_torch_storage(pickle, pickle.item(arguments, 0)));
  const PickleValue& offset = pickle.item(arguments, 1);
  if (offset.kind != PickleKind::kInt || offset.integer < 0) {
    return base::invalid_argument("expected the offset in a storage, got {}", describe(offset));
  }
  record.offset = offset.integer;
  GAMELAN_ASSIGN_OR_RETURN(record.shape, read_sizes(pickle, pickle.item(arguments, 2)));
  GAMELAN_ASSIGN_OR_RETURN(record.strides, read_sizes(pickle, pickle.item(arguments, 3)));
  if (record.shape.size() != record.strides.size()) {
    return base::invalid_argument("{} sizes and {} strides", record.shape.size(),
                                  record.strides.size());
  }
  return record;
}

/// The tensor behind `value`, through the parameters that wrap it.
base::StatusOr<TensorRecord> find_record(const Pickle& pickle, const PickleValue& value) {
  const PickleValue* call = &value;
  for (int depth = 0; depth < 4 && call->kind == PickleKind::kCall; ++depth) {
    const std::string_view function = pickle.item(*call, 0).text;
    const PickleValue& arguments = pickle.item(*call, 1);
    if (function == "torch._utils _rebuild_tensor_v2" ||
        function == "torch._utils _rebuild_tensor") {
      return read_record(pickle, arguments);
    }
    if (function != "torch._utils _rebuild_parameter" || arguments.items.empty()) {
      return base::invalid_argument(
          "{} is not called: a weight file is data; known are tensors and parameters",
          describe(pickle.item(*call, 0)));
    }
    call = &pickle.item(arguments, 0);
  }
  return base::invalid_argument("expected a tensor, got {}", describe(*call));
}

/// Row-major without gaps; a dimension of one element may have any stride.
bool is_contiguous(const TensorRecord& record) {
  std::int64_t expected = 1;
  for (std::size_t i = record.shape.size(); i-- > 0;) {
    if (record.shape[i] != 1 && record.strides[i] != expected) {
      return false;
    }
    expected *= record.shape[i];
  }
  return true;
}

/// One past the last element of the storage that the tensor reaches; nullopt on overflow.
std::optional<std::uint64_t> end_of(const TensorRecord& record) {
  std::uint64_t last = static_cast<std::uint64_t>(record.offset);
  for (std::size_t i = 0; i < record.shape.size(); ++i) {
    std::uint64_t reach = 0;
    if (__builtin_mul_overflow(static_cast<std::uint64_t>(record.shape[i] - 1),
                               static_cast<std::uint64_t>(record.strides[i]), &reach) ||
        __builtin_add_overflow(last, reach, &last)) {
      return std::nullopt;
    }
  }
  return last + 1;
}

/// The elements one by one, in row-major order of the shape.
std::vector<std::byte> gather(const TensorRecord& record, std::span<const std::byte> storage,
                              std::uint64_t size) {
  const std::size_t element = tensor::size_of(record.storage.dtype);
  std::vector<std::byte> copy(size);
  std::vector<std::int64_t> index(record.shape.size(), 0);
  auto from = static_cast<std::size_t>(record.offset);
  for (std::size_t to = 0; to < copy.size(); to += element) {
    std::memcpy(copy.data() + to, storage.data() + from * element, element);
    for (std::size_t i = index.size(); i-- > 0;) {
      from += static_cast<std::size_t>(record.strides[i]);
      if (++index[i] < record.shape[i]) {
        break;
      }
      from -=
          static_cast<std::size_t>(record.shape[i]) * static_cast<std::size_t>(record.strides[i]);
      index[i] = 0;
    }
  }
  return copy;
}

base::StatusOr<WeightView> view_of(const TensorRecord& record, const TorchStorages& storages,
                                   std::vector<std::vector<std::byte>>& copies) {
  const auto found = storages.find(record.storage.key);
  if (found == storages.end()) {
    return base::data_loss("storage '{}' is not in the file", record.storage.key);
  }
  const std::span<const std::byte> storage = found->second;
  const std::size_t element = tensor::size_of(record.storage.dtype);
  const std::optional<std::uint64_t> size = checked_size_bytes(record.storage.dtype, record.shape);
  if (!size) {
    return base::data_loss("the size of shape {} overflows", tensor::to_string(record.shape));
  }
  WeightView view{"", record.storage.dtype, record.shape, {}, nullptr, {}};
  if (*size == 0) {
    return view;
  }
  const std::optional<std::uint64_t> end = end_of(record);
  if (!end || *end > storage.size() / element) {
    return base::data_loss("shape {} from element {} on does not lie in storage '{}' of {} bytes",
                           tensor::to_string(record.shape), record.offset, record.storage.key,
                           storage.size());
  }
  if (is_contiguous(record)) {
    view.bytes = storage.subspan(static_cast<std::size_t>(record.offset) * element, *size);
    return view;
  }
  if (*size > storage.size()) {
    return base::invalid_argument(
        "shape {} repeats the elements of a storage of {} bytes; save the tensor contiguous",
        tensor::to_string(record.shape), storage.size());
  }
  copies.push_back(gather(record, storage, *size));
  view.bytes = copies.back();
  return view;
}

bool is_tensor_like(const Pickle& pickle, const PickleValue& value) {
  return value.kind == PickleKind::kCall &&
         pickle.item(value, 0).text.starts_with("torch._utils _rebuild_");
}

/// What a dict without tensors holds instead, for a message.
std::string keys_of(const Pickle& pickle, const PickleValue& dict) {
  constexpr std::size_t kShown = 5;
  std::string text;
  for (std::size_t i = 0; i < std::min(dict.items.size(), 2 * kShown); i += 2) {
    text += fmt::format("{}{}: {}", i == 0 ? "" : ", ", describe(pickle.item(dict, i)),
                        describe(pickle.item(dict, i + 1)));
  }
  return text;
}

}  // namespace

base::StatusOr<TorchStorage> read_torch_storage(const Pickle& pickle, const PickleValue& value) {
  const PickleValue* id = value.kind == PickleKind::kPersistent ? &pickle.item(value, 0) : nullptr;
  if (id == nullptr || id->kind != PickleKind::kTuple || id->items.size() < 5 ||
      pickle.item(*id, 0).text != "storage") {
    return base::invalid_argument("expected a storage, got {}", describe(value));
  }
  const PickleValue& type = pickle.item(*id, 1);
  const PickleValue& key = pickle.item(*id, 2);
  const PickleValue& count = pickle.item(*id, 4);
  if (type.kind != PickleKind::kGlobal || key.kind != PickleKind::kString ||
      count.kind != PickleKind::kInt || count.integer < 0) {
    return base::invalid_argument("expected a storage's type, key and size, got {}, {} and {}",
                                  describe(type), describe(key), describe(count));
  }
  for (const StorageType& known : kStorageTypes) {
    if (known.name == type.text) {
      return TorchStorage{key.text, known.dtype, count.integer};
    }
  }
  return base::invalid_argument("{} is not among the supported types of storages", describe(type));
}

base::StatusOr<std::vector<WeightView>> read_torch_tensors(
    const Pickle& pickle, const TorchStorages& storages, std::string_view file,
    std::vector<std::vector<std::byte>>& copies) {
  const PickleValue& root = pickle.root();
  if (root.kind != PickleKind::kDict) {
    return base::invalid_argument("{}: expected a dict of tensors (a state dict), got {}", file,
                                  describe(root));
  }
  std::vector<WeightView> views;
  std::uint64_t copied = 0;
  for (std::size_t i = 0; i + 1 < root.items.size(); i += 2) {
    const PickleValue& name = pickle.item(root, i);
    const PickleValue& value = pickle.item(root, i + 1);
    if (name.kind != PickleKind::kString || !is_tensor_like(pickle, value)) {
      continue;  // a step count, options: not weights
    }
    const auto in_tensor = [&](const base::Status& status) {
      return base::annotate(status, fmt::format("{}: tensor '{}'", file, name.text));
    };
    const auto record = find_record(pickle, value);
    if (!record.ok()) {
      return in_tensor(record.status());
    }
    const std::size_t copies_before = copies.size();
    auto view = view_of(*record, storages, copies);
    if (!view.ok()) {
      return in_tensor(view.status());
    }
    if (copies.size() > copies_before) {
      // Several tensors may be views of one storage: together too they may not outgrow the file.
      copied += copies.back().size();
      std::uint64_t total = 0;
      for (const auto& [key, bytes] : storages) {
        total += bytes.size();
      }
      if (copied > total) {
        return in_tensor(base::invalid_argument(
            "tensors that are not contiguous take more memory than the file's {} bytes", total));
      }
    }
    view->name = std::string(name.text);
    view->file = file;
    views.push_back(*std::move(view));
  }
  if (views.empty() && !root.items.empty()) {
    return base::invalid_argument("{}: expected tensors at the top level, found {}", file,
                                  keys_of(pickle, root));
  }
  return views;
}

}  // namespace gamelan::io
