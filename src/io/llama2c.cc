#include "io/llama2c.h"

#include <cstring>
#include <deque>
#include <utility>
#include <vector>

#include "io/byte_reader.h"
#include "io/mapped_file.h"
#include "io/weight_layouts.h"

namespace gamelan::io {
namespace {

using tensor::DType;
using tensor::Shape;

constexpr std::uint32_t kMagic = 0x616b3432;  // "ak42"
constexpr std::size_t kHeaderBytes = 256;     // of versions 1 and 2
constexpr std::int64_t kMaxSize = std::int64_t{1} << 24;
constexpr std::int64_t kMaxLayers = 10'000;

struct Header {
  std::int32_t version = 0;
  std::int64_t dim = 0;
  std::int64_t hidden = 0;
  std::int64_t layers = 0;
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t vocab = 0;
  std::int64_t positions = 0;
  bool shared_classifier = true;
  std::int64_t group = 0;  // numbers that share a scale, version 2

  std::int64_t head_dim() const { return dim / heads; }
  bool sensible() const {
    const auto in = [](std::int64_t value, std::int64_t most) {
      return value > 0 && value <= most;
    };
    return in(dim, kMaxSize) && in(hidden, kMaxSize) && in(layers, kMaxLayers) &&
           in(heads, kMaxSize) && in(kv_heads, heads) && in(vocab, kMaxSize) &&
           in(positions, kMaxSize) && dim % heads == 0 && heads % kv_heads == 0 &&
           head_dim() % 2 == 0;
  }
};

/// Starts at the sizes.
Header read_sizes(ByteReader& reader) {
  Header h;
  for (std::int64_t* field :
       {&h.dim, &h.hidden, &h.layers, &h.heads, &h.kv_heads, &h.vocab, &h.positions}) {
    *field = reader.read<std::int32_t>();
  }
  return h;
}

/// Bytes of a file of version 0. In double: exact for every file that there is, and never wraps.
double size_of_version_0(const Header& h) {
  const double dim = static_cast<double>(h.dim);
  const double kv = static_cast<double>(h.kv_heads * h.head_dim());
  const double layer =
      2 * dim + 2 * dim * dim + 2 * dim * kv + 3 * dim * static_cast<double>(h.hidden);
  const double table = static_cast<double>(h.vocab) * dim;
  return 28 +
         4 * (table * (h.shared_classifier ? 1 : 2) + dim + layer * static_cast<double>(h.layers) +
              static_cast<double>(h.positions * h.head_dim()));
}

Header read_version_0(std::span<const std::byte> bytes) {
  ByteReader reader(bytes);
  Header h = read_sizes(reader);
  h.shared_classifier = h.vocab > 0;
  h.vocab = h.vocab < 0 ? -h.vocab : h.vocab;
  return h;
}

bool has_magic(std::span<const std::byte> bytes) {
  return ByteReader(bytes).read<std::uint32_t>() == kMagic;
}

base::StatusOr<Header> read_header(std::span<const std::byte> bytes, std::string_view name) {
  Header h;
  if (!has_magic(bytes)) {
    h = read_version_0(bytes);
    if (!h.sensible() || size_of_version_0(h) != static_cast<double>(bytes.size())) {
      return base::data_loss("{}: expected a llama2.c checkpoint whose sizes fit its {} bytes",
                             name, bytes.size());
    }
    return h;
  }
  ByteReader reader(bytes);
  reader.read<std::uint32_t>();
  const auto version = reader.read<std::int32_t>();
  if (version != 1 && version != 2) {
    return base::unimplemented("{}: llama2.c checkpoint of version {}, known are 0, 1 and 2", name,
                               version);
  }
  h = read_sizes(reader);
  h.version = version;
  h.shared_classifier = reader.read<std::uint8_t>() != 0;
  h.group = version == 2 ? reader.read<std::int32_t>() : 0;
  if (bytes.size() < kHeaderBytes || !h.sensible() || (version == 2 && h.group <= 0)) {
    return base::data_loss("{}: the header of the llama2.c checkpoint holds impossible sizes",
                           name);
  }
  return h;
}

/// Numbers in int8, each group of them with a scale; flat groups, as llama2.c's quantize_q80.
class GroupedInt8 : public WeightDecoder {
 public:
  explicit GroupedInt8(std::int64_t group) : group_(group) {}
  std::string_view name() const override { return "int8 in groups"; }
  void read(const WeightView& view, const WeightBlock& block, std::span<float> out) const override {
    const std::int64_t columns = view.shape.back();
    const std::byte* const scales = view.bytes.data() + view.shape.front() * columns;
    auto* to = out.data();
    for (std::int64_t r = 0; r < block.rows; ++r) {
      const std::int64_t first = (block.first_row + r) * columns + block.first_column;
      for (std::int64_t i = first; i < first + block.columns; ++i) {
        float scale = 0;
        std::memcpy(&scale, scales + i / group_ * 4, sizeof(scale));
        *to++ =
            static_cast<float>(static_cast<std::int8_t>(view.bytes[static_cast<std::size_t>(i)])) *
            scale;
      }
    }
  }

