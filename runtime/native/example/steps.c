/* steps BUNDLE: the class behind each step of a sequence, whose numbers standard input has. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <tinsmith.h>

enum { MOST = 16, ROOM = 1 << 12 };
static unsigned char bundle[1 << 24];
static signed char before[MOST][ROOM], behind[MOST][ROOM];

int main(int count, char **words) {
  FILE *file = count == 2 ? fopen(words[1], "rb") : NULL;
  if (file == NULL) return fputs("steps: expected BUNDLE\n", stderr), 1;
  const void *plan;
  size_t size = fread(bundle, 1, sizeof bundle, file);
  fclose(file);
  tin_model *model;
  int status = tin_find_plan(bundle, size, &plan, &size);
  if (status == TIN_OK) status = tin_load(plan, size, 1, &model);
  if (status != TIN_OK) return fprintf(stderr, "%s: %s\n", words[1], tin_error_text(status)), 1;
  const unsigned tensors = tin_input_count(model); /* the step, then the states; so are outputs */
  if (tensors < 2 || tensors > MOST || tin_output_count(model) != tensors)
    return fprintf(stderr, "%s: expected a model of steps\n", words[1]), 1;
  tin_tensor in[MOST], out[MOST];
  const void *inputs[MOST];
  void *outputs[MOST];
  for (unsigned i = 0; i < tensors; i++) {
    if (tin_input(model, i, &in[i]) || tin_output(model, i, &out[i]) || in[i].bytes > ROOM ||
        out[i].bytes > ROOM)
      return fprintf(stderr, "%s: too large\n", words[1]), 1;
    memset(before[i], in[i].zero_point, in[i].bytes); /* zero: a sequence begins */
    inputs[i] = before[i], outputs[i] = behind[i];
  }
  for (unsigned k = 0;; k = 0) {
    for (float x; k < in[0].bytes && scanf("%f", &x) == 1; k++) {
      const float code = rintf(x / in[0].scale) + (float)in[0].zero_point;
      before[0][k] = (signed char)fmaxf(-128, fminf(127, code));
    }
    if (k < in[0].bytes) return tin_free(model), 0;
    tin_run(model, inputs, outputs, 1, 0, NULL);
    for (unsigned i = 1; i < tensors; i++) memcpy(before[i], behind[i], in[i].bytes);
    unsigned best = 0;
    for (unsigned i = 1; i < out[0].bytes; i++) best = behind[0][i] > behind[0][best] ? i : best;
    printf("%u\n", best);
  }
}
