#include "io/ini_file.h"

#include <algorithm>

#include "io/mapped_file.h"

namespace gamelan::io {
namespace {

constexpr std::size_t kMaxBytes = std::size_t{1} << 20;
constexpr std::size_t kShown = 60;  // characters of a bad line in a message

std::string_view trim(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\f\v";
  const std::size_t begin = text.find_first_not_of(kBlank);
  return begin == std::string_view::npos
             ? std::string_view()
             : text.substr(begin, text.find_last_not_of(kBlank) - begin + 1);
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return result;
}

template <class Pairs>
auto find_key(Pairs& pairs, std::string_view key) {
  return std::find_if(pairs.begin(), pairs.end(),
                      [key](const auto& pair) { return pair.first == key; });
}

}  // namespace

base::StatusOr<IniFile> IniFile::parse(std::string_view text, std::string_view name) {
  if (text.size() > kMaxBytes) {
    return base::invalid_argument("{}: expected at most {} bytes, got {}", name, kMaxBytes,
                                  text.size());
  }
  IniFile file;
  for (int number = 1; !text.empty(); ++number) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = trim(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line.front() == '#' || line.front() == ';') {
      continue;
    }
    if (line.front() == '[' && line.back() == ']' && line.size() > 2) {
      const std::string section(line.substr(1, line.size() - 2));
      if (file.section(section) != nullptr) {
        return base::invalid_argument("{}:{}: section [{}] occurs twice", name, number,
                                      section.substr(0, kShown));
      }
      file.sections_.emplace_back(section, Entries());
      continue;
    }
    const std::size_t equal = line.find('=');
    const std::string key = lower(trim(line.substr(0, std::min(equal, line.size()))));
    if (equal == std::string_view::npos || key.empty()) {
      return base::invalid_argument("{}:{}: expected [section] or key=value, got '{}'", name,
                                    number, line.substr(0, kShown));
    }
    if (file.sections_.empty()) {
      return base::invalid_argument("{}:{}: key '{}' stands before any [section]", name, number,
                                    key.substr(0, kShown));
    }
    Entries& entries = file.sections_.back().second;
    if (find_key(entries, key) != entries.end()) {
      return base::invalid_argument("{}:{}: key '{}' occurs twice in [{}]", name, number,
                                    key.substr(0, kShown), file.sections_.back().first);
    }
    entries.emplace_back(key, trim(line.substr(equal + 1)));
  }
  return file;
}

base::StatusOr<IniFile> IniFile::load(std::string_view path) {
  GAMELAN_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::open(path));
  return parse(file.text(), path);
}

const IniFile::Entries* IniFile::section(std::string_view name) const {
  const auto found = find_key(sections_, name);
  return found == sections_.end() ? nullptr : &found->second;
}

std::optional<std::string> IniFile::find(std::string_view section_name,
                                         std::string_view key) const {
  const Entries* entries = section(section_name);
  if (entries == nullptr) {
    return std::nullopt;
  }
  const auto found = find_key(*entries, key);
  return found == entries->end() ? std::nullopt : std::optional(found->second);
}

}  // namespace gamelan::io