 private:
  std::int64_t group_;
};

/// What the views of one checkpoint need.
struct Owner {
  MappedFile file;
  std::string name;
  std::deque<GroupedInt8> int8;
  std::deque<ReorderedRows> reordered;

  bool mapped() const { return !file.bytes().empty(); }
};

/// Cuts the tensors off the file, one after the other.
class Cutter {
 public:
  Cutter(const Header& header, std::span<const std::byte> rest, Owner& owner)
      : header_(header), reader_(rest), owner_(owner) {
    if (header.version == 2) {
      owner.int8.emplace_back(header.group);
    }
  }

  void norm(std::string name) {
    add({std::move(name),
         DType::kF32,
         {header_.dim},
         reader_.take(static_cast<std::uint64_t>(header_.dim) * 4),
         nullptr,
         owner_.name,
         owner_.mapped()});
  }

  /// Rows of queries or keys are reordered: heads > 0.
  void matrix(std::string name, std::int64_t rows, std::int64_t columns, std::int64_t heads = 0) {
    const auto count = static_cast<std::uint64_t>(rows * columns);
    WeightView view{std::move(name), DType::kF32, {rows, columns}, {},
                    nullptr,         owner_.name, owner_.mapped()};
    if (header_.version == 2) {
      const auto group = static_cast<std::uint64_t>(header_.group);
      ok_ = ok_ && count % group == 0;
      view.bytes = reader_.take(count + count / group * 4);
      view.decoder = &owner_.int8.front();
    } else {
      view.bytes = reader_.take(count * 4);
    }
    if (heads > 0) {
      owner_.reordered.emplace_back(
          view, RowOrder{RowOrder::Kind::kRotaryPairs, heads, header_.head_dim()});
      view.decoder = &owner_.reordered.back();
    }
    add(std::move(view));
  }

  void skip(std::int64_t numbers) { reader_.take(static_cast<std::uint64_t>(numbers) * 4); }

  template <class F>
  void each_layer(F&& f) {
    for (std::int64_t i = 0; i < header_.layers && ok(); ++i) {
      f(fmt::format("model.layers.{}.", i));
    }
  }
  bool ok() const { return ok_ && reader_.ok(); }
  bool at_end() const { return reader_.left() == 0; }
  std::vector<WeightView> tensors;

 private:
  void add(WeightView view) { tensors.push_back(std::move(view)); }

