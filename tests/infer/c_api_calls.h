/* The C interface as a C program calls it: c_api_calls.c is compiled as C11. */
#ifndef GAMELAN_TESTS_INFER_C_API_CALLS_H_
#define GAMELAN_TESTS_INFER_C_API_CALLS_H_

#include "infer/c_api/gamelan.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { kMostTokens = 64, kMostAlternatives = 4 };

/* One text of a request. */
typedef struct c_text {
  uint64_t request;
  int32_t tokens[kMostTokens];
  float log_probabilities[kMostTokens];
  gamelan_alternative alternatives[kMostTokens][kMostAlternatives];
  size_t token_count;
  size_t scored_count;
  size_t alternative_count; /* of a token */
  double score;
  char finish[16];
} c_text;

/* Opens `model` as f32 with blocks of four tokens. */
int c_open(const char* model, const char* draft_model, gamelan_engine** engine);

/* Submits `count` requests and runs the engine until it is idle. texts[i * texts_each + index] is a
 * text of request i. */
int c_run(gamelan_engine* engine, const gamelan_request* requests, size_t count, c_text* texts,
          size_t texts_each);

/* The text that follows `prompt`, piece by piece; at most `capacity` bytes. */
int c_continue(gamelan_engine* engine, const char* prompt, int max_new_tokens, char* text,
               size_t capacity);

#ifdef __cplusplus
}
#endif

#endif /* GAMELAN_TESTS_INFER_C_API_CALLS_H_ */
