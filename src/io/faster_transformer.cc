#include "io/faster_transformer.h"

#include <algorithm>
#include <filesystem>
#include <memory>

#include "io/ft_config.h"
#include "io/ft_layout.h"
#include "io/mapped_file.h"
#include "io/weight_rows.h"

namespace gamelan::io {
namespace {

namespace fs = std::filesystem;

constexpr const char* kConfigFile = "config.ini";
constexpr const char* kHeadFile = "model.lm_head.weight.bin";

/// One tensor of the model, joined from its files.
class FtDecoder : public WeightDecoder {
 public:
  FtDecoder(FtTensor tensor, FtGeometry geometry, tensor::DType type)
      : tensor_(std::move(tensor)), geometry_(geometry), type_(type) {}

  std::string_view name() const override { return "FasterTransformer"; }

  void read(const WeightView& /*view*/, const WeightBlock& block,
            std::span<float> out) const override {
    if (tensor_.source.size() < 2) {  // a bias: its one row are the outputs
      for (std::int64_t i = 0; i < block.columns; ++i) {
        const FtColumn at = ft_column_of(tensor_, geometry_, block.first_column + i);
        get(at.rank, at.column, 1, &out[static_cast<std::size_t>(i)]);
      }
    } else {
      read_matrix(block, out);
    }
  }

  void release_pages(const WeightView& /*view*/) const override {
    for (const MappedFile& file : files_) {
      io::release_pages(file.bytes());
    }
  }

  base::Status open(const fs::path& folder) {
    const std::int64_t count = tensor_.split == FtSplit::kNone ? 1 : geometry_.ranks;
    const std::int64_t expected = ft_file_rows(tensor_, geometry_) *
                                  ft_file_columns(tensor_, geometry_) *
                                  static_cast<std::int64_t>(tensor::size_of(type_));
    for (std::int64_t rank = 0; rank < count; ++rank) {
      const std::string path = (folder / ft_file_name(tensor_, rank)).string();
      GAMELAN_ASSIGN_OR_RETURN(MappedFile file, MappedFile::open(path));
      if (static_cast<std::int64_t>(file.bytes().size()) != expected) {
        return base::data_loss("{}: expected {} bytes ({} of {}), got {}", path, expected,
                               tensor::to_string(ft_file_shape(tensor_, geometry_)),
                               tensor::name_of(type_), file.bytes().size());
      }
      files_.push_back(std::move(file));
    }
    return base::OkStatus();
  }

  const MappedFile& file() const { return files_.front(); }
  const FtTensor& tensor() const { return tensor_; }

 private:
  /// `count` numbers of file `rank` from `first` on.
  void get(std::int64_t rank, std::int64_t first, std::int64_t count, float* out) const {
    const std::size_t size = tensor::size_of(type_);
    widen(type_,
          files_[static_cast<std::size_t>(rank)].bytes().data() +
              static_cast<std::size_t>(first) * size,
          static_cast<std::size_t>(count), out);
  }

  /// Outputs [first, first + count) at one input: where they lie side by side in a file they are
  /// read together.
  void get_outputs(std::int64_t input, std::int64_t first, std::int64_t count, float* out) const {
    const std::int64_t rows = ft_file_rows(tensor_, geometry_);
    const std::int64_t columns = ft_file_columns(tensor_, geometry_);
    switch (tensor_.split) {
      case FtSplit::kNone:  // a head that is stored [hidden, vocab]
        get(0, input * tensor_.outputs() + first, count, out);
        return;
      case FtSplit::kInputs:
        get(input / rows, input % rows * columns + first, count, out);
        return;
      case FtSplit::kOutputs:
        break;
    }
    for (std::int64_t i = 0; i < count;) {
      const FtColumn at = ft_column_of(tensor_, geometry_, first + i);
      const std::int64_t unit = tensor_.qkv ? geometry_.head_dim : columns;
      const std::int64_t run = std::min(count - i, unit - (first + i) % unit);
      get(at.rank, input * columns + at.column, run, out + i);
      i += run;
    }
  }