  const Header& header_;
  ByteReader reader_;
  Owner& owner_;
  bool ok_ = true;
};

void cut_attention(const Header& h, Cutter& cut) {
  const std::int64_t kv = h.kv_heads * h.head_dim();
  cut.each_layer([&](const std::string& l) {
    cut.matrix(l + "self_attn.q_proj.weight", h.dim, h.dim, h.heads);
  });
  cut.each_layer([&](const std::string& l) {
    cut.matrix(l + "self_attn.k_proj.weight", kv, h.dim, h.kv_heads);
  });
  cut.each_layer(
      [&](const std::string& l) { cut.matrix(l + "self_attn.v_proj.weight", kv, h.dim); });
  cut.each_layer(
      [&](const std::string& l) { cut.matrix(l + "self_attn.o_proj.weight", h.dim, h.dim); });
}

void cut_mlp(const Header& h, Cutter& cut) {
  cut.each_layer(
      [&](const std::string& l) { cut.matrix(l + "mlp.gate_proj.weight", h.hidden, h.dim); });
  cut.each_layer(
      [&](const std::string& l) { cut.matrix(l + "mlp.down_proj.weight", h.dim, h.hidden); });
  cut.each_layer(
      [&](const std::string& l) { cut.matrix(l + "mlp.up_proj.weight", h.hidden, h.dim); });
}

void cut_all(const Header& h, Cutter& cut) {
  const auto embeddings = [&] { cut.matrix("model.embed_tokens.weight", h.vocab, h.dim); };
  const auto norms = [&](const char* which) {
    cut.each_layer([&](const std::string& l) { cut.norm(l + which); });
  };
  if (h.version == 0) {
    embeddings();
    norms("input_layernorm.weight");
    cut_attention(h, cut);
    norms("post_attention_layernorm.weight");
    cut_mlp(h, cut);
    cut.norm("model.norm.weight");
    cut.skip(h.positions * h.head_dim());  // tables of cos and sin, which nobody reads any more
  } else {
    norms("input_layernorm.weight");
    norms("post_attention_layernorm.weight");
    cut.norm("model.norm.weight");
    embeddings();
    cut_attention(h, cut);
    cut_mlp(h, cut);
  }
  if (!h.shared_classifier) {
    cut.matrix("lm_head.weight", h.vocab, h.dim);
  }
}

base::StatusOr<ModelConfig> config_of(const Header& h, std::string_view name) {
  // llama2.c's run ends a text at <s> (1) too: its stories follow each other so.
  return parse_model_config(
      fmt::format(
          R"({{"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": {},
               "intermediate_size": {}, "num_hidden_layers": {}, "num_attention_heads": {},
               "num_key_value_heads": {}, "vocab_size": {}, "max_position_embeddings": {},
               "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": {},
               "torch_dtype": "float32", "bos_token_id": 1, "eos_token_id": [2, 1]}})",
          h.dim, h.hidden, h.layers, h.heads, h.kv_heads, h.vocab, h.positions,
          h.shared_classifier),
      name);
}

base::StatusOr<ModelFiles> parse(std::span<const std::byte> bytes, std::shared_ptr<Owner> owner) {
  const std::string& name = owner->name;
  GAMELAN_ASSIGN_OR_RETURN(const Header header, read_header(bytes, name));
  Cutter cut(header, bytes.subspan(header.version == 0 ? 28 : kHeaderBytes), *owner);
  cut_all(header, cut);
  if (!cut.ok() || !cut.at_end()) {
    return base::data_loss(
        "{}: the tensors of this llama2.c checkpoint (version {}) take {} bytes "
        "than the file's {}",
        name, header.version, cut.ok() ? "less" : "more", bytes.size());
  }
  GAMELAN_ASSIGN_OR_RETURN(ModelConfig config, config_of(header, name));
  std::vector<Weights::Part> parts(1);
  parts[0].tensors = std::move(cut.tensors);
  parts[0].owner = std::move(owner);
  GAMELAN_ASSIGN_OR_RETURN(Weights weights, Weights::create(name, std::move(parts)));
  return ModelFiles{std::move(config), std::move(weights), ""};
}

}  // namespace

bool is_llama2c(std::span<const std::byte> bytes) {
  if (bytes.size() < 28) {
    return false;
  }
  if (has_magic(bytes)) {
    return true;
  }
  const Header h = read_version_0(bytes);
  return h.sensible() && size_of_version_0(h) == static_cast<double>(bytes.size());
}

base::StatusOr<ModelFiles> open_llama2c(std::string_view path) {
  auto owner = std::make_shared<Owner>();
  GAMELAN_ASSIGN_OR_RETURN(owner->file, MappedFile::open(path));
  owner->name = std::string(path);
  const auto bytes = owner->file.bytes();
  return parse(bytes, std::move(owner));
}

base::StatusOr<ModelFiles> parse_llama2c(std::span<const std::byte> bytes, std::string_view name) {
  auto owner = std::make_shared<Owner>();
  owner->name = std::string(name);
  return parse(bytes, std::move(owner));
}

}  // namespace gamelan::io
