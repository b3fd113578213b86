/* Generation for other languages: what infer/engine/engine.h offers, in C.
 *
 * One thread at a time uses an engine. Functions that can fail return 0, or a gamelan_code with the
 * message in gamelan_last_error(). Pointers that an engine gives stay valid until its next call. */
#ifndef GAMELAN_INFER_C_API_GAMELAN_H_
#define GAMELAN_INFER_C_API_GAMELAN_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The kinds of errors of docs/errors.md. */
typedef enum gamelan_code {
  GAMELAN_OK = 0,
  GAMELAN_CALLERS_MISTAKE = 1,
  GAMELAN_ENVIRONMENT = 2,
  GAMELAN_BUG = 3
} gamelan_code;

typedef struct gamelan_engine gamelan_engine;

/* Filled by gamelan_default_options(). */
typedef struct gamelan_options {
  const char* dtype;     /* "f32", "bf16", "int8", ...; NULL = by the files */
  const char* tokenizer; /* folder or file; NULL = the model's */
  int threads;           /* 0 = the usable CPUs */
  uint64_t cache_bytes;  /* memory for keys and values */
  int max_step_tokens;   /* tokens computed in one step */
  int max_sequences;     /* texts that grow at the same time */
} gamelan_options;

/* Filled by gamelan_default_request(); the fields are those of infer/engine/request.h. */
typedef struct gamelan_request {
  const int32_t* prompt; /* copied by gamelan_submit() */
  size_t prompt_tokens;
  int max_new_tokens;
  int min_new_tokens;
  int n;
  int beam_width;
  double temperature;
  int top_k;
  double top_p;
  double min_p;
  double repetition_penalty;
  int has_seed;
  uint64_t seed;
  int ignore_end; /* not 0: go on after the model's end token */
} gamelan_request;

typedef struct gamelan_event {
  uint64_t request;
  int index; /* which of the request's texts */
  const int32_t* tokens;
  size_t token_count;
  const char* finish; /* "" or "end", "stop", "length", "cancelled", "error" */
  const char* error;
  int last; /* not 0 in the request's last event */
} gamelan_event;

/* The message of this thread's last call that failed; never NULL. */
const char* gamelan_last_error(void);

void gamelan_default_options(gamelan_options* options);
void gamelan_default_request(gamelan_request* request);

/* Loads a model. *engine belongs to the caller, who ends it with gamelan_close(). */
int gamelan_open(const char* model, const gamelan_options* options, gamelan_engine** engine);
void gamelan_close(gamelan_engine* engine);

/* The tokens of `text`, NUL-terminated UTF-8; the text of tokens. GAMELAN_CALLERS_MISTAKE when the
 * model has no tokenizer. */
int gamelan_encode(gamelan_engine* engine, const char* text, const int32_t** tokens,
                   size_t* token_count);
int gamelan_decode(gamelan_engine* engine, const int32_t* tokens, size_t token_count,
                   const char** text);

int gamelan_submit(gamelan_engine* engine, const gamelan_request* request, uint64_t* id);
int gamelan_cancel(gamelan_engine* engine, uint64_t id);
/* Computes one step. */
int gamelan_step(gamelan_engine* engine, const gamelan_event** events, size_t* event_count);
/* Not 0 when there is nothing to do. */
int gamelan_idle(const gamelan_engine* engine);

#ifdef __cplusplus
}
#endif

#endif /* GAMELAN_INFER_C_API_GAMELAN_H_ */
