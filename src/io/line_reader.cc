#include "io/line_reader.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "base/fd.h"

namespace gamelan::io {
namespace {

constexpr unsigned kChunkBytes = 256U << 10;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

struct CloseGz {
  void operator()(gzFile_s* file) const { gzclose_r(file); }
};

}  // namespace

struct LineReader::Impl {
  std::string path;
  LineReaderLimits limits;
  std::unique_ptr<gzFile_s, CloseGz> file;  // null when reading memory
  std::vector<char> chunk;
  std::string_view rest;  // unread part of the chunk, or of the memory
  std::uint64_t total_bytes = 0;
  std::uint64_t line_number = 0;

  /// Reads the next chunk into `rest`, which stays empty at the end of the file.
  base::Status refill() {
    if (file == nullptr) {
      return base::OkStatus();
    }
    const int got = gzread(file.get(), chunk.data(), kChunkBytes);
    int error = Z_OK;
    const char* text = gzerror(file.get(), &error);
    if (error == Z_ERRNO) {
      return base::errno_status(errno, "read {}", path);
    }
    if (got < 0 || (error != Z_OK && error != Z_STREAM_END)) {
      return base::data_loss("{}: damaged or truncated gzip data after {} bytes: {}", path,
                             total_bytes, text);
    }
    total_bytes += static_cast<std::uint64_t>(got);
    if (total_bytes > limits.max_total_bytes) {
      return base::resource_exhausted("{}: over the limit of {} decompressed bytes", path,
                                      limits.max_total_bytes);
    }
    rest = std::string_view(chunk.data(), static_cast<std::size_t>(got));
    return base::OkStatus();
  }
};

LineReader::LineReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LineReader::~LineReader() = default;
LineReader::LineReader(LineReader&&) noexcept = default;
LineReader& LineReader::operator=(LineReader&&) noexcept = default;

std::uint64_t LineReader::line_number() const {
  return impl_->line_number;
}
const std::string& LineReader::path() const {
  return impl_->path;
}

base::StatusOr<LineReader> LineReader::open(std::string_view path, const LineReaderLimits& limits) {
  auto impl = std::make_unique<Impl>();
  impl->path = std::string(path);
  impl->limits = limits;
  base::Fd fd(::open(impl->path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) {
    return base::errno_status(errno, "open {}", path);
  }
  struct stat info = {};
  if (::fstat(fd.get(), &info) != 0) {
    return base::errno_status(errno, "stat {}", path);
  }
  if (!S_ISREG(info.st_mode)) {
    return base::invalid_argument("open {}: expected a regular file", path);
  }
  impl->file.reset(gzdopen(fd.get(), "rb"));
  if (impl->file == nullptr) {
    return base::resource_exhausted("open {}: no memory for reading it", path);
  }
  fd.release();  // closed with the gzFile
  gzbuffer(impl->file.get(), kChunkBytes);
  impl->chunk.resize(kChunkBytes);
  return LineReader(std::move(impl));
}

LineReader LineReader::over(std::string_view text, std::string_view name,
                            const LineReaderLimits& limits) {
  auto impl = std::make_unique<Impl>();
  impl->path = std::string(name);
  impl->limits = limits;
  impl->rest = text;
  return LineReader(std::move(impl));
}

base::StatusOr<bool> LineReader::next_with_end(std::string& line) {
  line.clear();
  bool any = false;
  bool ended = false;
  while (!ended) {
    if (impl_->rest.empty()) {
      GAMELAN_RETURN_IF_ERROR(impl_->refill());
      if (impl_->rest.empty()) {
        break;
      }
    }
    any = true;
    const std::size_t newline = impl_->rest.find('\n');
    ended = newline != std::string_view::npos;
    const std::size_t size = ended ? newline + 1 : impl_->rest.size();
    line += impl_->rest.substr(0, size);
    impl_->rest.remove_prefix(size);
    if (line.size() - (ended ? 1 : 0) > impl_->limits.max_line_bytes) {
      return base::invalid_argument("{}:{}: a line over the limit of {} bytes", impl_->path,
                                    impl_->line_number + 1, impl_->limits.max_line_bytes);
    }
  }
  impl_->line_number += any ? 1 : 0;
  return any;
}

base::StatusOr<bool> LineReader::next(std::string& line) {
  GAMELAN_ASSIGN_OR_RETURN(const bool any, next_with_end(line));
  if (line.ends_with('\n')) {
    line.pop_back();
  }
  if (line.ends_with('\r')) {
    line.pop_back();
  }
  if (impl_->line_number == 1 && line.starts_with(kByteOrderMark)) {
    line.erase(0, kByteOrderMark.size());
  }
  return any;
}

}  // namespace gamelan::io
