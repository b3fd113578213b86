#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"

namespace gamelan::io {

struct LineReaderLimits {
  std::size_t max_line_bytes = std::size_t{64} << 20;
  /// Of the whole file, decompressed: a small archive may hold a great deal of nothing.
  std::uint64_t max_total_bytes = std::uint64_t{16} << 30;
};

/// Lines of a text file, plain or gzip (found out by content, not by name). "\n" and "\r\n" end
/// lines; a byte order mark at the start is dropped. Not thread-safe; moves, does not copy.
class LineReader {
 public:
  static base::StatusOr<LineReader> open(std::string_view path,
                                         const LineReaderLimits& limits = {});
  /// Lines of `text`, which must outlive the object; `name` stands for the path in messages.
  static LineReader over(std::string_view text, std::string_view name,
                         const LineReaderLimits& limits = {});
  ~LineReader();
  LineReader(LineReader&&) noexcept;
  LineReader& operator=(LineReader&&) noexcept;

  /// The next line without its end; false at the end of the file. Fails on read errors, damaged or
  /// truncated gzip data and lines over the limit, with file and line in the message.
  base::StatusOr<bool> next(std::string& line);
  /// The same with nothing dropped: neither the line's end nor a byte order mark.
  base::StatusOr<bool> next_with_end(std::string& line);

  /// Number of the line that was given last, from 1.
  std::uint64_t line_number() const;
  const std::string& path() const;

 private:
  struct Impl;
  explicit LineReader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace gamelan::io
