#include "gamelan/lambada_options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <initializer_list>
#include <iterator>
#include <utility>

#include "kernels/weight_scheme.h"

namespace gamelan::apps {
namespace {

/// Options of the script that change nothing here.
constexpr const char* kIgnored[] = {
    "--num-heads",  "--size-per-head",         "--inter-size", "--num-layers",
    "--vocab-size", "--shared-contexts-ratio", "--lib-path",   "--weights-data-type",
    "--start-id",   "--output-length"};

void add_generation_options(CLI::App& app, LambadaOptions& o) {
  app.add_option("--beam-width", o.beam_width, "Beams")->check(CLI::Range(1, 64));
  app.add_option("--top-k", o.top_k, "1 = greedy; else samples out of so many tokens (0 = all)")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--top-p", o.top_p, "Samples out of the most probable tokens up to this sum")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--temperature", o.temperature)->check(CLI::PositiveNumber);
  app.add_option("--len-penalty", o.len_penalty,
                 "Exponent of the length by which a beam's score is divided");
  app.add_option("--beam-search-diversity-rate", o.diversity_rate,
                 "Subtracted from the log-probabilities of tokens that beams before chose in the "
                 "same step (Hamming diversity: each beam is a group of its own)")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--repetition-penalty", o.repetition_penalty)->check(CLI::PositiveNumber);
  app.add_option("--end-id", o.end_id, "Token that ends a text (default: the model's)");
  app.add_option("--random-seed", o.random_seed, "One or more seeds; rows take them in turn");
  app.add_option("--return-cum-log-probs", o.return_cum_log_probs,
                 "1 or 2: --output-path holds the log-probability of each generated target, the "
                 "sum of its tokens' before penalties")
      ->check(CLI::Range(0, 2));
}

void add_script_options(CLI::App& app, LambadaOptions& o) {
  app.add_option("--tensor-para-size", o.engine.tensor_parallel_size, "As --tensor-parallel-size")
      ->check(CLI::Range(1, 4096));
  app.add_option("--pipeline-para-size", o.engine.pipeline_parallel_size,
                 "As --pipeline-parallel-size")
      ->check(CLI::Range(1, 4096));
  app.add_option("--inference-data-type,--data-type", o.inference_data_type,
                 "As --dtype: fp32, fp16, bf16");
  app.add_option("--int8-mode", o.int8_mode, "1 = --dtype int8")->check(CLI::Range(0, 1));
  for (const char* const name : kIgnored) {
    app.add_option_function<std::string>(
        name, [&o, name](const std::string&) { o.ignored.emplace_back(name); }, "Ignored");
  }
  app.add_flag_function(
      "--no-remove-padding", [&o](std::int64_t) { o.ignored.emplace_back("--no-remove-padding"); },
      "Ignored");
  app.add_flag("--test-hf", o.test_hf, "Says how to run transformers over the same rows");
}

/// Options that the script takes too where nothing depends on them.
void note_without_effect(const CLI::App& app, LambadaOptions& o) {
  const auto note = [&](std::initializer_list<const char*> names) {
    std::ranges::copy_if(names, std::back_inserter(o.ignored),
                         [&](const char* name) { return app.count(name) > 0; });
  };
  if (o.top_k == 1) {  // greedy
    note({"--top-p", "--temperature", "--random-seed"});
  }
  if (o.beam_width == 1) {
    note({"--len-penalty", "--beam-search-diversity-rate"});
  }
  if (o.output_path.empty()) {
    note({"--return-cum-log-probs"});
  }
}

}  // namespace

void add_lambada_options(CLI::App& app, LambadaOptions& o) {
  add_model_options(app, o.engine.model);
  add_tokenizer_option(app, o.engine.model);
  add_engine_options(app, o.engine);
  app.add_option("--dataset-path", o.dataset_path, "lambada_test.jsonl: {\"text\": …} a line")
      ->required();
  app.add_option("--output-path", o.output_path, "Write every row's tokens to this JSON file");
  app.add_option("--batch-size", o.batch_size, "Rows that are generated at the same time")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app.add_flag("--show-progress", o.show_progress, "A progress bar");
  app.add_option("--acc-threshold", o.acc_threshold,
                 "Print TEST PASS, or fail, when the accuracy in percent is below");
  app.add_flag("--json", o.json, "The result as one JSON object");
  add_generation_options(app, o);
  add_script_options(app, o);
}

std::vector<std::string> with_lambada_names(std::vector<std::string> arguments) {
  return cli::replace_names(std::move(arguments),
                            {{"-tp", "--tensor-para-size"}, {"-pp", "--pipeline-para-size"}});
}

base::Status settle(const CLI::App& app, LambadaOptions& o) {
  note_without_effect(app, o);
  if (!o.inference_data_type.empty()) {
    if (app.get_option("--dtype")->count() > 0) {
      return base::invalid_argument("--dtype and --inference-data-type: expected one of them");
    }
    if (!kernels::scheme_from_name(o.inference_data_type)) {
      return base::invalid_argument("--inference-data-type: expected fp32, fp16 or bf16, got '{}'",
                                    o.inference_data_type);
    }
    o.engine.model.dtype = o.inference_data_type;
  }
  if (o.int8_mode == 1) {
    if (app.get_option("--dtype")->count() > 0 && o.engine.model.dtype != "int8") {
      return base::invalid_argument("--int8-mode 1: expected no --dtype beside it, or int8");
    }
    o.engine.model.dtype = "int8";
  }
  if (o.beam_width > 1 && (o.top_k != 1 || o.top_p < 1)) {
    return base::invalid_argument("--beam-width {}: expected --top-k 1 and --top-p 1 beside it",
                                  o.beam_width);
  }
  if (app.get_option("--max-num-seqs")->count() == 0) {
    o.engine.max_sequences = o.batch_size * o.beam_width;
  }
  return o.engine.check();
}

infer::Request request_of(const LambadaOptions& o, std::size_t row) {
  infer::Request request;
  request.beam.width = o.beam_width;
  request.beam.length_penalty = o.len_penalty;
  if (o.diversity_rate > 0 && o.beam_width > 1) {
    request.beam.groups = o.beam_width;
    request.beam.diversity_penalty = o.diversity_rate;
  }
  if (o.top_k != 1) {
    request.sampling.temperature = o.temperature;
    request.sampling.top_k = o.top_k;
    request.sampling.top_p = o.top_p;
    request.sampling.seed = o.random_seed.empty() ? 0 : o.random_seed[row % o.random_seed.size()];
  }
  request.sampling.repetition_penalty = o.repetition_penalty;
  if (o.end_id) {
    request.end_tokens = {*o.end_id};
  }
  request.log_probabilities = o.return_cum_log_probs > 0;
  return request;
}

}  // namespace gamelan::apps
