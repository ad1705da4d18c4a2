/* codes PLAN: runs a plan on samples of int8 codes from standard input, to standard output. */
#include <stdio.h>
#include <stdlib.h>
#include <tinsmith.h>

int main(int count, char **words) {
  static unsigned char plan[1 << 22];
  FILE *file = count == 2 ? fopen(words[1], "rb") : NULL;
  if (file == NULL) return 2;
  const size_t size = fread(plan, 1, sizeof plan, file);
  tin_model *model;
  int status = tin_load(plan, size, 1, &model);
  if (status != TIN_OK) return fprintf(stderr, "%s\n", tin_error_text(status)), 1;
  tin_tensor end;
  for (;;) {
    for (uint32_t i = 0; tin_input(model, i, &end) == TIN_OK; i++)
      if (fread(end.memory, 1, end.bytes, stdin) != end.bytes) return 0;
    if (tin_run(model, NULL, NULL, 1, 0, NULL) != TIN_OK) return 1;
    for (uint32_t i = 0; tin_output(model, i, &end) == TIN_OK; i++)
      fwrite(end.memory, 1, end.bytes, stdout);
  }
}
