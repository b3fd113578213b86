#include "io/torch_archive.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <utility>

#include "io/byte_reader.h"
#include "io/mapped_file.h"
#include "io/weight_files.h"
#include "io/zip_archive.h"

namespace gamelan::io {
namespace {

// What torch.save of PyTorch before 1.6 begins with: the pickle of the number
// 0x1950a86a20f9469cfc6c.
constexpr std::string_view kLegacyStart =
    "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
constexpr std::string_view kPickleName = "data.pkl";

/// What a part keeps alive.
struct Owner {
  MappedFile file;
  std::string name;
  std::vector<std::vector<std::byte>> copies;
};

/// "archive/" of the one entry "archive/data.pkl".
base::StatusOr<std::string> find_folder(const ZipArchive& zip, std::string_view file) {
  for (const ZipEntry& entry : zip.entries()) {
    if (entry.name.ends_with("/constants.pkl") || entry.name == "constants.pkl") {
      return base::invalid_argument(
          "{}: this is a TorchScript program; expected a state dict that torch.save wrote", file);
    }
  }
  for (const ZipEntry& entry : zip.entries()) {
    const std::size_t slash = entry.name.find('/');
    if (slash != std::string::npos && entry.name.substr(slash + 1) == kPickleName) {
      return entry.name.substr(0, slash + 1);
    }
  }
  return base::invalid_argument("{}: a zip archive without {}; expected one that torch.save wrote",
                                file, kPickleName);
}

base::StatusOr<std::vector<WeightView>> read_zip(std::span<const std::byte> bytes, Owner& owner) {
  GAMELAN_ASSIGN_OR_RETURN(const ZipArchive zip, ZipArchive::parse(bytes, owner.name));
  GAMELAN_ASSIGN_OR_RETURN(const std::string folder, find_folder(zip, owner.name));
  if (const ZipEntry* order = zip.find(folder + "byteorder")) {
    const std::string_view text(reinterpret_cast<const char*>(order->bytes.data()),
                                order->bytes.size());
    if (text != "little") {
      return base::invalid_argument("{}: byte order '{}', expected 'little'", owner.name,
                                    text.substr(0, 20));
    }
  }
  TorchStorages storages;
  const std::string prefix = folder + "data/";
  for (const ZipEntry& entry : zip.entries()) {
    if (entry.name.starts_with(prefix)) {
      storages[entry.name.substr(prefix.size())] = entry.bytes;
    }
  }
  GAMELAN_ASSIGN_OR_RETURN(
      const Pickle pickle,
      Pickle::parse(zip.find(folder + std::string(kPickleName))->bytes, owner.name));
  return read_torch_tensors(pickle, storages, owner.name, owner.copies);
}

/// Every storage that the pickle names, with its element size: the legacy form states only counts.
base::StatusOr<std::map<std::string, TorchStorage, std::less<>>> named_storages(
    const Pickle& pickle, const PickleValue& dict) {
  std::map<std::string, TorchStorage, std::less<>> storages;
  for (const PickleRef item : dict.items) {
    const PickleValue* value = &pickle.at(item);
    // Down through parameter(tensor(storage)).
    for (int depth = 0; depth < 4 && value->kind == PickleKind::kCall; ++depth) {
      const PickleValue& arguments = pickle.item(*value, 1);
      if (arguments.items.empty()) {
        break;
      }
      value = &pickle.item(arguments, 0);
    }
    if (value->kind == PickleKind::kPersistent) {
      GAMELAN_ASSIGN_OR_RETURN(const TorchStorage storage, read_torch_storage(pickle, *value));
      storages[std::string(storage.key)] = storage;
    }
  }
  return storages;
}

/// Pickles of a magic number, a version, the saving system, the tensors and the storages' keys;
/// then each storage: its count of elements and its bytes.
base::StatusOr<std::vector<WeightView>> read_legacy(std::span<const std::byte> bytes,
                                                    Owner& owner) {
  std::span<const std::byte> rest = bytes;
  std::vector<Pickle> pickles;
  for (int i = 0; i < 5; ++i) {
    GAMELAN_ASSIGN_OR_RETURN(Pickle pickle, Pickle::parse(rest, owner.name));
    rest = rest.subspan(pickle.size_bytes());
    pickles.push_back(std::move(pickle));
  }
  const Pickle& tensors = pickles[3];
  const Pickle& keys = pickles[4];
  const auto named = named_storages(tensors, tensors.root());
  if (!named.ok()) {
    return base::annotate(named.status(), owner.name);
  }
  if (keys.root().kind != PickleKind::kList) {
    return base::data_loss("{}: expected the list of storages, got {}", owner.name,
                           describe(keys.root()));
  }
  ByteReader reader(rest);
  TorchStorages storages;
  for (const PickleRef item : keys.root().items) {
    const std::string_view key = keys.at(item).text;
    const auto found = named->find(key);
    if (found == named->end()) {
      return base::data_loss("{}: storage '{}' belongs to no tensor", owner.name, key);
    }
    const auto count = reader.read<std::uint64_t>();
    const std::size_t element = tensor::size_of(found->second.dtype);
    if (count > reader.left() / element) {
      return base::data_loss(
          "{}: truncated: storage '{}' needs {} elements of {} bytes, {} bytes "
          "are left",
          owner.name, key, count, element, reader.left());
    }
    storages[std::string(key)] = reader.take(count * element);
  }
  return read_torch_tensors(tensors, storages, owner.name, owner.copies);
}

base::Status read(std::span<const std::byte> bytes, Owner& owner, Weights::Part& part) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (looks_like_zip(bytes)) {
    GAMELAN_ASSIGN_OR_RETURN(part.tensors, read_zip(bytes, owner));
    return base::OkStatus();
  }
  if (text.starts_with(kLegacyStart)) {
    GAMELAN_ASSIGN_OR_RETURN(part.tensors, read_legacy(bytes, owner));
    return base::OkStatus();
  }
  return base::invalid_argument(
      "{}: expected a file that torch.save wrote: neither a zip archive nor one of PyTorch before "
      "1.6",
      owner.name);
}

}  // namespace

base::StatusOr<Weights::Part> parse_torch_archive(std::span<const std::byte> bytes,
                                                  std::string_view name) {
  const auto owner = std::make_shared<Owner>();
  owner->name = std::string(name);
  Weights::Part part{{}, owner};
  GAMELAN_RETURN_IF_ERROR(read(bytes, *owner, part));
  return part;
}

base::StatusOr<Weights::Part> open_torch_part(std::string_view path) {
  const auto owner = std::make_shared<Owner>();
  GAMELAN_ASSIGN_OR_RETURN(owner->file, MappedFile::open(path));
  owner->name = std::string(path);
  Weights::Part part{{}, owner};
  const std::span<const std::byte> bytes = owner->file.bytes();
  GAMELAN_RETURN_IF_ERROR(read(bytes, *owner, part));
  for (WeightView& view : part.tensors) {
    // Tensors that are not contiguous in the file were copied out of it.
    view.mapped = std::less_equal<>()(bytes.data(), view.bytes.data()) &&
                  std::less<>()(view.bytes.data(), bytes.data() + bytes.size());
  }
  return part;
}

}  // namespace gamelan::io
