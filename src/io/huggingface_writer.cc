#include "io/huggingface_writer.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <utility>
#include <vector>

#include "io/atomic_file.h"
#include "io/atomic_folder.h"
#include "io/int8_weights.h"
#include "io/model_config_writer.h"
#include "io/safetensors_writer.h"
#include "io/tokenizer_export.h"
#include "io/weight_layouts.h"
#include "io/weight_rows.h"
#include "io/weight_stream.h"

namespace gamelan::io {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using tensor::DType;

/// A tensor of the new file.
struct Planned {
  WeightView source;
  DType dtype = DType::kF32;
  enum class Part { kNumbers, kIntegers, kScales, kGroups, kLevels };
  /// The numbers themselves, those of an int8 matrix's integers or their scales, an int4 matrix's
  /// groups, the levels of all int4 codes.
  Part part = Part::kNumbers;
};
using Part = Planned::Part;

bool is_float(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16 ||
         dtype == DType::kF64;
}

DType type_of(const WeightView& view, const HuggingFaceWriterOptions& options) {
  if (!is_float(view.dtype)) {
    return view.dtype;  // masks and positions of old checkpoints
  }
  if (options.dtype) {
    return *options.dtype;
  }
  return !view.plain() && view.dtype == DType::kF64 ? DType::kF32 : view.dtype;
}

/// "transformer.h.0.mlp.dense_h_to_4h": some part of the name is a number.
bool is_in_a_block(std::string_view name) {
  while (!name.empty()) {
    const std::string_view part = name.substr(0, name.find('.'));
    if (!part.empty() && part.find_first_not_of("0123456789") == std::string_view::npos) {
      return true;
    }
    name.remove_prefix(std::min(name.size(), part.size() + 1));
  }
  return false;
}

bool is_matrix(const WeightView& view) {
  return view.shape.size() == 2 && is_float(view.dtype) && view.name.ends_with(".weight");
}

ScaleAxis axis_of(const ModelConfig& config) {
  return config.architecture == Architecture::kGpt2 ? ScaleAxis::kColumns : ScaleAxis::kRows;
}

/// [out, in], however the matrix is stored.
tensor::Shape outputs_first(const tensor::Shape& matrix, ScaleAxis axis) {
  return axis == ScaleAxis::kRows ? matrix : tensor::Shape{matrix[1], matrix[0]};
}

/// In all eight architectures the matrices inside the blocks are those of linear layers.
bool is_quantised(const WeightView& view, ScaleAxis axis, const HuggingFaceWriterOptions& options) {
  if (!is_matrix(view) || !is_in_a_block(view.name)) {
    return false;
  }
  return options.quantisation == Quantisation::kInt8 ||
         (options.quantisation == Quantisation::kInt4 &&
          outputs_first(view.shape, axis)[1] % options.int4.group_size == 0);
}

/// The tensors by their names in the new file.
using Plan = std::unordered_map<std::string, Planned>;

Plan make_plan(const ModelFiles& model, const HuggingFaceWriterOptions& options) {
  const ScaleAxis axis = axis_of(model.config);
  const std::string groups(axis == ScaleAxis::kRows ? kInt4Suffix : kInt4TransposedSuffix);
  Plan plan;
  for (const WeightView& view : model.weights.tensors()) {
    if (!is_quantised(view, axis, options)) {
      plan[view.name] = {view, type_of(view, options), Part::kNumbers};
    } else if (options.quantisation == Quantisation::kInt8) {
      plan[view.name] = {view, DType::kI8, Part::kIntegers};
      plan[view.name + std::string(kScaleSuffix)] = {view, DType::kF32, Part::kScales};
    } else {
      plan[view.name + groups] = {view, DType::kU8, Part::kGroups};
      plan[std::string(kInt4Levels)] = {view, DType::kF32, Part::kLevels};
    }
  }
  return plan;
}

tensor::Shape shape_of(const Planned& planned, ScaleAxis axis,
                       const HuggingFaceWriterOptions& options) {
  const tensor::Shape& shape = planned.source.shape;
  switch (planned.part) {
    case Part::kGroups:
      return int4_shape(outputs_first(shape, axis), options.int4.group_size);
    case Part::kLevels:
      return {static_cast<std::int64_t>(options.int4.levels.size())};
    case Part::kScales:
      return axis == ScaleAxis::kRows ? tensor::Shape{shape[0], 1} : tensor::Shape{1, shape[1]};
    case Part::kNumbers:
    case Part::kIntegers:
      break;
  }
  return shape;
}

std::int64_t bytes_of(const SafetensorsSpec& spec) {
  auto bytes = static_cast<std::int64_t>(tensor::size_of(spec.dtype));
  for (const std::int64_t size : spec.shape) {
    bytes *= size;
  }
  return bytes;
}

std::vector<SafetensorsSpec> specs_of(const Plan& plan, ScaleAxis axis,
                                      const HuggingFaceWriterOptions& options) {
  std::vector<SafetensorsSpec> specs;
  for (const auto& [name, planned] : plan) {
    specs.push_back({name, planned.dtype, shape_of(planned, axis, options)});
  }
  return specs;
}

/// Writes the tensors in the file's order. Scales come before integers there, which are wider.
class TensorWriter {
 public:
  TensorWriter(const Plan& plan, ScaleAxis axis, const Int4Coding& int4, SafetensorsWriter& file)
      : plan_(plan), axis_(axis), int4_(int4), file_(file) {}

