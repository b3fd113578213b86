#include "io/text_dataset.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <map>
#include <numeric>
#include <optional>
#include <random>
#include <utility>

#include "io/mapped_file.h"
#include "text/utf8.h"

namespace gamelan::io {
namespace {

namespace fs = std::filesystem;

template <class T>
std::optional<T> parse_number(std::string_view text) {
  T value = {};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(value)
                                                                  : std::nullopt;
}

/// Texts with the names of their classes, before the classes have numbers.
struct NamedExamples {
  std::vector<std::string> texts;
  std::vector<std::size_t> labels;  // into `names`
  std::vector<std::string> names;   // in the order of appearance
  std::map<std::string, std::size_t, std::less<>> index;

  std::size_t name_index(const std::string& label) {
    const auto [place, is_new] = index.emplace(label, names.size());
    if (is_new) {
      names.push_back(label);
    }
    return place->second;
  }
};

std::string as_valid_utf8(std::string text) {
  return text::is_valid_utf8(text) ? std::move(text) : text::replace_invalid_utf8(text);
}

/// The class of a row; nullopt when the row is left out.
base::StatusOr<std::optional<std::string>> class_of(const RawRow& row, LabelTransform transform,
                                                    const std::string& path) {
  if (transform == LabelTransform::kNone) {
    if (row.label.empty()) {
      return base::invalid_argument("{}:{}: the label is empty", path, row.line);
    }
    return std::optional(as_valid_utf8(row.label));
  }
  const std::optional<double> value = parse_number<double>(row.label);
  if (!value || std::isnan(*value)) {
    return base::invalid_argument("{}:{}: expected a number as label, got '{}'", path, row.line,
                                  row.label.substr(0, 60));
  }
  if (*value == 0) {
    return std::optional<std::string>();
  }
  return std::optional<std::string>(*value < 0 ? "negative" : "positive");
}

/// Whole numbers by value, anything else by name.
std::vector<std::string> sorted_labels(std::vector<std::string> names) {
  const bool numbers = std::all_of(names.begin(), names.end(), [](const std::string& name) {
    return parse_number<std::int64_t>(name).has_value();
  });
  std::sort(names.begin(), names.end(), [numbers](const std::string& a, const std::string& b) {
    return numbers ? std::pair(*parse_number<std::int64_t>(a), a) <
                         std::pair(*parse_number<std::int64_t>(b), b)
                   : a < b;
  });
  return names;
}

base::StatusOr<TextDataset> number_classes(NamedExamples examples, const std::string& path,
                                           const TextDatasetOptions& options) {
  if (examples.texts.empty()) {
    return base::invalid_argument("{}: expected at least one labelled text, got none", path);
  }
  TextDataset dataset;
  dataset.labels = options.labels;
  if (dataset.labels.empty()) {
    dataset.labels = options.label_transform == LabelTransform::kSign
                         ? std::vector<std::string>{"negative", "positive"}
                         : sorted_labels(examples.names);
  }
  std::vector<std::int64_t> number_of;
  for (const std::string& name : examples.names) {
    const auto place = std::find(dataset.labels.begin(), dataset.labels.end(), name);
    number_of.push_back(place - dataset.labels.begin());
  }
  dataset.examples.reserve(examples.texts.size());
  for (std::size_t i = 0; i < examples.texts.size(); ++i) {
    dataset.examples.push_back({std::move(examples.texts[i]), number_of[examples.labels[i]]});
  }
  return dataset;
}

DatasetFormat format_of(std::string_view path) {
  std::error_code ignored;
  if (fs::is_directory(fs::path(path), ignored)) {
    return DatasetFormat::kFolder;
  }
  if (path.ends_with(".gz")) {
    path.remove_suffix(3);
  }
  if (path.ends_with(".tsv") || path.ends_with(".txt")) {
    return DatasetFormat::kTsv;
  }
  if (path.ends_with(".csv")) {
    return DatasetFormat::kCsv;
  }
  return path.ends_with(".jsonl") || path.ends_with(".json") ? DatasetFormat::kJsonl
                                                             : DatasetFormat::kAuto;
}

/// Names inside `folder`, sorted; only folders, or only files whose name ends with `suffix`.
base::StatusOr<std::vector<std::string>> list(const fs::path& folder, bool folders,
                                              std::string_view suffix) {
  std::error_code error;
  std::vector<std::string> names;
  for (fs::directory_iterator entry(folder, error); entry != fs::directory_iterator();
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    std::error_code ignored;
    if (entry->is_directory(ignored) == folders && name.ends_with(suffix) &&
        !name.starts_with('.')) {
      names.push_back(name);
    }
  }
  if (error) {
    return base::errno_status(error.value(), "list folder {}", folder.string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

base::StatusOr<std::vector<std::string>> class_folders(const fs::path& root,
                                                       const TextDatasetOptions& options) {
  if (!options.labels.empty()) {
    return options.labels;
  }
  GAMELAN_ASSIGN_OR_RETURN(std::vector<std::string> names, list(root, true, ""));
  const auto has = [&names](std::string_view name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  if (has("neg") && has("pos")) {
    return std::vector<std::string>{"neg", "pos"};
  }
  std::erase(names, "unsup");
  if (names.empty() || names.size() > options.max_labels) {
    return base::invalid_argument("{}: expected 1 to {} sub-folders, one a class, got {}",
                                  root.string(), options.max_labels, names.size());
  }
  return names;
}

base::StatusOr<TextDataset> load_folder(std::string_view path, const TextDatasetOptions& options) {
  const fs::path root(path);
  GAMELAN_ASSIGN_OR_RETURN(std::vector<std::string> classes, class_folders(root, options));
  TextDataset dataset;
  for (std::size_t label = 0; label < classes.size(); ++label) {
    GAMELAN_ASSIGN_OR_RETURN(const std::vector<std::string> files,
                             list(root / classes[label], false, ".txt"));
    for (const std::string& name : files) {
      GAMELAN_ASSIGN_OR_RETURN(const MappedFile file,
                               MappedFile::open((root / classes[label] / name).string()));
      dataset.examples.push_back(
          {as_valid_utf8(std::string(file.text())), static_cast<std::int64_t>(label)});
    }
  }
  if (dataset.examples.empty()) {
    return base::invalid_argument("{}: expected .txt files in {}, got none", path,
                                  fmt::join(classes, ", "));
  }
  dataset.labels = std::move(classes);
  return dataset;
}

RowFormat row_format(DatasetFormat format) {
  return format == DatasetFormat::kCsv     ? RowFormat::kCsv
         : format == DatasetFormat::kJsonl ? RowFormat::kJsonl
                                           : RowFormat::kTsv;
}

}  // namespace

base::StatusOr<TextDataset> load_text_dataset(std::string_view path,
                                              const TextDatasetOptions& options) {
  TextDatasetOptions resolved = options;
  if (resolved.format == DatasetFormat::kAuto) {
    resolved.format = format_of(path);
  }
  if (resolved.format == DatasetFormat::kAuto) {
    return base::invalid_argument(
        "{}: the format cannot be told from the name; expected a folder, .tsv, .csv, .jsonl or "
        ".txt "
        "(each also with .gz), or the format as an option",
        path);
  }
  if (resolved.format == DatasetFormat::kFolder) {
    return load_folder(path, resolved);
  }
  GAMELAN_ASSIGN_OR_RETURN(LineReader lines, LineReader::open(path));
  return read_text_dataset(std::move(lines), resolved);
}

base::StatusOr<TextDataset> read_text_dataset(LineReader lines, const TextDatasetOptions& options) {
  GAMELAN_ASSIGN_OR_RETURN(RowReader rows,
                           RowReader::create(std::move(lines), row_format(options.format),
                                             options.columns, options.has_header));
  NamedExamples examples;
  RawRow row;
  while (true) {
    GAMELAN_ASSIGN_OR_RETURN(const bool any, rows.next(row));
    if (!any) {
      break;
    }
    GAMELAN_ASSIGN_OR_RETURN(const std::optional<std::string> label,
                             class_of(row, options.label_transform, rows.path()));
    if (!label) {
      continue;
    }
    if (!options.labels.empty() &&
        std::find(options.labels.begin(), options.labels.end(), *label) == options.labels.end()) {
      return base::invalid_argument("{}:{}: expected one of the labels {}, got '{}'", rows.path(),
                                    row.line, fmt::join(options.labels, ", "),
                                    label->substr(0, 60));
    }
    examples.labels.push_back(examples.name_index(*label));
    if (examples.names.size() > options.max_labels) {
      return base::invalid_argument(
          "{}:{}: over {} different labels, the last '{}'; is '{}' the column of the labels?",
          rows.path(), row.line, options.max_labels, label->substr(0, 60), options.columns.label);
    }
    examples.texts.push_back(as_valid_utf8(std::move(row.text)));
  }
  return number_classes(std::move(examples), rows.path(), options);
}

base::StatusOr<DatasetSplit> split_dataset(std::size_t size, double fraction, std::uint64_t seed) {
  if (!(fraction >= 0 && fraction < 1)) {
    return base::invalid_argument("the fraction to hold out must be at least 0 and below 1, got {}",
                                  fraction);
  }
  auto count = static_cast<std::size_t>(std::llround(static_cast<double>(size) * fraction));
  if (fraction > 0 && size >= 2) {
    count = std::clamp<std::size_t>(count, 1, size - 1);
  }
  std::vector<std::size_t> order(size);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::mt19937_64 random(seed);
  for (std::size_t i = 0; i < count; ++i) {
    // Unbiased: numbers past the last whole multiple of the range are drawn again.
    const std::uint64_t range = size - i;
    const std::uint64_t end = random.max() - random.max() % range;
    std::uint64_t draw = random();
    while (draw >= end) {
      draw = random();
    }
    std::swap(order[i], order[i + draw % range]);
  }
  DatasetSplit split;
  const auto middle = order.begin() + static_cast<std::ptrdiff_t>(count);
  split.held_out.assign(order.begin(), middle);
  split.train.assign(middle, order.end());
  std::sort(split.held_out.begin(), split.held_out.end());
  std::sort(split.train.begin(), split.train.end());
  return split;
}

}  // namespace gamelan::io
