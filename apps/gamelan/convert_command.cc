#include <fmt/format.h>

#include <cstdio>
#include <map>
#include <string>

#include "cli/arguments.h"
#include "gamelan/commands.h"
#include "gamelan/convert_options.h"

namespace gamelan::apps {
namespace {

/// The original converter's short names of several letters.
const std::map<std::string, std::string> kShortNames = {{"-tp", "--tensor-para-size"},
                                                        {"-dt", "--data-type"}};

const std::map<std::string, tensor::DType>& type_names() {
  static const std::map<std::string, tensor::DType> names = {
      {"fp32", tensor::DType::kF32},    {"f32", tensor::DType::kF32},
      {"float32", tensor::DType::kF32}, {"fp16", tensor::DType::kF16},
      {"f16", tensor::DType::kF16},     {"float16", tensor::DType::kF16},
      {"bf16", tensor::DType::kBF16},   {"bfloat16", tensor::DType::kBF16}};
  return names;
}

void add_options(CLI::App& app, ConvertOptions& options, std::string& type) {
  app.add_option("-i,--input-dir", options.input_dir,
                 "Model: a HuggingFace or FasterTransformer folder, a GGUF or llama2.c file")
      ->required();
  app.add_option("-o,--output-dir", options.output_dir,
                 "Folder to write, or to write <tp>-gpu into for FasterTransformer")
      ->required();
  app.add_option("--to", options.to, "What to write")
      ->check(CLI::IsMember({"fastertransformer", "huggingface"}))
      ->capture_default_str();
  app.add_option("--data-type,--dtype", type,
                 "Type of the written weights (-dt): fp32 or fp16, bf16 for HuggingFace too. "
                 "[fp32 for FasterTransformer, each tensor's own for HuggingFace]")
      ->check(CLI::IsMember(type_names()));
  app.add_option("--tensor-para-size", options.tensor_para_size,
                 "FasterTransformer: parts that split tensors are cut into (-tp)")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option(
         "--quantize", options.quantize,
         "HuggingFace: linear layers as integers with a scale for each output (int8) or each "
         "group of inputs (int4)")
      ->check(CLI::IsMember({"int8", "int4"}));
  app.add_option("--group-size", options.group_size, "int4: inputs that share a scale")
      ->check(CLI::IsMember({32, 64, 128}))
      ->capture_default_str();
  app.add_option("--tokenizer-path", options.tokenizer_path,
                 "HuggingFace: where the tokenizer is, when it is not with the input");
  app.add_option("-p,--processes", options.processes, "FasterTransformer: threads that convert")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_flag("-v,--verbose", options.verbose, "FasterTransformer: prints a line for each file");
  app.add_flag(
      "-s,--by-shard", options.by_shard,
      "FasterTransformer: shares out the input's files among the threads, not its tensors");
  app.add_flag("--overwrite", options.overwrite, "Replaces a model folder that is there already");
}

/// What the parser alone cannot see; empty when all is well.
std::string mistake_in(const CLI::App& app, const ConvertOptions& options) {
  if (app.count("--group-size") > 0 && options.quantize != "int4") {
    return "--group-size needs --quantize int4";
  }
  if (options.to == "huggingface") {
    for (const char* name : {"--tensor-para-size", "--processes", "--verbose", "--by-shard"}) {
      if (app.count(name) > 0) {
        return fmt::format("{} is for --to fastertransformer", name);
      }
    }
    return "";
  }
  if (options.data_type == tensor::DType::kBF16) {
    return "--data-type: FasterTransformer folders hold fp32 or fp16, got bf16";
  }
  for (const char* name : {"--quantize", "--tokenizer-path"}) {
    if (app.count(name) > 0) {
      return fmt::format("{} needs --to huggingface", name);
    }
  }
  return "";
}

}  // namespace

int convert_command(const std::vector<std::string>& arguments) {
  ConvertOptions options;
  std::string type;
  CLI::App app("", "gamelan convert");
  cli::describe(app, "gamelan convert -i bloom-560m -o bloom-ft -tp 2 -dt fp16 -p 4 -v",
                "Writes a BLOOM model as the FasterTransformer folder OUTPUT/<tp>-gpu, with the "
                "options of huggingface_bloom_convert.py (-tp and -dt stand for "
                "--tensor-para-size and --data-type), or any model as a HuggingFace folder:\n"
                "  gamelan convert --to huggingface -i stories15M.bin -o stories15M --dtype bf16\n"
                "  gamelan convert --to huggingface -i bloom-560m -o bloom-int8 --quantize int8");
  add_options(app, options, type);
  if (const auto exit_code = cli::parse(app, cli::replace_names(arguments, kShortNames))) {
    return *exit_code;
  }
  if (!type.empty()) {
    options.data_type = type_names().at(type);
  }
  if (const std::string mistake = mistake_in(app, options); !mistake.empty()) {
    return cli::usage_error(app, mistake);
  }
  const base::Status status = options.to == "huggingface" ? convert_to_huggingface(options)
                                                          : convert_to_faster_transformer(options);
  if (!status.ok()) {
    std::fflush(stdout);
    fmt::print(stderr, "gamelan convert: {}\n", base::message(status));
    return cli::kExitFailed;
  }
  return cli::kExitDone;
}

}  // namespace gamelan::apps