  base::Status write(const std::string& name) {
    const Planned& planned = plan_.at(name);
    switch (planned.part) {
      case Part::kLevels:
        return file_.append_part(name, std::as_bytes(std::span(int4_.levels)));
      case Part::kGroups:
        return write_groups(name, planned.source);
      case Part::kIntegers:
        return write_integers(planned);
      case Part::kScales:
        return write_scales(name, planned.source);
      case Part::kNumbers:
        break;
    }
    return append_weight(planned.source, planned.dtype, file_);
  }

 private:
  base::Status write_scales(const std::string& name, const WeightView& source) {
    GAMELAN_ASSIGN_OR_RETURN(std::vector<float> scales, int8_scales(source, axis_));
    const auto& kept = scales_[source.name] = std::move(scales);
    return file_.append_part(name, std::as_bytes(std::span(kept)));
  }

  base::Status write_groups(const std::string& name, const WeightView& source) {
    const TransposedMatrix transposed(source);
    const WeightView matrix = axis_ == ScaleAxis::kRows ? source : transposed.view();
    std::vector<std::byte> bytes;
    return for_each_band(matrix, [&](const WeightBlock& block, std::span<const float> numbers) {
      if (!pack_int4_groups(int4_, block.rows, block.columns, numbers, bytes)) {
        return base::invalid_argument(
            "{}: tensor '{}': expected finite numbers within the range of f16 for int4, found "
            "others",
            source.file, source.name);
      }
      return file_.append_part(name, bytes);
    });
  }

  base::Status write_integers(const Planned& planned) {
    const WeightView& source = planned.source;
    const std::vector<float>& scales = scales_.at(source.name);
    if (rows_of(source) == 0 || columns_of(source) == 0) {
      return file_.append_part(source.name, {});
    }
    std::vector<std::int8_t> integers;
    return for_each_band(source, [&](const WeightBlock& block, std::span<const float> numbers) {
      integers.resize(numbers.size());
      quantise_int8(block, numbers, axis_, scales, integers);
      return file_.append_part(source.name, std::as_bytes(std::span(integers)));
    });
  }

