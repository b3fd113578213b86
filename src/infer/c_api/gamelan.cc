#include "infer/c_api/gamelan.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "device/arena.h"
#include "device/thread_pool.h"
#include "infer/c_api/convert.h"
#include "infer/engine/engine.h"
#include "infer/model/load_model.h"
#include "io/load_tokenizer.h"
#include "io/model_files.h"
#include "kernels/context.h"
#include "text/stream_decoder.h"

using namespace gamelan;

struct gamelan_engine {
  explicit gamelan_engine(int threads)
      : pool({.threads = threads}), context{.threads = &pool, .workspace = &arena} {}

  device::ThreadPool pool;
  device::Arena arena;
  kernels::Context context;
  std::unique_ptr<infer::CausalModel> model;
  std::unique_ptr<infer::CausalModel> draft;
  std::unique_ptr<text::Tokenizer> tokenizer;
  std::unique_ptr<infer::Engine> engine;
  // What the last call gave.
  infer::CEvents events;
  std::vector<text::TokenId> tokens;
  std::string text;
};

struct gamelan_decoder {
  text::StreamDecoder decoder;
  std::string text;  // what the last call gave
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

/// Runs `call`, which returns a Status: no exception leaves a C function.
template <class Call>
int guarded(Call&& call) {
  try {
    return code_of(call());
  } catch (const std::bad_alloc&) {
    return code_of(base::resource_exhausted("out of memory"));
  } catch (const std::exception& error) {
    return code_of(base::internal("unexpected exception: {}", error.what()));
  }
}

base::Status needs(const char* argument, const void* pointer) {
  return pointer != nullptr ? base::OkStatus()
                            : base::invalid_argument("{}: expected a pointer, got NULL", argument);
}

base::Status needs_tokenizer(const gamelan_engine* engine) {
  GAMELAN_RETURN_IF_ERROR(needs("engine", engine));
  return engine->tokenizer != nullptr
             ? base::OkStatus()
             : base::failed_precondition("the model has no tokenizer; name one in the options");
}

base::StatusOr<std::span<const text::TokenId>> tokens_of(const int32_t* tokens, size_t count) {
  if (count > 0) {
    GAMELAN_RETURN_IF_ERROR(needs("tokens", tokens));
  }
  return std::span<const text::TokenId>(tokens, count);
}

base::StatusOr<infer::LoadOptions> load_options(const gamelan_options& options) {
  infer::LoadOptions load;
  if (options.dtype != nullptr) {
    load.scheme = kernels::scheme_from_name(options.dtype);
    if (!load.scheme) {
      return base::invalid_argument("dtype: expected {}, got '{}'", kernels::scheme_names(),
                                    options.dtype);
    }
  }
  return load;
}

/// The named tokenizer, or the model's; null when the model has none.
base::StatusOr<std::unique_ptr<text::Tokenizer>> load_tokenizer(const char* model,
                                                                const char* named) {
  if (named != nullptr) {
    return io::load_tokenizer(named);
  }
  GAMELAN_ASSIGN_OR_RETURN(const io::ModelFiles files, io::load_model_files(model));
  auto tokenizer = io::load_tokenizer(files.tokenizer_path);
  if (tokenizer.status().code() == base::StatusCode::kNotFound) {
    return nullptr;
  }
  return tokenizer;
}

base::StatusOr<std::unique_ptr<gamelan_engine>> open(const char* path,
                                                     const gamelan_options& given) {
  GAMELAN_RETURN_IF_ERROR(needs("model", path));
  GAMELAN_ASSIGN_OR_RETURN(const gamelan_options options, infer::complete(given));
  GAMELAN_ASSIGN_OR_RETURN(const infer::LoadOptions load, load_options(options));
  if (options.threads < 0) {
    return base::invalid_argument("threads: expected 0 or more, got {}", options.threads);
  }
  auto opened = std::make_unique<gamelan_engine>(options.threads);
  GAMELAN_ASSIGN_OR_RETURN(opened->model, infer::load_causal_model(path, opened->context, load));
  GAMELAN_ASSIGN_OR_RETURN(opened->tokenizer, load_tokenizer(path, options.tokenizer));
  if (options.draft_model != nullptr) {
    GAMELAN_ASSIGN_OR_RETURN(opened->draft,
                             infer::load_causal_model(options.draft_model, opened->context, load));
  }
  GAMELAN_ASSIGN_OR_RETURN(const infer::EngineOptions engine,
                           infer::engine_options(options, *opened->model));
  GAMELAN_ASSIGN_OR_RETURN(opened->engine,
                           infer::Engine::create(*opened->model, engine, opened->draft.get()));
  return opened;
}

}  // namespace