  /// In tiles of kInputs inputs, so that a line of the cache is written at once.
  void read_matrix(const WeightBlock& block, std::span<float> out) const {
    constexpr std::int64_t kInputs = 16;
    std::vector<float> tile(static_cast<std::size_t>(kInputs * block.rows));
    for (std::int64_t i = 0; i < block.columns; i += kInputs) {
      const std::int64_t inputs = std::min(kInputs, block.columns - i);
      for (std::int64_t k = 0; k < inputs; ++k) {
        get_outputs(block.first_column + i + k, block.first_row, block.rows,
                    &tile[static_cast<std::size_t>(k * block.rows)]);
      }
      for (std::int64_t row = 0; row < block.rows; ++row) {
        for (std::int64_t k = 0; k < inputs; ++k) {
          out[static_cast<std::size_t>(row * block.columns + i + k)] =
              tile[static_cast<std::size_t>(k * block.rows + row)];
        }
      }
    }
  }

  FtTensor tensor_;
  FtGeometry geometry_;
  tensor::DType type_;
  std::vector<MappedFile> files_;
};

/// OUT/2-gpu of OUT; `path` itself when it holds a config.ini.
base::StatusOr<fs::path> find_folder(std::string_view path) {
  std::error_code error;
  if (fs::exists(fs::path(path) / kConfigFile, error)) {
    return fs::path(path);
  }
  std::vector<fs::path> found;
  for (fs::directory_iterator it(fs::path(path), error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    std::error_code ignored;
    if (!name.starts_with('.') && name.ends_with("-gpu") &&
        fs::exists(it->path() / kConfigFile, ignored)) {
      found.push_back(it->path());
    }
  }
  if (found.empty()) {
    return base::not_found("{}: expected {} or one N-gpu folder that has one, found neither", path,
                           kConfigFile);
  }
  if (found.size() > 1) {
    std::sort(found.begin(), found.end());
    return base::invalid_argument("{}: expected one N-gpu folder, found {} and {}; name one", path,
                                  found[0].string(), found[1].string());
  }
  return found.front();
}

/// Adds one tensor; what is stored as HuggingFace has it needs no decoder.
base::Status add_tensor(std::shared_ptr<FtDecoder> decoder, bool as_it_is, const fs::path& folder,
                        tensor::DType type, std::vector<Weights::Part>& parts) {
  GAMELAN_RETURN_IF_ERROR(decoder->open(folder));
  const bool is_head = decoder->tensor().name == "lm_head.weight";
  WeightView view;
  view.name = (is_head ? "" : "transformer.") + decoder->tensor().name;
  view.dtype = type;
  view.shape = decoder->tensor().source;
  view.file = decoder->file().path();
  if (as_it_is) {
    view.bytes = decoder->file().bytes();
    view.mapped = true;
  } else {
    view.decoder = decoder.get();
  }
  parts.push_back({{std::move(view)}, std::move(decoder)});
  return base::OkStatus();
}

}  // namespace

bool is_faster_transformer_folder(std::string_view path) {
  return find_folder(path).ok();
}

base::StatusOr<FasterTransformerModel> open_faster_transformer(std::string_view path) {
  GAMELAN_ASSIGN_OR_RETURN(const fs::path folder, find_folder(path));
  const std::string config_path = (folder / kConfigFile).string();
  GAMELAN_ASSIGN_OR_RETURN(const MappedFile text, MappedFile::open(config_path));
  FasterTransformerModel model;
  GAMELAN_ASSIGN_OR_RETURN(const FtConfig config,
                           parse_ft_config(text.text(), config_path, &model.notes));
  std::error_code ignored;
  const bool own_head = fs::exists(folder / kHeadFile, ignored);
  if (own_head && !config.head_by_vocab) {
    model.notes.push_back(fmt::format(
        "{}: taken as [hidden, vocab], as the original converter writes it; 'lm_head_layout="
        "vocab_hidden' in {} says otherwise",
        (folder / kHeadFile).string(), kConfigFile));
  }
  GAMELAN_ASSIGN_OR_RETURN(model.config, to_model_config(config, own_head));
  const FtGeometry geometry = {config.num_heads, config.size_per_head, config.tensor_para_size};
  std::vector<Weights::Part> parts;
  for (const FtTensor& tensor : ft_tensors(config, own_head)) {
    const bool as_it_is =
        tensor.split == FtSplit::kNone && (config.head_by_vocab || tensor.name != "lm_head.weight");
    GAMELAN_RETURN_IF_ERROR(
        add_tensor(std::make_shared<FtDecoder>(tensor, geometry, config.weight_type), as_it_is,
                   folder, config.weight_type, parts));
  }
  GAMELAN_ASSIGN_OR_RETURN(model.weights, Weights::create(folder.string(), std::move(parts)));
  return model;
}

}  // namespace gamelan::io
