#include "infer/c_api/gamelan.h"

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "device/arena.h"
#include "device/thread_pool.h"
#include "infer/engine/engine.h"
#include "infer/model/load_model.h"
#include "io/load_tokenizer.h"
#include "io/model_files.h"
#include "kernels/context.h"

using namespace gamelan;

struct gamelan_engine {
  explicit gamelan_engine(int threads)
      : pool({.threads = threads}), context{.threads = &pool, .workspace = &arena} {}

  device::ThreadPool pool;
  device::Arena arena;
  kernels::Context context;
  std::unique_ptr<infer::CausalModel> model;
  std::unique_ptr<text::Tokenizer> tokenizer;
  std::unique_ptr<infer::Engine> engine;
  // What the last call gave.
  std::vector<infer::Event> events;
  std::vector<gamelan_event> told;
  std::vector<text::TokenId> tokens;
  std::string text;
};

namespace {

thread_local std::string last_error;

int code_of(const base::Status& status) {
  if (status.ok()) {
    return GAMELAN_OK;
  }
  last_error = base::message(status);
  switch (status.code()) {
    case base::StatusCode::kInvalidArgument:
    case base::StatusCode::kNotFound:
    case base::StatusCode::kAlreadyExists:
    case base::StatusCode::kFailedPrecondition:
    case base::StatusCode::kUnimplemented:
      return GAMELAN_CALLERS_MISTAKE;
    case base::StatusCode::kInternal:
      return GAMELAN_BUG;
    default:
      return GAMELAN_ENVIRONMENT;
  }
}

base::StatusOr<std::unique_ptr<gamelan_engine>> open(const char* path,
                                                     const gamelan_options& options) {
  if (path == nullptr) {
    return base::invalid_argument("model: expected a path, got NULL");
  }
  infer::LoadOptions load;
  if (options.dtype != nullptr) {
    load.scheme = kernels::scheme_from_name(options.dtype);
    if (!load.scheme) {
      return base::invalid_argument("dtype: expected {}, got '{}'", kernels::scheme_names(),
                                    options.dtype);
    }
  }
  if (options.threads < 0) {
    return base::invalid_argument("threads: expected 0 or more, got {}", options.threads);
  }
  auto opened = std::make_unique<gamelan_engine>(options.threads);
  GAMELAN_ASSIGN_OR_RETURN(opened->model, infer::load_causal_model(path, opened->context, load));
  GAMELAN_ASSIGN_OR_RETURN(const io::ModelFiles files, io::load_model_files(path));
  const bool named = options.tokenizer != nullptr;
  auto tokenizer = io::load_tokenizer(named ? options.tokenizer : files.tokenizer_path);
  if (tokenizer.ok()) {
    opened->tokenizer = *std::move(tokenizer);
  } else if (named) {
    return tokenizer.status();
  }
  infer::EngineOptions engine;
  engine.cache.dtype = opened->model->natural_cache_dtype();
  engine.cache_bytes = options.cache_bytes;
  engine.max_step_tokens = options.max_step_tokens;
  engine.max_sequences = options.max_sequences;
  GAMELAN_ASSIGN_OR_RETURN(opened->engine, infer::Engine::create(*opened->model, engine));
  return opened;
}

base::Status needs_tokenizer(const gamelan_engine& engine) {
  return engine.tokenizer != nullptr
             ? base::OkStatus()
             : base::failed_precondition("the model has no tokenizer; name one in the options");
}

}  // namespace

extern "C" {

const char* gamelan_last_error(void) {
  return last_error.c_str();
}

void gamelan_default_options(gamelan_options* options) {
  const infer::EngineOptions defaults;
  *options = {
      nullptr, nullptr, 0, defaults.cache_bytes, defaults.max_step_tokens, defaults.max_sequences};
}

void gamelan_default_request(gamelan_request* request) {
  *request = {};
  const infer::Request defaults;
  request->max_new_tokens = defaults.max_new_tokens;
  request->n = 1;
  request->beam_width = 1;
  request->top_p = 1.0;
  request->repetition_penalty = 1.0;
}

int gamelan_open(const char* model, const gamelan_options* options, gamelan_engine** engine) {
  auto opened = open(model, *options);
  *engine = opened.ok() ? opened->release() : nullptr;
  return code_of(opened.status());
}

void gamelan_close(gamelan_engine* engine) {
  delete engine;
}

int gamelan_encode(gamelan_engine* engine, const char* text, const int32_t** tokens,
                   size_t* token_count) {
  if (const base::Status status = needs_tokenizer(*engine); !status.ok()) {
    return code_of(status);
  }
  engine->tokens = engine->tokenizer->encode(text);
  *tokens = engine->tokens.data();
  *token_count = engine->tokens.size();
  return GAMELAN_OK;
}

int gamelan_decode(gamelan_engine* engine, const int32_t* tokens, size_t token_count,
                   const char** text) {
  if (const base::Status status = needs_tokenizer(*engine); !status.ok()) {
    return code_of(status);
  }
  engine->text = engine->tokenizer->decode(std::span(tokens, token_count), true);
  *text = engine->text.c_str();
  return GAMELAN_OK;
}

int gamelan_submit(gamelan_engine* engine, const gamelan_request* request, uint64_t* id) {
  infer::Request made;
  made.prompt.assign(request->prompt, request->prompt + request->prompt_tokens);
  made.max_new_tokens = request->max_new_tokens;
  made.min_new_tokens = request->min_new_tokens;
  made.n = request->n;
  made.beam.width = request->beam_width;
  made.sampling.temperature = request->temperature;
  made.sampling.top_k = request->top_k;
  made.sampling.top_p = request->top_p;
  made.sampling.min_p = request->min_p;
  made.sampling.repetition_penalty = request->repetition_penalty;
  if (request->has_seed != 0) {
    made.sampling.seed = request->seed;
  }
  if (request->ignore_end != 0) {
    made.end_tokens.emplace();
  }
  const auto submitted = engine->engine->submit(std::move(made));
  *id = submitted.ok() ? *submitted : 0;
  return code_of(submitted.status());
}

int gamelan_cancel(gamelan_engine* engine, uint64_t id) {
  return code_of(engine->engine->cancel(id));
}

int gamelan_step(gamelan_engine* engine, const gamelan_event** events, size_t* event_count) {
  auto happened = engine->engine->step();
  engine->events.clear();
  engine->told.clear();
  if (happened.ok()) {
    engine->events = *std::move(happened);
  }
  for (const infer::Event& event : engine->events) {
    engine->told.push_back({event.request, event.index, event.tokens.data(), event.tokens.size(),
                            infer::name_of(event.finish).data(), event.error.c_str(),
                            event.last ? 1 : 0});
  }
  *events = engine->told.data();
  *event_count = engine->told.size();
  return code_of(happened.status());
}

int gamelan_idle(const gamelan_engine* engine) {
  return engine->engine->idle() ? 1 : 0;
}

}  // extern "C"
