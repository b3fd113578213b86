#include <fmt/format.h>

#include <chrono>
#include <cstdio>

#include "base/progress_bar.h"
#include "gamelan/convert_options.h"
#include "gamelan/int4_coding.h"
#include "io/huggingface_writer.h"
#include "io/model_files.h"

namespace gamelan::apps {
namespace {

constexpr std::int64_t kMiB = std::int64_t{1} << 20;

std::int64_t to_mib(std::int64_t bytes) {
  return (bytes + kMiB - 1) / kMiB;
}

}  // namespace

base::Status convert_to_huggingface(const ConvertOptions& options) {
  GAMELAN_ASSIGN_OR_RETURN(io::ModelFiles model, io::load_model_files(options.input_dir));
  if (!options.tokenizer_path.empty()) {
    model.tokenizer_path = options.tokenizer_path;
  }
  io::HuggingFaceWriterOptions writer;
  writer.dtype = options.data_type;
  if (options.quantize == "int8") {
    writer.quantisation = io::Quantisation::kInt8;
  } else if (options.quantize == "int4") {
    writer.quantisation = io::Quantisation::kInt4;
    writer.int4 = int4_coding(options.group_size);
  }
  writer.overwrite = options.overwrite;
  const auto start = std::chrono::steady_clock::now();
  base::StatusOr<io::HuggingFaceWritten> written;
  {
    base::ProgressBar::Options bar_options;
    bar_options.title = "Convert";
    bar_options.total = to_mib(io::huggingface_bytes(model, writer));
    bar_options.unit = "MiB";
    base::ProgressBar bar(bar_options);
    std::int64_t bytes = 0;
    writer.on_written = [&](std::int64_t more) {
      bytes += more;
      bar.advance(to_mib(bytes) - bar.done());
    };
    written = io::write_huggingface(model, options.output_dir, writer);
  }
  GAMELAN_RETURN_IF_ERROR(written.status());
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  fmt::print("{}: {} tensors, {:.1f} MiB (elapsed time: {:.2f} sec)\n", options.output_dir,
             written->tensors, static_cast<double>(written->bytes) / static_cast<double>(kMiB),
             elapsed.count());
  if (!written->tokenizer) {
    fmt::print("{}: no tokenizer that HuggingFace reads; --tokenizer-path adds one\n",
               options.input_dir);
  }
  return base::OkStatus();
}

}  // namespace gamelan::apps
