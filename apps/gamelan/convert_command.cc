#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <iterator>
#include <map>
#include <string>
#include <utility>

#include "cli/arguments.h"
#include "gamelan/commands.h"
#include "io/ft_writer.h"
#include "io/model_config.h"
#include "io/weights.h"

namespace gamelan::apps {
namespace {

struct Options {
  std::string input_dir;
  std::string output_dir;
  int tensor_para_size = 1;
  std::string data_type = "fp32";
  int processes = 1;
  bool verbose = false;
  bool by_shard = false;
  bool overwrite = false;
};

/// The original converter's short names of several letters, which CLI11 has not.
std::vector<std::string> with_long_names(std::vector<std::string> arguments) {
  const std::map<std::string, std::string> names = {{"-tp", "--tensor-para-size"},
                                                    {"-dt", "--data-type"}};
  for (std::string& argument : arguments) {
    const std::size_t equal = argument.find('=');
    if (const auto found = names.find(argument.substr(0, equal)); found != names.end()) {
      argument = found->second + (equal == std::string::npos ? "" : argument.substr(equal));
    }
  }
  return arguments;
}

/// A Python tuple: "(4096,)", "(4096, 3, 2048)".
std::string tuple_text(const tensor::Shape& shape) {
  return fmt::format("({}{})", fmt::join(shape, ", "), shape.size() == 1 ? "," : "");
}

void print_arguments(const Options& options) {
  const auto line = [](std::string_view key, const auto& value) {
    fmt::print(" - {:.<20}: {}\n", key, value);
  };
  const auto boolean = [](bool value) { return value ? "True" : "False"; };
  fmt::print("\n{:=^57}\n", " Arguments ");
  line("input_dir", options.input_dir);
  line("output_dir", options.output_dir);
  line("tensor_para_size", options.tensor_para_size);
  line("data_type", options.data_type);
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

base::Status convert(const Options& options) {
  GAMELAN_ASSIGN_OR_RETURN(const io::ModelConfig config, io::load_model_config(options.input_dir));
  GAMELAN_ASSIGN_OR_RETURN(const io::Weights weights, io::open_weights(options.input_dir));
  io::FtWriterOptions writer;
  writer.tensor_para_size = options.tensor_para_size;
  writer.weight_type = options.data_type == "fp16" ? tensor::DType::kF16 : tensor::DType::kF32;
  writer.workers = options.processes;
  writer.by_shard = options.by_shard;
  writer.overwrite = options.overwrite;
  writer.model_name = options.input_dir;
  if (options.verbose) {
    writer.on_saved = [&options](const io::FtSaved& saved) {
      print_saved(saved, options.tensor_para_size);
    };
  }
  fmt::print("Start the checkpoint conversion: {} params\n", io::count_ft_tensors(config, weights));
  const auto start = std::chrono::steady_clock::now();
  GAMELAN_RETURN_IF_ERROR(
      io::write_faster_transformer(config, weights, options.output_dir, writer));
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  fmt::print("Checkpoint conversion (HF >> FT) has done (elapsed time: {:.2f} sec)\n",
             elapsed.count());
  return base::OkStatus();
}

}  // namespace

int convert_command(const std::vector<std::string>& arguments) {
  Options options;
  CLI::App app("", "gamelan convert");
  cli::describe(
      app, "gamelan convert -i bloom-560m -o bloom-ft -tp 2 -dt fp16 -p 4 -v",
      "Writes a HuggingFace BLOOM folder as the FasterTransformer folder OUTPUT/<tp>-gpu, "
      "with the options of huggingface_bloom_convert.py.\n-tp and -dt stand for "
      "--tensor-para-size and --data-type.");
  app.add_option("-i,--input-dir", options.input_dir, "HuggingFace model folder")->required();
  app.add_option("-o,--output-dir", options.output_dir, "Folder to write <tp>-gpu into")
      ->required();
  app.add_option("--tensor-para-size", options.tensor_para_size,
                 "Parts that split tensors are cut into (-tp)")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--data-type", options.data_type, "Type of the written weights (-dt)")
      ->check(CLI::IsMember({"fp32", "fp16"}))
      ->capture_default_str();
  app.add_option("-p,--processes", options.processes, "Threads that convert")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_flag("-v,--verbose", options.verbose, "Prints a line for each file");
  app.add_flag("-s,--by-shard", options.by_shard,
               "Shares out the input's files among the threads, not its tensors");
  app.add_flag("--overwrite", options.overwrite, "Replaces a folder that is there already");
  if (const auto exit_code = cli::parse(app, with_long_names(arguments))) {
    return *exit_code;
  }
  print_arguments(options);
  if (const base::Status status = convert(options); !status.ok()) {
    std::fflush(stdout);
    fmt::print(stderr, "gamelan convert: {}\n", base::message(status));
    return cli::kExitFailed;
  }
  return cli::kExitDone;
}

}  // namespace gamelan::apps
