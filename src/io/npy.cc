#include "io/npy.h"

#include <fmt/format.h>

#include <bit>
#include <span>
#include <string>

#include "io/atomic_file.h"

namespace gamelan::io {

base::Status write_npy(std::string_view path, tensor::MatrixView<const float> matrix) {
  static_assert(std::endian::native == std::endian::little, "the header says '<f4'");
  std::string header = fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}",
                                   matrix.rows, matrix.columns);
  // Magic (6), version (2), length (2) and header end at a multiple of 64, the header with a newline.
  constexpr std::size_t kBefore = 10;
  header.append(63 - (kBefore + header.size()) % 64, ' ');
  header += '\n';
  const std::string start = {'\x93', 'N', 'U', 'M', 'P', 'Y', '\x01', '\x00',
                             static_cast<char>(header.size() % 256),
                             static_cast<char>(header.size() / 256)};
  GAMELAN_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path));
  GAMELAN_RETURN_IF_ERROR(file.write(start));
  GAMELAN_RETURN_IF_ERROR(file.write(header));
  for (std::int64_t row = 0; row < matrix.rows; ++row) {
    const std::span<const float> values(matrix.row(row), static_cast<std::size_t>(matrix.columns));
    GAMELAN_RETURN_IF_ERROR(file.write(std::as_bytes(values)));
  }
  return file.commit();
}

}  // namespace gamelan::io
