#include "io/class_labels.h"

#include <map>

namespace gamelan::io {
namespace {

using nlohmann::json;

constexpr std::int64_t kMaxLabels = 1'000'000;

/// The class number that the key of an id2label entry spells; -1 when it spells none.
std::int64_t label_index(const std::string& key) {
  constexpr std::size_t kMaxDigits = 7;
  if (key.empty() || key.size() > kMaxDigits ||
      key.find_first_not_of("0123456789") != std::string::npos) {
    return -1;
  }
  return std::stoll(key);
}

void read_id2label(const json& id2label, JsonReader& reader, ClassLabels& labels) {
  std::map<std::int64_t, std::string> names;
  for (const auto& [key, value] : id2label.items()) {
    const std::int64_t index = label_index(key);
    if (index < 0 || index >= static_cast<std::int64_t>(id2label.size())) {
      reader.fail(fmt::format("'id2label': expected the keys \"0\" to \"{}\", got \"{}\"",
                              id2label.size() - 1, key));
      return;
    }
    if (!value.is_string()) {
      reader.fail("id2label." + key, "a string", value);
      return;
    }
    names[index] = value.get<std::string>();
  }
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(id2label.size()); ++i) {
    if (!names.contains(i)) {  // "0" and "00" are one class
      reader.fail(fmt::format("'id2label': class {} is missing", i));
      return;
    }
    labels.names.push_back(names[i]);
  }
  labels.count = static_cast<std::int64_t>(labels.names.size());
}

void check_label2id(const json& label2id, JsonReader& reader, const ClassLabels& labels) {
  for (const auto& [label, id] : label2id.items()) {
    const bool known = id.is_number_integer() && id.get<std::int64_t>() >= 0 &&
                       id.get<std::int64_t>() < labels.count;
    if (!known) {
      reader.fail("label2id." + label, fmt::format("a number from 0 to {}", labels.count - 1), id);
      return;
    }
    if (!labels.names.empty() && labels.names[id.get<std::size_t>()] != label) {
      reader.fail(fmt::format("'label2id' calls class {} \"{}\", 'id2label' calls it \"{}\"",
                              id.get<std::int64_t>(), label, labels.names[id.get<std::size_t>()]));
      return;
    }
  }
}

}  // namespace

ClassLabels read_class_labels(JsonReader& reader, std::int64_t default_count) {
  ClassLabels labels{.count = default_count, .names = {}};
  const json* id2label = reader.object("id2label");
  if (id2label != nullptr && !id2label->empty()) {
    read_id2label(*id2label, reader, labels);
  }
  const std::int64_t stated = reader.integer("num_labels", labels.count, 1, kMaxLabels);
  if (!labels.names.empty() && stated != labels.count) {
    reader.fail(fmt::format("'num_labels' is {}, 'id2label' has {} classes", stated, labels.count));
  }
  labels.count = stated;
  if (const json* label2id = reader.object("label2id"); label2id != nullptr && reader.ok()) {
    check_label2id(*label2id, reader, labels);
  }
  return labels;
}

std::string label_name(const std::vector<std::string>& names, std::int64_t index) {
  return index >= 0 && index < static_cast<std::int64_t>(names.size())
             ? names[static_cast<std::size_t>(index)]
             : fmt::format("LABEL_{}", index);
}

}  // namespace gamelan::io
