/* Continues a text with the C interface. */

#include <stdio.h>

#include "infer/c_api/gamelan.h"

int main(int argc, char** argv) {
  gamelan_options options;
  gamelan_request request;
  gamelan_engine* engine = NULL;
  uint64_t id = 0;
  int failed = 0;
  if (argc != 3) {
    fprintf(stderr, "usage: %s MODEL PROMPT\n", argv[0]);
    return 2;
  }
  gamelan_default_options(&options, sizeof(options));
  gamelan_default_request(&request, sizeof(request));
  request.max_new_tokens = 50;
  failed = gamelan_open(argv[1], &options, &engine) != GAMELAN_OK ||
           gamelan_encode(engine, argv[2], &request.prompt, &request.prompt_tokens) != GAMELAN_OK ||
           gamelan_submit(engine, &request, &id) != GAMELAN_OK;
  while (!failed && !gamelan_idle(engine)) {
    size_t count = 0;
    failed = gamelan_step(engine, &count) != GAMELAN_OK;
    for (size_t i = 0; i < count; ++i) {
      const gamelan_event* event = gamelan_get_event(engine, i);
      for (size_t t = 0; t < event->token_count; ++t) {
        printf("%d ", (int)event->tokens[t]);
      }
    }
  }
  printf("\n");
  if (failed) {
    fprintf(stderr, "%s\n", gamelan_last_error());
  }
  gamelan_close(engine);
  return failed;
}
