#include "io/row_reader.h"

#include <charconv>
#include <optional>
#include <utility>

#include "io/json_file.h"

namespace gamelan::io {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxFields = 10'000;

/// The number that `text` spells; nullopt when it is a name.
std::optional<std::size_t> as_number(const std::string& text) {
  std::size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && !text.empty()
             ? std::optional(value)
             : std::nullopt;
}

}  // namespace

base::StatusOr<RowReader> RowReader::create(LineReader lines, RowFormat format,
                                            const RowColumns& columns, bool has_header) {
  RowReader reader(std::move(lines), format, columns);
  if (format == RowFormat::kJsonl) {
    return reader;
  }
  GAMELAN_RETURN_IF_ERROR(has_header ? reader.read_header() : reader.resolve_numbers());
  return reader;
}

base::Status RowReader::read_header() {
  GAMELAN_ASSIGN_OR_RETURN(const bool any, next_line());
  if (!any) {
    return base::invalid_argument("{}: expected a header line, got an empty file", path());
  }
  GAMELAN_RETURN_IF_ERROR(split_line());
  field_count_ = fields_.size();
  GAMELAN_ASSIGN_OR_RETURN(text_index_, find_column(columns_.text, fields_));
  GAMELAN_ASSIGN_OR_RETURN(label_index_, find_column(columns_.label, fields_));
  return base::OkStatus();
}

base::Status RowReader::resolve_numbers() {
  for (const auto& [name, index] :
       {std::pair(&columns_.text, &text_index_), std::pair(&columns_.label, &label_index_)}) {
    const std::optional<std::size_t> number = as_number(*name);
    if (!number) {
      return base::invalid_argument(
          "{}: column '{}' is a name, but the file is read without a header; give its number, from "
          "0",
          path(), *name);
    }
    *index = *number;
  }
  return base::OkStatus();
}

base::StatusOr<std::size_t> RowReader::find_column(const std::string& name,
                                                   const std::vector<std::string>& header) const {
  for (std::size_t i = 0; i < header.size(); ++i) {
    if (header[i] == name) {
      return i;
    }
  }
  if (const std::optional<std::size_t> number = as_number(name);
      number && *number < header.size()) {
    return *number;
  }
  constexpr std::size_t kShown = 500;
  return base::invalid_argument("{}:{}: no column '{}'; the header has: {}", path(), row_line_,
                                name, fmt::format("{}", fmt::join(header, ", ")).substr(0, kShown));
}

base::StatusOr<bool> RowReader::next_line() {
  do {
    GAMELAN_ASSIGN_OR_RETURN(const bool any, lines_.next(line_));
    if (!any) {
      return false;
    }
  } while (line_.empty());
  row_line_ = lines_.line_number();
  return true;
}

base::Status RowReader::split_line() {
  fields_.clear();
  if (format_ == RowFormat::kCsv) {
    return split_csv();
  }
  std::string_view rest = line_;
  while (true) {
    const std::size_t tab = rest.find('\t');
    fields_.emplace_back(rest.substr(0, tab));
    if (tab == std::string_view::npos) {
      return base::OkStatus();
    }
    if (fields_.size() == kMaxFields) {
      return base::invalid_argument("{}:{}: over {} fields", path(), row_line_, kMaxFields);
    }
    rest.remove_prefix(tab + 1);
  }
}

/// RFC 4180, one character at a time; a quoted field that is open at the end of the line goes on in
/// the next one.
base::Status RowReader::split_csv() {
  // A row may span lines, but not more bytes than a line may have.
  constexpr std::size_t kMaxRowBytes = LineReaderLimits().max_line_bytes;
  std::size_t row_bytes = line_.size();
  std::string field;
  bool quoted = false;      // inside quotes
  bool was_quoted = false;  // the quotes are closed: only a comma may follow
  for (std::size_t i = 0;; ++i) {
    if (i == line_.size() && quoted) {
      GAMELAN_ASSIGN_OR_RETURN(const bool any, lines_.next(line_));
      row_bytes += line_.size() + 1;
      if (!any || row_bytes > kMaxRowBytes) {
        return base::invalid_argument("{}:{}: a quoted field is not closed", path(), row_line_);
      }
      field += '\n';
      i = static_cast<std::size_t>(-1);
      continue;
    }
    if (i == line_.size() || (line_[i] == ',' && !quoted)) {
      fields_.push_back(std::move(field));
      field.clear();
      was_quoted = false;
      if (i == line_.size()) {
        return base::OkStatus();
      }
      if (fields_.size() == kMaxFields) {
        return base::invalid_argument("{}:{}: over {} fields", path(), row_line_, kMaxFields);
      }
    } else if (quoted && line_[i] == '"' && i + 1 < line_.size() && line_[i + 1] == '"') {
      field += '"';
      ++i;
    } else if (quoted && line_[i] == '"') {
      quoted = false;
      was_quoted = true;
    } else if (!quoted && line_[i] == '"' && field.empty() && !was_quoted) {
      quoted = true;
    } else if (was_quoted) {
      return base::invalid_argument(
          "{}:{}: field {}: expected a comma after the closing quote, got "
          "'{}'",
          path(), row_line_, fields_.size(), line_.substr(i, 1));
    } else {
      field += line_[i];
    }
  }
}

base::Status RowReader::read_json(RawRow& row) const {
  const std::string where = fmt::format("{}:{}", path(), row_line_);
  GAMELAN_ASSIGN_OR_RETURN(const json object, parse_json(line_, where));
  JsonReader reader(object, where);
  row.text = reader.string(columns_.text.c_str(), std::nullopt);
  GAMELAN_RETURN_IF_ERROR(reader.status());
  const auto label = object.find(columns_.label);
  if (label == object.end()) {
    return base::invalid_argument("{}: '{}' is missing", where, columns_.label);
  }
  if (label->is_string()) {
    row.label = label->get<std::string>();
  } else if (label->is_boolean()) {
    row.label.assign(1, label->get<bool>() ? '1' : '0');
  } else if (label->is_number()) {
    row.label = label->dump();
  } else {
    return base::invalid_argument("{}: '{}': expected a number, a string or a boolean, got {}",
                                  where, columns_.label, describe(*label));
  }
  return base::OkStatus();
}

base::StatusOr<bool> RowReader::next(RawRow& row) {
  GAMELAN_ASSIGN_OR_RETURN(const bool any, next_line());
  if (!any) {
    return false;
  }
  row.line = row_line_;
  if (format_ == RowFormat::kJsonl) {
    GAMELAN_RETURN_IF_ERROR(read_json(row));
    return true;
  }
  GAMELAN_RETURN_IF_ERROR(split_line());
  if (field_count_ == 0) {
    field_count_ = fields_.size();
  }
  if (fields_.size() != field_count_) {
    return base::invalid_argument("{}:{}: expected {} fields as in the first row, got {}", path(),
                                  row_line_, field_count_, fields_.size());
  }
  for (const std::size_t index : {text_index_, label_index_}) {
    if (index >= fields_.size()) {
      return base::invalid_argument("{}:{}: expected a column {}, got {} fields", path(), row_line_,
                                    index, fields_.size());
    }
  }
  row.text = fields_[text_index_];
  row.label = fields_[label_index_];
  return true;
}

}  // namespace gamelan::io
