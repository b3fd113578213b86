#include "io/gguf_file.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <limits>
#include <utility>

#include "io/byte_reader.h"
#include "text/utf8.h"

namespace gamelan::io {
namespace {

constexpr std::string_view kMagic = "GGUF";
constexpr std::uint32_t kMaxDimensions = 4;  // of ggml
constexpr std::uint64_t kMaxName = 1024;
constexpr std::int64_t kMaxElements = std::int64_t{1} << 48;

/// What a file calls something, safe to print.
std::string shown(std::string_view text) {
  return text::replace_invalid_utf8(text.substr(0, 100));
}

std::uint64_t size_of(GgufType type) {
  constexpr std::array<std::uint64_t, 13> kSizes = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  const auto index = static_cast<std::size_t>(type);
  return index < kSizes.size() ? kSizes[index] : 0;
}

template <class T>
T read_at(std::span<const std::byte> bytes, std::uint64_t index) {
  T value{};
  std::memcpy(&value, bytes.data() + index * sizeof(T), sizeof(T));
  return value;
}

std::optional<std::int64_t> integer_at(GgufType type, std::span<const std::byte> bytes,
                                       std::uint64_t i) {
  switch (type) {
    case GgufType::kU8:
      return read_at<std::uint8_t>(bytes, i);
    case GgufType::kI8:
      return read_at<std::int8_t>(bytes, i);
    case GgufType::kU16:
      return read_at<std::uint16_t>(bytes, i);
    case GgufType::kI16:
      return read_at<std::int16_t>(bytes, i);
    case GgufType::kU32:
      return read_at<std::uint32_t>(bytes, i);
    case GgufType::kI32:
      return read_at<std::int32_t>(bytes, i);
    case GgufType::kI64:
      return read_at<std::int64_t>(bytes, i);
    case GgufType::kU64: {
      const auto value = read_at<std::uint64_t>(bytes, i);
      return value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())
                 ? std::nullopt
                 : std::optional(static_cast<std::int64_t>(value));
    }
    default:
      return std::nullopt;
  }
}

std::optional<double> number_at(GgufType type, std::span<const std::byte> bytes, std::uint64_t i) {
  if (type == GgufType::kF32) {
    return read_at<float>(bytes, i);
  }
  if (type == GgufType::kF64) {
    return read_at<double>(bytes, i);
  }
  return std::nullopt;
}

GgufValue scalar(GgufType type, std::span<const std::byte> bytes) {
  if (type == GgufType::kBool) {
    return read_at<std::uint8_t>(bytes, 0) != 0;
  }
  if (const auto integer = integer_at(type, bytes, 0)) {
    return *integer;
  }
  if (const auto number = number_at(type, bytes, 0)) {
    return *number;
  }
  return static_cast<double>(read_at<std::uint64_t>(bytes, 0));
}

}  // namespace

std::optional<std::vector<std::int64_t>> GgufArray::integers() const {
  std::vector<std::int64_t> values;
  for (std::uint64_t i = 0; type != GgufType::kString && i < count; ++i) {
    const auto value = integer_at(type, numbers, i);
    if (!value) {
      return std::nullopt;
    }
    values.push_back(*value);
  }
  return values.size() == count ? std::optional(std::move(values)) : std::nullopt;
}

std::optional<std::vector<float>> GgufArray::floats() const {
  std::vector<float> values;
  for (std::uint64_t i = 0; type != GgufType::kString && i < count; ++i) {
    const auto value = number_at(type, numbers, i);
    if (!value) {
      return std::nullopt;
    }
    values.push_back(static_cast<float>(*value));
  }
  return values.size() == count ? std::optional(std::move(values)) : std::nullopt;
}

bool is_gguf(std::span<const std::byte> bytes) {
  return bytes.size() >= kMagic.size() &&
         std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) == 0;
}

/// Reads one file from front to back.
class GgufParser {
 public:
  GgufParser(std::span<const std::byte> bytes, std::string_view name)
      : bytes_(bytes), reader_(bytes) {
    file_.names_ = {std::string(name)};
  }

