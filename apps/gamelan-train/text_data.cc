#include "gamelan-train/text_data.h"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "train/torch_view.h"

namespace gamelan::apps {
namespace {

// The number of the class that `value` names, or is.
std::optional<std::int64_t> class_of(const std::string& value,
                                     const std::vector<std::string>& labels) {
  if (const auto found = std::find(labels.begin(), labels.end(), value); found != labels.end()) {
    return found - labels.begin();
  }
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  return error == std::errc() && end == value.data() + value.size() && number < labels.size()
             ? std::optional(static_cast<std::int64_t>(number))
             : std::nullopt;
}

void draw_samples(io::TextDataset& data, std::int64_t count, std::uint64_t seed) {
  const auto size = static_cast<std::int64_t>(data.examples.size());
  if (count == 0 || count >= size) {
    return;
  }
  const at::Generator generator = at::detail::createCPUGenerator(seed);
  const at::Tensor chosen =
      std::get<0>(at::randperm(size, generator, at::kLong).narrow(0, 0, count).sort());
  std::vector<io::TextExample> kept;
  for (std::int64_t i = 0; i < count; ++i) {
    kept.push_back(std::move(data.examples[chosen[i].item<std::int64_t>()]));
  }
  data.examples = std::move(kept);
}

}  // namespace

io::TextDataset read_texts(const std::string& path, const TextDataOptions& options,
                           const std::vector<std::string>& labels) {
  io::TextDatasetOptions reading;
  reading.columns = options.columns;
  reading.has_header = options.has_header;
  io::TextDataset data = train::value_or_throw(io::load_text_dataset(path, reading));
  if (labels.empty()) {
    TORCH_CHECK_VALUE(data.labels.size() >= 2, path, ": expected at least two classes, got ",
                      data.labels.size(), " (", data.labels.front(), ")");
  } else {
    std::vector<std::int64_t> numbers;
    for (const std::string& name : data.labels) {
      const std::optional<std::int64_t> number = class_of(name, labels);
      if (!number) {
        // Read again with the known classes alone: that error names the line.
        reading.labels = labels;
        train::throw_if_error(io::load_text_dataset(path, reading).status());
      }
      TORCH_CHECK_VALUE(number.has_value(), path, ": expected the classes ",
                        fmt::format("{}", fmt::join(labels, ", ")), ", got '", name, "'");
      numbers.push_back(*number);
    }
    for (io::TextExample& example : data.examples) {
      example.label = numbers[static_cast<std::size_t>(example.label)];
    }
    data.labels = labels;
  }
  draw_samples(data, options.max_samples, options.seed);
  return data;
}

}  // namespace gamelan::apps
