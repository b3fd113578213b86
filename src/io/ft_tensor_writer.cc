#include "io/ft_tensor_writer.h"

#include <algorithm>
#include <vector>

#include "io/atomic_file.h"
#include "io/weight_rows.h"

namespace gamelan::io {
namespace {

// A band of the output: large enough that a row of the source is read a kilobyte at a time.
constexpr std::int64_t kBandBytes = std::int64_t{16} << 20;
// Pages of the source that may be resident before they are let go.
constexpr std::int64_t kResidentBytes = std::int64_t{8} << 20;
// Rows of the source that are transposed together: 16 numbers of f32 are a cache line.
constexpr std::int64_t kGroup = 16;

std::span<std::byte> bytes_of(std::vector<std::byte>& buffer, std::int64_t count) {
  return std::span(buffer).first(static_cast<std::size_t>(count));
}

/// Lets go of the source's pages, so that a mapped file counts as memory only while it is read.
class Residency {
 public:
  explicit Residency(const WeightView& view) : view_(view) {}
  ~Residency() { release(); }
  Residency(const Residency&) = delete;
  Residency& operator=(const Residency&) = delete;

  void touched(std::int64_t bytes) {
    resident_ += bytes;
    if (resident_ >= kResidentBytes) {
      release();
    }
  }

 private:
  void release() {
    release_pages(view_);
    resident_ = 0;
  }
  const WeightView& view_;
  std::int64_t resident_ = 0;
};

base::Status copy_as_is(const WeightView& view, tensor::DType type, AtomicFile& file) {
  const auto size = static_cast<std::int64_t>(tensor::size_of(type));
  const std::int64_t rows = rows_of(view);
  const std::int64_t columns = columns_of(view);
  // Rows are cut too: one of them may be as large as a vector gets.
  const std::int64_t width = std::min(columns, kResidentBytes / 8);
  const std::int64_t height = std::max<std::int64_t>(1, kResidentBytes / 8 / width);
  std::vector<float> numbers;
  std::vector<std::byte> out;
  Residency residency(view);
  for (std::int64_t row = 0; row < rows; row += width == columns ? height : 1) {
    const std::int64_t count = width == columns ? std::min(height, rows - row) : 1;
    for (std::int64_t column = 0; column < columns; column += width) {
      const WeightBlock block = {row, count, column, std::min(width, columns - column)};
      numbers.resize(static_cast<std::size_t>(block.rows * block.columns));
      out.resize(numbers.size() * static_cast<std::size_t>(size));
      read_block(view, block, numbers);
      narrow(type, numbers, out);
      residency.touched(static_cast<std::int64_t>(numbers.size() * sizeof(float)));
      GAMELAN_RETURN_IF_ERROR(file.write(out));
    }
  }
  return base::OkStatus();
}

/// The rows [first, first + count) of a file, which are columns of the source.
struct Band {
  std::int64_t rank = 0;
  std::int64_t first = 0;
  std::int64_t count = 0;
};

/// The outputs of columns [first, first + count) of a file are a run of rows of the source.
std::int64_t run_length(const FtTensor& tensor, const FtGeometry& geometry, FtColumn first,
                        std::int64_t count) {
  const std::int64_t output = ft_output_of(tensor, geometry, first);
  std::int64_t length = 1;
  while (length < count &&
         ft_output_of(tensor, geometry, {first.rank, first.column + length}) == output + length) {
    ++length;
  }
  return length;
}

/// The outputs of columns [column, column + group) of the band's file, [group, band.count].
void read_outputs(const FtTensor& tensor, const FtGeometry& geometry, const WeightView& view,
                  const Band& band, std::int64_t column, std::int64_t group,
                  std::span<float> tile) {
  const bool by_inputs = tensor.split == FtSplit::kInputs;
  const std::int64_t input =
      band.first + (by_inputs ? band.rank * ft_file_rows(tensor, geometry) : 0);
  for (std::int64_t g = 0; g < group;) {
    const FtColumn place = {band.rank, column + g};
    const std::int64_t output = by_inputs ? column + g : ft_output_of(tensor, geometry, place);
    const std::int64_t run = by_inputs ? group - g : run_length(tensor, geometry, place, group - g);
    const bool vector = tensor.source.size() < 2;
    const WeightBlock block =
        vector ? WeightBlock{0, 1, output, run} : WeightBlock{output, run, input, band.count};
    read_block(view, block,
               tile.subspan(static_cast<std::size_t>(g * band.count),
                            static_cast<std::size_t>(run * band.count)));
    g += run;
  }
}

void fill_band(const FtTensor& tensor, const FtGeometry& geometry, const WeightView& view,
               const Band& band, tensor::DType type, std::span<std::byte> out) {
  const auto size = static_cast<std::int64_t>(tensor::size_of(type));
  const std::int64_t columns = ft_file_columns(tensor, geometry);
  std::vector<float> tile(static_cast<std::size_t>(kGroup * band.count));
  std::vector<float> line(static_cast<std::size_t>(kGroup));
  Residency residency(view);
  for (std::int64_t column = 0; column < columns; column += kGroup) {
    const std::int64_t group = std::min(kGroup, columns - column);
    read_outputs(tensor, geometry, view, band, column, group, tile);
    for (std::int64_t i = 0; i < band.count; ++i) {
      for (std::int64_t g = 0; g < group; ++g) {
        line[static_cast<std::size_t>(g)] = tile[static_cast<std::size_t>(g * band.count + i)];
      }
      narrow(type, std::span(line).first(static_cast<std::size_t>(group)),
             out.subspan(static_cast<std::size_t>((i * columns + column) * size),
                         static_cast<std::size_t>(group * size)));
    }
    residency.touched(group * tensor.inputs() * static_cast<std::int64_t>(sizeof(float)));
  }
}

}  // namespace

base::Status write_ft_file(const FtTensor& tensor, const FtGeometry& geometry,
                           const WeightView& view, std::int64_t rank, tensor::DType type,
                           std::string_view path) {
  GAMELAN_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path));
  if (tensor.split == FtSplit::kNone) {
    GAMELAN_RETURN_IF_ERROR(copy_as_is(view, type, file));
    return file.commit();
  }
  const std::int64_t rows = ft_file_rows(tensor, geometry);
  const std::int64_t row_bytes =
      ft_file_columns(tensor, geometry) * static_cast<std::int64_t>(tensor::size_of(type));
  const std::int64_t height = std::clamp<std::int64_t>(kBandBytes / row_bytes, 1, rows);
  std::vector<std::byte> buffer(static_cast<std::size_t>(height * row_bytes));
  for (std::int64_t row = 0; row < rows; row += height) {
    const Band band = {rank, row, std::min(height, rows - row)};
    const std::span<std::byte> out = bytes_of(buffer, band.count * row_bytes);
    fill_band(tensor, geometry, view, band, type, out);
    GAMELAN_RETURN_IF_ERROR(file.write(out));
  }
  return file.commit();
}

}  // namespace gamelan::io