  base::StatusOr<GgufFile> parse() {
    if (!is_gguf(bytes_)) {
      return base::data_loss("{}: expected a GGUF file, got {} bytes that do not begin with 'GGUF'",
                             file_.name(), bytes_.size());
    }
    reader_.take(kMagic.size());
    const auto version = reader_.read<std::uint32_t>();
    if (version != 2 && version != 3) {
      const bool swapped = version == 0x02000000 || version == 0x03000000;
      return base::unimplemented("{}: GGUF version {}{}; known are 2 and 3", file_.name(), version,
                                 swapped ? " (a big-endian file)" : "");
    }
    const auto tensors = reader_.read<std::uint64_t>();
    const auto values = reader_.read<std::uint64_t>();
    for (std::uint64_t i = 0; i < values; ++i) {
      GAMELAN_RETURN_IF_ERROR(parse_value());
    }
    for (std::uint64_t i = 0; i < tensors; ++i) {
      GAMELAN_RETURN_IF_ERROR(parse_tensor());
    }
    GAMELAN_RETURN_IF_ERROR(place_tensors());
    return std::move(file_);
  }

 private:
  base::Status cut_short(std::string_view what) {
    return base::data_loss("{}: {} does not lie within the file's {} bytes", file_.name(), what,
                           bytes_.size());
  }

  std::string_view string() { return reader_.text(reader_.read<std::uint64_t>()); }

  base::Status parse_value() {
    const std::string_view key = string();
    const auto type = static_cast<GgufType>(reader_.read<std::uint32_t>());
    if (!reader_.ok() || key.size() > kMaxName) {
      return cut_short(fmt::format("key {}", file_.values_.size()));
    }
    GgufValue value;
    if (type == GgufType::kString) {
      value = string();
    } else if (type == GgufType::kArray) {
      GAMELAN_ASSIGN_OR_RETURN(value, parse_array(key));
    } else if (const std::uint64_t size = size_of(type); size != 0) {
      const auto taken = reader_.take(size);
      value = taken.empty() ? GgufValue() : scalar(type, taken);
    } else {
      return base::data_loss("{}: '{}' has type {}, expected one of 0 to 12", file_.name(),
                             shown(key), static_cast<std::uint32_t>(type));
    }
    if (!reader_.ok()) {
      return cut_short(fmt::format("the value of '{}'", shown(key)));
    }
    if (!file_.values_.emplace(key, std::move(value)).second) {
      return base::data_loss("{}: the key '{}' occurs twice", file_.name(), shown(key));
    }
    return base::OkStatus();
  }

  base::StatusOr<GgufValue> parse_array(std::string_view key) {
    GgufArray array;
    array.type = static_cast<GgufType>(reader_.read<std::uint32_t>());
    array.count = reader_.read<std::uint64_t>();
    const bool strings = array.type == GgufType::kString;
    const std::uint64_t size = strings ? sizeof(std::uint64_t) : size_of(array.type);
    if (size == 0) {
      return base::unimplemented("{}: '{}': expected an array of numbers or strings, got type {}",
                                 file_.name(), shown(key), static_cast<std::uint32_t>(array.type));
    }
    if (!reader_.ok() || array.count > reader_.left() / size) {
      return cut_short(fmt::format("the array '{}' of {} elements", shown(key), array.count));
    }
    if (!strings) {
      array.numbers = reader_.take(array.count * size);
      return array;
    }
    for (std::uint64_t i = 0; i < array.count && reader_.ok(); ++i) {
      array.strings.push_back(string());
    }
    return array;
  }