extern "C" {

const char* gamelan_last_error(void) {
  return last_error.c_str();
}

void gamelan_default_options(gamelan_options* options, size_t size) {
  gamelan_options defaults = infer::default_c_options();
  defaults.size = size;
  std::memcpy(options, &defaults, std::min(size, sizeof(defaults)));
}

void gamelan_default_request(gamelan_request* request, size_t size) {
  gamelan_request defaults = infer::default_c_request();
  defaults.size = size;
  std::memcpy(request, &defaults, std::min(size, sizeof(defaults)));
}

int gamelan_open(const char* model, const gamelan_options* options, gamelan_engine** engine) {
  return guarded([&]() -> base::Status {
    GAMELAN_RETURN_IF_ERROR(needs("engine", engine));
    *engine = nullptr;
    // Not copied as a whole: an older program's struct is shorter than this library's.
    static const gamelan_options defaults = infer::default_c_options();
    GAMELAN_ASSIGN_OR_RETURN(auto opened, open(model, options != nullptr ? *options : defaults));
    *engine = opened.release();
    return base::OkStatus();
  });
}

void gamelan_close(gamelan_engine* engine) {
  delete engine;
}

int gamelan_encode(gamelan_engine* engine, const char* text, const int32_t** tokens,
                   size_t* token_count) {
  return guarded([&]() -> base::Status {
    GAMELAN_RETURN_IF_ERROR(needs("text", text));
    GAMELAN_RETURN_IF_ERROR(needs("tokens", tokens));
    GAMELAN_RETURN_IF_ERROR(needs("token_count", token_count));
    GAMELAN_RETURN_IF_ERROR(needs_tokenizer(engine));
    engine->tokens = engine->tokenizer->encode(text);
    *tokens = engine->tokens.data();
    *token_count = engine->tokens.size();
    return base::OkStatus();
  });
}

int gamelan_decode(gamelan_engine* engine, const int32_t* tokens, size_t token_count,
                   const char** text) {
  return guarded([&]() -> base::Status {
    GAMELAN_RETURN_IF_ERROR(needs("text", text));
    GAMELAN_RETURN_IF_ERROR(needs_tokenizer(engine));
    GAMELAN_ASSIGN_OR_RETURN(const auto given, tokens_of(tokens, token_count));
    engine->text = engine->tokenizer->decode(given, true);
    *text = engine->text.c_str();
    return base::OkStatus();
  });
}

int gamelan_decoder_open(gamelan_engine* engine, gamelan_decoder** decoder) {
  return guarded([&]() -> base::Status {
    GAMELAN_RETURN_IF_ERROR(needs("decoder", decoder));
    *decoder = nullptr;
    GAMELAN_RETURN_IF_ERROR(needs_tokenizer(engine));
    *decoder = new gamelan_decoder{
        text::StreamDecoder(*engine->tokenizer, /*skip_special_tokens=*/true), {}};
    return base::OkStatus();
  });
}

int gamelan_decoder_push(gamelan_decoder* decoder, const int32_t* tokens, size_t token_count,
                         const char** text) {
  return guarded([&]() -> base::Status {
    GAMELAN_RETURN_IF_ERROR(needs("decoder", decoder));
    GAMELAN_RETURN_IF_ERROR(needs("text", text));
    GAMELAN_ASSIGN_OR_RETURN(const auto given, tokens_of(tokens, token_count));
    decoder->text.clear();
    for (const text::TokenId token : given) {
      decoder->text += decoder->decoder.push(token);
    }
    *text = decoder->text.c_str();
    return base::OkStatus();
  });
}

int gamelan_decoder_finish(gamelan_decoder* decoder, const char** text) {
  return guarded([&]() -> base::Status {
    GAMELAN_RETURN_IF_ERROR(needs("decoder", decoder));
    GAMELAN_RETURN_IF_ERROR(needs("text", text));
    decoder->text = decoder->decoder.finish();
    *text = decoder->text.c_str();
    return base::OkStatus();
  });
}

void gamelan_decoder_close(gamelan_decoder* decoder) {
  delete decoder;
}

int gamelan_submit(gamelan_engine* engine, const gamelan_request* request, uint64_t* id) {
  return guarded([&]() -> base::Status {
    GAMELAN_RETURN_IF_ERROR(needs("engine", engine));
    GAMELAN_RETURN_IF_ERROR(needs("request", request));
    GAMELAN_RETURN_IF_ERROR(needs("id", id));
    *id = 0;
    GAMELAN_ASSIGN_OR_RETURN(infer::Request made, infer::request_of(*request));
    GAMELAN_ASSIGN_OR_RETURN(*id, engine->engine->submit(std::move(made)));
    return base::OkStatus();
  });
}

int gamelan_cancel(gamelan_engine* engine, uint64_t id) {
  return guarded([&]() -> base::Status {
    GAMELAN_RETURN_IF_ERROR(needs("engine", engine));
    return engine->engine->cancel(id);
  });
}

int gamelan_step(gamelan_engine* engine, size_t* event_count) {
  return guarded([&]() -> base::Status {
    GAMELAN_RETURN_IF_ERROR(needs("engine", engine));
    GAMELAN_RETURN_IF_ERROR(needs("event_count", event_count));
    engine->events.assign({});
    *event_count = 0;
    GAMELAN_ASSIGN_OR_RETURN(auto happened, engine->engine->step());
    engine->events.assign(std::move(happened));
    *event_count = engine->events.size();
    return base::OkStatus();
  });
}

const gamelan_event* gamelan_get_event(const gamelan_engine* engine, size_t index) {
  return engine != nullptr ? engine->events.at(index) : nullptr;
}

int gamelan_idle(const gamelan_engine* engine) {
  return engine == nullptr || engine->engine->idle() ? 1 : 0;
}

int gamelan_get_statistics(const gamelan_engine* engine, gamelan_statistics* statistics,
                           size_t size) {
  return guarded([&]() -> base::Status {
    GAMELAN_RETURN_IF_ERROR(needs("engine", engine));
    GAMELAN_RETURN_IF_ERROR(needs("statistics", statistics));
    const gamelan_statistics now = infer::statistics_of(engine->engine->statistics());
    std::memcpy(statistics, &now, std::min(size, sizeof(now)));
    return base::OkStatus();
  });
}

}  // extern "C"
