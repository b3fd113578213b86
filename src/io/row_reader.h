#pragma once

// Rows of text data files as named fields, whatever the format: what io/text_dataset.cc reads from.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "io/line_reader.h"

namespace gamelan::io {

/// The label and the text of one row, as they stand in the file.
struct RawRow {
  std::string label;
  std::string text;
  std::uint64_t line = 0;  // where the row starts, from 1
};

/// Which fields of a row are wanted: names, or numbers from 0.
struct RowColumns {
  std::string text = "text";
  std::string label = "label";
};

enum class RowFormat : std::uint8_t { kTsv, kCsv, kJsonl };

/// Reads label and text of every row. Not thread-safe.
///
/// TSV: fields between tabs, taken as they are. CSV: RFC 4180: fields in double quotes may hold
/// commas, newlines and doubled quotes. JSONL: one object a line; the label a string, a whole
/// number or a boolean. Empty lines are skipped (outside quotes). Every row has as many fields as
/// the first.
class RowReader {
 public:
  /// `has_header`: the first row of TSV or CSV holds the names of the columns.
  static base::StatusOr<RowReader> create(LineReader lines, RowFormat format,
                                          const RowColumns& columns, bool has_header);

  /// The next row; false at the end. An error names file and line, what was expected and what came.
  base::StatusOr<bool> next(RawRow& row);

  const std::string& path() const { return lines_.path(); }

 private:
  RowReader(LineReader lines, RowFormat format, const RowColumns& columns)
      : lines_(std::move(lines)), format_(format), columns_(columns) {}

  base::Status read_header();
  base::Status resolve_numbers();
  base::StatusOr<std::size_t> find_column(const std::string& name,
                                          const std::vector<std::string>& header) const;
  base::StatusOr<bool> next_line();
  base::Status split_line();
  base::Status split_csv();
  base::Status read_json(RawRow& row) const;

  LineReader lines_;
  RowFormat format_;
  RowColumns columns_;
  std::string line_;
  std::uint64_t row_line_ = 0;
  std::vector<std::string> fields_;
  std::size_t field_count_ = 0;  // 0 until the first row is read
  std::size_t text_index_ = 0;
  std::size_t label_index_ = 0;
};

}  // namespace gamelan::io
