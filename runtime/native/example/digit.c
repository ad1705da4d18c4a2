/* digit BUNDLE IMAGE: which class a grey PGM image is of, as the bundle's model says. */
#include <stdio.h>
#include <tinsmith.h>

static unsigned char bundle[1 << 24], pixels[1 << 20];
static signed char scores[1 << 10];

static int fail(const char *name, const char *reason) {
  fprintf(stderr, "%s: %s\n", name, reason);
  return 1;
}

int main(int count, char **words) {
  if (count != 3) return fail("digit", "expected BUNDLE IMAGE");
  FILE *file = fopen(words[1], "rb");
  if (file == NULL) return fail(words[1], "cannot be opened");
  const void *plan;
  size_t size = fread(bundle, 1, sizeof bundle, file);
  fclose(file);
  tin_model *model;
  int status = tin_find_plan(bundle, size, &plan, &size);
  if (status == TIN_OK) status = tin_load(plan, size, 1, &model);
  if (status != TIN_OK) return fail(words[1], tin_error_text(status));
  tin_tensor in, out;
  if (tin_input(model, 0, &in) || in.rank != 3 || in.bytes > sizeof pixels ||
      tin_output(model, 0, &out) || out.bytes > sizeof scores)
    return fail(words[1], "expected a model of images, with classes");

  unsigned width, height;
  if ((file = fopen(words[2], "rb")) == NULL) return fail(words[2], "cannot be opened");
  if (fscanf(file, "P5 %u %u 255", &width, &height) != 2 || fgetc(file) == EOF ||
      width != in.shape[1] || height != in.shape[0] || fread(pixels, 1, in.bytes, file) != in.bytes)
    return fail(words[2], "expected a binary PGM image of the model's size");
  fclose(file);
  tin_run(model, (const void *[]){pixels}, (void *[]){scores}, 1, 1, NULL);
  tin_free(model);
  unsigned best = 0;
  for (unsigned i = 1; i < out.bytes; i++) best = scores[i] > scores[best] ? i : best;
  return printf("%u\n", best) < 0;
}