  base::Status parse_tensor() {
    GgufTensor tensor;
    tensor.name = string();
    const auto dimensions = reader_.read<std::uint32_t>();
    if (!reader_.ok() || tensor.name.size() > kMaxName) {
      return cut_short(fmt::format("the name of tensor {}", file_.tensors_.size()));
    }
    const std::string where = fmt::format("{}: tensor '{}'", file_.name(), shown(tensor.name));
    if (dimensions < 1 || dimensions > kMaxDimensions) {
      return base::data_loss("{}: expected 1 to {} dimensions, got {}", where, kMaxDimensions,
                             dimensions);
    }
    std::int64_t elements = 1;
    for (std::uint32_t i = 0; i < dimensions; ++i) {
      const auto size = reader_.read<std::uint64_t>();
      if (size < 1 || size > static_cast<std::uint64_t>(kMaxElements / elements)) {
        return base::data_loss(
            "{}: dimension {} is {}, expected at least 1 and 2^48 elements at "
            "most",
            where, i, size);
      }
      elements *= static_cast<std::int64_t>(size);
      tensor.shape.insert(tensor.shape.begin(), static_cast<std::int64_t>(size));
    }
    const auto type = reader_.read<std::uint32_t>();
    const auto offset = reader_.read<std::uint64_t>();
    if (!reader_.ok()) {
      return cut_short(where);
    }
    tensor.format = find_gguf_format(type);
    if (tensor.format == nullptr) {
      return base::unimplemented("{}: its type is {}; known are {}", where, gguf_format_name(type),
                                 known_gguf_formats());
    }
    if (tensor.shape.back() % tensor.format->block_size != 0) {
      return base::data_loss("{}: rows of {} numbers are not whole blocks of {}'s {}", where,
                             tensor.shape.back(), tensor.format->name, tensor.format->block_size);
    }
    if (!file_.tensor_index_.emplace(tensor.name, file_.tensors_.size()).second) {
      return base::data_loss("{}: it occurs twice", where);
    }
    places_.push_back({offset, static_cast<std::uint64_t>(elements / tensor.format->block_size *
                                                          tensor.format->block_bytes)});
    file_.tensors_.push_back(std::move(tensor));
    return base::OkStatus();
  }

  base::Status place_tensors() {
    GgufReader reader(file_);
    const std::int64_t alignment = reader.integer("general.alignment", 32, 1, 1 << 20);
    GAMELAN_RETURN_IF_ERROR(reader.status());
    const auto step = static_cast<std::uint64_t>(alignment);
    const std::uint64_t start = (reader_.offset() + step - 1) / step * step;
    const auto data = bytes_.subspan(std::min<std::uint64_t>(start, bytes_.size()));
    std::vector<std::pair<std::uint64_t, std::size_t>> order;
    for (std::size_t i = 0; i < file_.tensors_.size(); ++i) {
      GgufTensor& tensor = file_.tensors_[i];
      const auto [offset, size] = places_[i];
      const std::string where = fmt::format("tensor '{}'", shown(tensor.name));
      if (offset > data.size() || size > data.size() - offset) {
        return cut_short(fmt::format("{} of {} bytes from {} on", where, size, offset));
      }
      if (offset % step != 0) {
        return base::data_loss("{}: {}: its offset {} is not a multiple of {}", file_.name(), where,
                               offset, alignment);
      }
      tensor.bytes = data.subspan(offset, size);
      order.emplace_back(offset, i);
    }
    return check_overlap(std::move(order));
  }

  base::Status check_overlap(std::vector<std::pair<std::uint64_t, std::size_t>> order) {
    std::sort(order.begin(), order.end());
    for (std::size_t i = 1; i < order.size(); ++i) {
      const GgufTensor& before = file_.tensors_[order[i - 1].second];
      if (before.bytes.size() > order[i].first - order[i - 1].first) {
        return base::data_loss("{}: tensors '{}' and '{}' overlap", file_.name(),
                               shown(before.name), shown(file_.tensors_[order[i].second].name));
      }
    }
    return base::OkStatus();
  }

  struct Place {
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
  };

  std::span<const std::byte> bytes_;
  ByteReader reader_;
  GgufFile file_;
  std::vector<Place> places_;  // of the tensors
};

base::StatusOr<GgufFile> GgufFile::parse(std::span<const std::byte> bytes, std::string_view name) {
  return GgufParser(bytes, name).parse();
}

base::Status GgufFile::append(GgufFile part) {
  for (GgufTensor& tensor : part.tensors_) {
    if (const GgufTensor* const other = find_tensor(tensor.name)) {
      return base::data_loss("{}: tensor '{}' is in {} as well", part.name(), shown(tensor.name),
                             name_of(*other));
    }
    tensor.part += names_.size();
    tensor_index_.emplace(tensor.name, tensors_.size());
    tensors_.push_back(std::move(tensor));
  }
  std::move(part.names_.begin(), part.names_.end(), std::back_inserter(names_));
  return base::OkStatus();
}

const GgufValue* GgufFile::find(std::string_view key) const {
  const auto found = values_.find(key);
  return found == values_.end() ? nullptr : &found->second;
}

const GgufTensor* GgufFile::find_tensor(std::string_view name) const {
  const auto found = tensor_index_.find(name);
  return found == tensor_index_.end() ? nullptr : &tensors_[found->second];
}

}  // namespace gamelan::io