  const Plan& plan_;
  ScaleAxis axis_;
  const Int4Coding& int4_;
  SafetensorsWriter& file_;
  std::unordered_map<std::string, std::vector<float>> scales_;
};

base::Status write_weights(const ModelFiles& model, const Plan& plan, const fs::path& path,
                           const HuggingFaceWriterOptions& options, HuggingFaceWritten& written) {
  const ScaleAxis axis = axis_of(model.config);
  GAMELAN_ASSIGN_OR_RETURN(
      SafetensorsWriter file,
      SafetensorsWriter::create(path.string(), specs_of(plan, axis, options), {{"format", "pt"}}));
  TensorWriter writer(plan, axis, options.int4, file);
  const std::vector<SafetensorsSpec> order = file.order();
  for (const SafetensorsSpec& spec : order) {
    GAMELAN_RETURN_IF_ERROR(writer.write(spec.name));
    written.bytes += bytes_of(spec);
    if (options.on_written) {
      options.on_written(bytes_of(spec));
    }
  }
  written.tensors = static_cast<std::int64_t>(order.size());
  return file.finish();
}

/// The modules that keep floating-point weights, in the form of compressed-tensors' "ignore".
json kept_modules(const Plan& plan, const ModelConfig& config) {
  std::vector<std::string> names;
  for (const auto& [name, planned] : plan) {
    if (is_matrix(planned.source) && planned.part == Part::kNumbers) {
      names.push_back(name.substr(0, name.size() - std::string_view(".weight").size()));
    }
  }
  // A tied head is a module without a tensor.
  const char* const head = config.architecture == Architecture::kGptNeoX ? "embed_out" : "lm_head";
  if (config.causal && std::find(names.begin(), names.end(), head) == names.end()) {
    names.emplace_back(head);
  }
  std::sort(names.begin(), names.end());
  return names;
}

json int4_config(const Plan& plan, const ModelConfig& config, const Int4Coding& int4) {
  return {{"quant_method", "gamelan"},
          {"format", "int4-levels"},
          {"group_size", int4.group_size},
          {"ignore", kept_modules(plan, config)}};
}

json int8_config(const Plan& plan, const ModelConfig& config) {
  return {{"quant_method", "compressed-tensors"},
          {"format", "int-quantized"},
          {"quantization_status", "compressed"},
          {"ignore", kept_modules(plan, config)},
          {"config_groups",
           {{"group_0",
             {{"targets", json::array({"Linear"})},
              {"format", "int-quantized"},
              {"weights",
               {{"num_bits", 8},
                {"type", "int"},
                {"symmetric", true},
                {"strategy", "channel"},
                {"dynamic", false}}},
              {"input_activations", nullptr},
              {"output_activations", nullptr}}}}}};
}

/// The type of most numbers, for config.json.
DType main_type(const ModelFiles& model, const HuggingFaceWriterOptions& options) {
  DType type = DType::kF32;
  std::int64_t most = 0;
  for (const WeightView& view : model.weights.tensors()) {
    const std::int64_t count = rows_of(view) * columns_of(view);
    if (is_float(view.dtype) && count > most) {
      most = count;
      type = type_of(view, options);
    }
  }
  return type;
}

std::string config_text(const ModelFiles& model, const Plan& plan,
                        const HuggingFaceWriterOptions& options) {
  ModelConfig config = model.config;
  config.dtype = main_type(model, options);
  std::string text = format_model_config(config);
  if (options.quantisation == Quantisation::kNone) {
    return text;
  }
  auto object = nlohmann::ordered_json::parse(text);
  object["quantization_config"] = options.quantisation == Quantisation::kInt8
                                      ? int8_config(plan, config)
                                      : int4_config(plan, config, options.int4);
  return object.dump(2) + "\n";
}

std::string generation_config_text(const ModelConfig& config) {
  nlohmann::ordered_json object = nlohmann::ordered_json::object();
  if (config.bos_token_id) {
    object["bos_token_id"] = *config.bos_token_id;
  }
  if (config.eos_token_ids.size() == 1) {
    object["eos_token_id"] = config.eos_token_ids.front();
  } else if (!config.eos_token_ids.empty()) {
    object["eos_token_id"] = config.eos_token_ids;
  }
  if (config.pad_token_id) {
    object["pad_token_id"] = *config.pad_token_id;
  }
  return object.dump(2) + "\n";
}

/// Only a model folder is replaced: a mistyped path must not cost somebody's files.
base::Status check_replaceable(std::string_view output) {
  std::error_code ignored;
  const fs::path folder(output);
  if (fs::is_directory(folder, ignored) && !fs::is_empty(folder, ignored) &&
      !fs::exists(folder / "config.json", ignored)) {
    return base::failed_precondition(
        "{}: expected a model folder to replace (with a config.json), found another one", output);
  }
  return base::OkStatus();
}

base::Status check_options(const HuggingFaceWriterOptions& options) {
  if (options.dtype && (!is_float(*options.dtype) || *options.dtype == DType::kF64)) {
    return base::invalid_argument("type of the weights: expected f32, f16 or bf16, got {}",
                                  tensor::name_of(*options.dtype));
  }
  return base::OkStatus();
}

}  // namespace

std::int64_t huggingface_bytes(const ModelFiles& model, const HuggingFaceWriterOptions& options) {
  std::int64_t bytes = 0;
  for (const SafetensorsSpec& spec :
       specs_of(make_plan(model, options), axis_of(model.config), options)) {
    bytes += bytes_of(spec);
  }
  return bytes;
}

base::StatusOr<HuggingFaceWritten> write_huggingface(const ModelFiles& model,
                                                     std::string_view output,
                                                     const HuggingFaceWriterOptions& options) {
  GAMELAN_RETURN_IF_ERROR(check_options(options));
  GAMELAN_RETURN_IF_ERROR(check_not_source(model.weights, output));
  if (options.overwrite) {
    GAMELAN_RETURN_IF_ERROR(check_replaceable(output));
  }
  const auto if_there =
      options.overwrite ? AtomicFolder::IfThere::kReplace : AtomicFolder::IfThere::kRefuse;
  GAMELAN_ASSIGN_OR_RETURN(AtomicFolder folder, AtomicFolder::create(output, if_there));
  const Plan plan = make_plan(model, options);
  HuggingFaceWritten written;
  GAMELAN_RETURN_IF_ERROR(
      write_file((folder.path() / "config.json").string(), config_text(model, plan, options)));
  if (model.config.causal) {
    GAMELAN_RETURN_IF_ERROR(write_file((folder.path() / "generation_config.json").string(),
                                       generation_config_text(model.config)));
  }
  if (!model.tokenizer_path.empty()) {
    GAMELAN_ASSIGN_OR_RETURN(written.tokenizer,
                             export_tokenizer(model.tokenizer_path, folder.path().string()));
  }
  GAMELAN_RETURN_IF_ERROR(
      write_weights(model, plan, folder.path() / "model.safetensors", options, written));
  GAMELAN_RETURN_IF_ERROR(folder.publish());
  return written;
}

}  // namespace gamelan::io
