// Continues a text with the C++ interface: load, submit, step.
//
//   generate MODEL "Once upon a time"

#include <fmt/format.h>

#include "device/arena.h"
#include "device/thread_pool.h"
#include "infer/engine/engine.h"
#include "infer/model/load_model.h"
#include "io/load_tokenizer.h"
#include "io/model_files.h"
#include "text/stream_decoder.h"

using namespace gamelan;

base::Status generate(const std::string& path, const std::string& prompt) {
  device::ThreadPool threads({});
  device::Arena workspace;
  const kernels::Context context{.threads = &threads, .workspace = &workspace};
  GAMELAN_ASSIGN_OR_RETURN(const auto model, infer::load_causal_model(path, context, {}));
  GAMELAN_ASSIGN_OR_RETURN(const io::ModelFiles files, io::load_model_files(path));
  GAMELAN_ASSIGN_OR_RETURN(const auto tokenizer, io::load_tokenizer(files.tokenizer_path));

  infer::EngineOptions options;
  options.cache.dtype = model->natural_cache_dtype();
  GAMELAN_ASSIGN_OR_RETURN(const auto engine, infer::Engine::create(*model, options));
  infer::Request request;
  request.prompt = tokenizer->encode(prompt);
  request.max_new_tokens = 50;
  text::StreamDecoder decoder(*tokenizer, /*skip_special_tokens=*/true);
  for (const text::TokenId token : request.prompt) {
    fmt::print("{}", decoder.push(token));
  }
  GAMELAN_RETURN_IF_ERROR(engine->submit(std::move(request)).status());
  while (!engine->idle()) {
    GAMELAN_ASSIGN_OR_RETURN(const std::vector<infer::Event> events, engine->step());
    for (const infer::Event& event : events) {
      for (const text::TokenId token : event.tokens) {
        fmt::print("{}", decoder.push(token));
      }
    }
  }
  fmt::print("{}\n", decoder.finish());
  return base::OkStatus();
}

int main(int argc, char** argv) {
  if (argc != 3) {
    fmt::print(stderr, "usage: {} MODEL PROMPT\n", argv[0]);
    return 2;
  }
  if (const base::Status status = generate(argv[1], argv[2]); !status.ok()) {
    fmt::print(stderr, "{}\n", base::message(status));
    return 1;
  }
  return 0;
}
