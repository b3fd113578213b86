/* Generation for other languages: what infer/engine/engine.h offers, in C.
 *
 * One thread at a time uses an engine and its decoders. Functions that can fail return 0, or a
 * gamelan_code with the message in gamelan_last_error(). Pointers that an engine gives stay valid
 * until its next call.
 *
 * Structs grow at their end only. Who fills one says how large it is for him, with the sizeof of
 * the header that he was compiled with, so a newer library takes what an older program gives; an
 * older library refuses what it does not know. */
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
typedef struct gamelan_decoder gamelan_decoder;

/* Filled by gamelan_default_options(). */
typedef struct gamelan_options {
  size_t size;             /* of this struct */
  const char* dtype;       /* "f32", "bf16", "int8", ...; NULL = by the files */
  const char* tokenizer;   /* folder or file; NULL = the model's */
  int threads;             /* 0 = the usable CPUs */
  uint64_t cache_bytes;    /* memory for keys and values */
  int max_step_tokens;     /* tokens computed in one step */
  int max_sequences;       /* texts that grow at the same time */
  const char* cache_dtype; /* "f32", "bf16", "f16", "int8"; NULL = by the weights */
  int cache_block_tokens;  /* tokens whose keys and values lie together */
  int prefix_sharing;      /* not 0: keep blocks to be found by prompts that begin alike */
  const char* draft_model; /* for draft_tokens, with the same vocabulary; NULL = none */
} gamelan_options;

typedef struct gamelan_tokens {
  const int32_t* data;
  size_t count;
} gamelan_tokens;

/* Filled by gamelan_default_request(); infer/engine/request.h says what the fields mean.
 * gamelan_submit() copies what is pointed to. */
typedef struct gamelan_request {
  size_t size; /* of this struct */
  const int32_t* prompt;
  size_t prompt_tokens;
  int max_new_tokens;
  int min_new_tokens;
  int n;
  int best_of; /* 0 = n */
  double temperature;
  int top_k;
  double top_p;
  double min_p;
  double repetition_penalty;
  double presence_penalty;
  double frequency_penalty;
  int has_seed;
  uint64_t seed;
  int beam_width;
  int beam_groups;
  double length_penalty;
  double diversity_penalty;
  int early_stopping;
  int has_end_tokens; /* not 0: end_tokens instead of the model's, also when there are none */
  const int32_t* end_tokens;
  size_t end_token_count;
  const gamelan_tokens* stop_words;
  size_t stop_word_count;
  const gamelan_tokens* bad_words;
  size_t bad_word_count;
  int log_probabilities; /* not 0: in the events */
  int top_log_probabilities;
  int lookup_tokens;
  int lookup_ngram;
  int draft_tokens;
} gamelan_request;

typedef struct gamelan_alternative {
  int32_t token;
  float log_probability;
} gamelan_alternative;

typedef struct gamelan_event {
  uint64_t request;
  int index; /* which of the request's texts */
  const int32_t* tokens;
  size_t token_count;
  const char* finish; /* "" or "end", "stop", "length", "cancelled", "error" */
  const char* error;
  int last;                       /* not 0 in the request's last event */
  const float* log_probabilities; /* [token_count]; NULL unless asked for */
  /* [token_count, alternative_count], best first; NULL unless asked for */
  const gamelan_alternative* alternatives;
  size_t alternative_count;
  double score;
} gamelan_event;

typedef struct gamelan_statistics {
  uint64_t steps;
  uint64_t prompt_tokens;
  uint64_t shared_tokens;
  uint64_t generated_tokens;
  uint64_t preemptions;
  uint64_t proposed_tokens;
  uint64_t accepted_tokens;
  uint64_t cache_blocks;
  uint64_t free_blocks;
  uint64_t waiting_requests;
  uint64_t running_sequences;
} gamelan_statistics;

/* The message of this thread's last call that failed; never NULL. */
const char* gamelan_last_error(void);

/* Fill the first `size` bytes, sizeof(gamelan_options) and sizeof(gamelan_request). */
void gamelan_default_options(gamelan_options* options, size_t size);
void gamelan_default_request(gamelan_request* request, size_t size);

/* Loads a model. `options` may be NULL. *engine belongs to the caller, who ends it with
 * gamelan_close(), after its decoders; NULL when this fails. */
int gamelan_open(const char* model, const gamelan_options* options, gamelan_engine** engine);
void gamelan_close(gamelan_engine* engine);

/* The tokens of `text`, NUL-terminated UTF-8; the text of tokens. GAMELAN_CALLERS_MISTAKE when the
 * model has no tokenizer. */
int gamelan_encode(gamelan_engine* engine, const char* text, const int32_t** tokens,
                   size_t* token_count);
int gamelan_decode(gamelan_engine* engine, const int32_t* tokens, size_t token_count,
                   const char** text);

/* Text that grows with its tokens: no piece ends within a character. Push the prompt's tokens
 * first, whose spelling decides how what follows begins. *text is valid until the decoder's next
 * call. */
int gamelan_decoder_open(gamelan_engine* engine, gamelan_decoder** decoder);
int gamelan_decoder_push(gamelan_decoder* decoder, const int32_t* tokens, size_t token_count,
                         const char** text);
/* What was held back at the end of the tokens. */
int gamelan_decoder_finish(gamelan_decoder* decoder, const char** text);
void gamelan_decoder_close(gamelan_decoder* decoder);

int gamelan_submit(gamelan_engine* engine, const gamelan_request* request, uint64_t* id);
/* Ends a request; its last event says "cancelled". */
int gamelan_cancel(gamelan_engine* engine, uint64_t id);
/* Computes one step and says how many events it made. */
int gamelan_step(gamelan_engine* engine, size_t* event_count);
/* Of the last step, index 0 ... event_count - 1; NULL beyond. */
const gamelan_event* gamelan_get_event(const gamelan_engine* engine, size_t index);
/* Not 0 when there is nothing to do. */
int gamelan_idle(const gamelan_engine* engine);
/* Fills the first `size` bytes, sizeof(gamelan_statistics). */
int gamelan_get_statistics(const gamelan_engine* engine, gamelan_statistics* statistics,
                           size_t size);

#ifdef __cplusplus
}
#endif

#endif /* GAMELAN_INFER_C_API_GAMELAN_H_ */
