#include "io/rope_json.h"

#include <array>

namespace gamelan::io {
namespace {

using nlohmann::json;

// Bounds that keep the arithmetic finite; far outside of what any model has.
constexpr double kLeast = 1e-6;
constexpr double kMost = 1e12;
constexpr std::int64_t kMostPositions = std::int64_t{1} << 40;

constexpr std::array kKinds = {RopeKind::kDefault, RopeKind::kLinear,   RopeKind::kDynamic,
                               RopeKind::kYarn,    RopeKind::kLongRope, RopeKind::kLlama3};

RopeKind read_kind(JsonReader& rope) {
  std::vector<std::string> known;
  for (const RopeKind kind : kKinds) {
    known.emplace_back(name_of(kind));
  }
  // transformers 4 calls it "type".
  std::string name = rope.one_of("type", "default", known);
  name = rope.one_of("rope_type", name, known);
  for (const RopeKind kind : kKinds) {
    if (name_of(kind) == name) {
      return kind;
    }
  }
  return RopeKind::kDefault;
}

std::vector<double> read_factors(const char* key, std::int64_t count, JsonReader& rope) {
  const json* array = rope.array(key);
  if (array == nullptr) {
    rope.fail(fmt::format("'{}' is missing", key));
    return {};
  }
  if (array->size() != static_cast<std::size_t>(count)) {
    rope.fail(fmt::format("'{}': expected {} numbers, half of the rotated dimensions, got {}", key,
                          count, array->size()));
    return {};
  }
  std::vector<double> factors;
  for (const json& value : *array) {
    if (!value.is_number() || value.get<double>() < kLeast || value.get<double>() > kMost) {
      rope.fail(key, fmt::format("numbers from {} to {}", kLeast, kMost), value);
      return {};
    }
    factors.push_back(value.get<double>());
  }
  return factors;
}

/// What belongs to some kinds only.
void read_scaling(JsonReader& rope, RopeConfig& config) {
  if (config.kind == RopeKind::kDefault) {
    return;
  }
  config.factor = rope.optional_number("factor", kLeast, kMost);
  const bool computed = config.kind == RopeKind::kYarn || config.kind == RopeKind::kLongRope;
  if (!config.factor && !computed) {
    rope.fail(fmt::format("'factor' is missing, which rope type {} needs", name_of(config.kind)));
  }
  if (computed) {
    config.attention_factor = rope.optional_number("attention_factor", 0, kMost);
  }
  if (config.kind == RopeKind::kYarn) {
    // transformers takes 0 as absent.
    const double fast = rope.number("beta_fast", 0, 0, kMost);
    const double slow = rope.number("beta_slow", 0, 0, kMost);
    config.beta_fast = fast == 0 ? config.beta_fast : fast;
    config.beta_slow = slow == 0 ? config.beta_slow : slow;
    config.mscale = rope.optional_number("mscale", -kMost, kMost);
    config.mscale_all_dim = rope.optional_number("mscale_all_dim", -kMost, kMost);
    config.truncate = rope.boolean("truncate", true);
  }
  if (config.kind == RopeKind::kLlama3) {
    config.low_freq_factor = rope.number("low_freq_factor", std::nullopt, kLeast, kMost);
    config.high_freq_factor = rope.number("high_freq_factor", std::nullopt, kLeast, kMost);
    if (rope.ok() && config.high_freq_factor <= config.low_freq_factor) {
      rope.fail(fmt::format("'high_freq_factor' {} is not above 'low_freq_factor' {}",
                            config.high_freq_factor, config.low_freq_factor));
    }
  }
  if (config.kind == RopeKind::kLongRope) {
    config.short_factor = read_factors("short_factor", config.rotary_dim / 2, rope);
    config.long_factor = read_factors("long_factor", config.rotary_dim / 2, rope);
  }
}

bool has_original_length(RopeKind kind) {
  return kind == RopeKind::kYarn || kind == RopeKind::kLongRope || kind == RopeKind::kLlama3;
}

}  // namespace

void read_rope(const json& object, const RopeNames& names, JsonReader& reader,
               ModelConfig& config) {
  static const json kNone = json::object();
  const json* member = reader.object("rope_scaling");
  const char* key = "rope_scaling";
  if (member == nullptr || member->empty()) {
    member = reader.object("rope_parameters");
    key = "rope_parameters";
  }
  JsonReader rope(member == nullptr ? kNone : *member, reader.where() + ": " + key);
  for (const auto& [name, value] : member == nullptr ? kNone.items() : member->items()) {
    if (value.is_object()) {
      rope.fail(fmt::format("'{}': rope parameters that differ by layer are not supported", name));
    }
  }
  RopeConfig& r = config.rope;
  r.kind = read_kind(rope);
  r.theta = reader.number(names.theta, r.theta, kLeast, kMost);
  r.theta = rope.number("rope_theta", r.theta, kLeast, kMost);
  const double beside = reader.number(names.partial, names.default_partial, 0, 1);
  const double partial = rope.number("partial_rotary_factor", beside, 0, 1);
  r.rotary_dim = static_cast<std::int64_t>(static_cast<double>(config.head_dim) * partial);
  if (r.rotary_dim < 2 || r.rotary_dim % 2 != 0) {
    rope.fail(fmt::format("{} of a head's {} dimensions are rotated, expected an even number",
                          r.rotary_dim, config.head_dim));
  }
  read_scaling(rope, r);
  if (has_original_length(r.kind)) {
    const char* const length = "original_max_position_embeddings";
    r.original_max_positions = rope.integer(length, config.max_positions, 1, kMostPositions);
    if (object.contains(length)) {
      r.original_max_positions =
          reader.integer(length, r.original_max_positions, 1, kMostPositions);
    }
  }
  if (!rope.ok() && reader.ok()) {
    const std::string_view text = base::message(rope.status());
    reader.fail(text.substr(std::min(text.size(), reader.where().size() + 2)));
  }
}

}  // namespace gamelan::io
