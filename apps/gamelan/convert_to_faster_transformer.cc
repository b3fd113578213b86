#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <string>

#include "gamelan/convert_options.h"
#include "io/ft_writer.h"
#include "io/model_files.h"

namespace gamelan::apps {
namespace {

/// A Python tuple: "(4096,)", "(4096, 3, 2048)".
std::string tuple_text(const tensor::Shape& shape) {
  return fmt::format("({}{})", fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
}

bool is_f16(const ConvertOptions& options) {
  return options.data_type == tensor::DType::kF16;
}

void print_arguments(const ConvertOptions& options) {
  const auto line = [](std::string_view key, const auto& value) {
    fmt::print(" - {:.<20}: {}\n", key, value);
  };
  const auto boolean = [](bool value) { return value ? "True" : "False"; };
  fmt::print("\n{:=^57}\n", " Arguments ");
  line("input_dir", options.input_dir);
  line("output_dir", options.output_dir);
  line("tensor_para_size", options.tensor_para_size);
  line("data_type", is_f16(options) ? "fp16" : "fp32");
  line("processes", options.processes);
  line("verbose", boolean(options.verbose));
  line("by_shard", boolean(options.by_shard));
  fmt::print("{:=^57}\n", "");
}

void print_saved(const io::FtSaved& saved, int tensor_para_size) {
  fmt::print(" - {:.<48}: shape {:16}{}| saved at {}{}\n", saved.name, tuple_text(saved.shape),
             saved.split ? " s " : "   ", saved.path,
             saved.split ? fmt::format(" ({}/{})", saved.rank, tensor_para_size) : "");
}

}  // namespace

base::Status convert_to_faster_transformer(const ConvertOptions& options) {
  print_arguments(options);
  GAMELAN_ASSIGN_OR_RETURN(const io::ModelFiles model, io::load_model_files(options.input_dir));
  io::FtWriterOptions writer;
  writer.tensor_para_size = options.tensor_para_size;
  writer.weight_type = is_f16(options) ? tensor::DType::kF16 : tensor::DType::kF32;
  writer.workers = options.processes;
  writer.by_shard = options.by_shard;
  writer.overwrite = options.overwrite;
  writer.model_name = options.input_dir;
  if (options.verbose) {
    writer.on_saved = [&options](const io::FtSaved& saved) {
      print_saved(saved, options.tensor_para_size);
    };
  }
  fmt::print("Start the checkpoint conversion: {} params\n",
             io::count_ft_tensors(model.config, model.weights));
  const auto start = std::chrono::steady_clock::now();
  GAMELAN_RETURN_IF_ERROR(
      io::write_faster_transformer(model.config, model.weights, options.output_dir, writer));
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  fmt::print("Checkpoint conversion (HF >> FT) has done (elapsed time: {:.2f} sec)\n",
             elapsed.count());
  return base::OkStatus();
}

}  // namespace gamelan::apps
