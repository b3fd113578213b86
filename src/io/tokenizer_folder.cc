#include "io/tokenizer_folder.h"

#include <array>
#include <filesystem>
#include <string>
#include <system_error>
#include <vector>

#include "io/atomic_file.h"
#include "io/mapped_file.h"

namespace gamelan::io {
namespace {

namespace fs = std::filesystem;

constexpr std::array<const char*, 9> kNames = {"tokenizer.json",
                                               "tokenizer_config.json",
                                               "special_tokens_map.json",
                                               "added_tokens.json",
                                               "vocab.json",
                                               "merges.txt",
                                               "vocab.txt",
                                               "tokenizer.model",
                                               "tokenizer.bin"};

std::vector<fs::path> files_of(const fs::path& from) {
  std::error_code ignored;  // what cannot be looked at is not there
  if (fs::is_regular_file(from, ignored)) {
    return {from};
  }
  std::vector<fs::path> files;
  for (const char* name : kNames) {
    if (fs::is_regular_file(from / name, ignored)) {
      files.push_back(from / name);
    }
  }
  return files;
}

}  // namespace

base::Status copy_tokenizer_files(std::string_view from, std::string_view to) {
  const std::vector<fs::path> files = files_of(fs::path(from));
  if (files.empty()) {
    return base::not_found(
        "{}: expected tokenizer files (tokenizer.json, vocab.json, "
        "tokenizer.model, vocab.txt or tokenizer.bin), found none",
        from);
  }
  GAMELAN_RETURN_IF_ERROR(make_folders(to));
  for (const fs::path& file : files) {
    const fs::path target = fs::path(to) / file.filename();
    std::error_code ignored;  // a target that is missing is another file
    if (fs::equivalent(file, target, ignored)) {
      continue;
    }
    GAMELAN_ASSIGN_OR_RETURN(const MappedFile content, MappedFile::open(file.string()));
    GAMELAN_RETURN_IF_ERROR(write_file(target.string(), content.bytes()));
  }
  return base::OkStatus();
}

}  // namespace gamelan::io
