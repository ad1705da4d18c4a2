/* check ISA COUNT SEED: random products on every kernel of an instruction set, against the portable
 * one. Prints how many each kernel computed; the exit status is 1 at the first difference.
 *
 * Every tensor has its exact size on the heap, so that AddressSanitizer sees a step outside.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"

static uint64_t state;

static uint32_t random32(void) { /* xorshift64* */
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return (uint32_t)((state * 0x2545f4914f6cdd1dull) >> 32);
}

static int32_t between(int32_t low, int32_t high) {
  return low + (int32_t)(random32() % (uint32_t)(high - low + 1));
}

static void *memory(size_t bytes) {
  void *at = NULL;
  if (posix_memalign(&at, TIN_ALIGNMENT, bytes ? bytes : 1) != 0) exit(2);
  memset(at, 0x5a, bytes);
  return at;
}

/* Half of all layers are of the kinds that have kernels of their own. */
static struct tin_product random_shape(void) {
  struct tin_product p = {0};
  const int plain = between(0, 2) == 0, kind = between(0, 9);
  p.in_h = between(1, 14);
  p.in_w = between(1, 14);
  p.out_h = between(1, 9);
  p.out_w = between(0, 1) ? between(1, 9) : between(1, 24);
  p.kernel_h = plain ? 3 : between(1, 4);
  p.kernel_w = plain ? 3 : between(1, 4);
  p.stride_h = plain ? 1 : between(1, 3);
  p.stride_w = plain ? 1 : between(1, 3);
  p.dilation_h = plain ? 1 : between(1, 2);
  p.dilation_w = plain ? 1 : between(1, 2);
  p.pad_top = between(0, 3);
  p.pad_left = between(0, between(0, 9) ? 3 : 30);
  p.groups = kind == 0 ? between(2, 3) : 1;
  p.in_c = p.groups * between(1, kind < 5 ? 12 : 48);
  p.out_c = p.groups * between(1, 48);
  if (plain) {
    p.in_c = p.groups * between(8, 40);
    p.out_c = p.groups * between(12, 40);
  }
  if (between(0, 15) == 0) { /* more rows than are in memory at a time */
    p.in_h = p.out_h = between(30, 90);
    p.in_w = p.out_w = between(20, 40);
    p.in_c = p.groups * between(1, 16);
    p.out_c = p.groups * between(1, 8);
  }
  if (kind == 1) { /* dense */
    p.in_h = p.in_w = p.out_h = p.out_w = p.kernel_h = p.kernel_w = 1;
    p.in_c = between(1, 300);
  }
  if (kind == 2 || kind == 3) { /* 1 x 1 */
    p.kernel_h = p.kernel_w = p.stride_h = p.stride_w = p.dilation_h = p.dilation_w = 1;
    p.pad_top = p.pad_left = 0;
    p.out_h = p.in_h;
    p.out_w = p.in_w;
    p.in_c = between(8, 100);
  }
  if (kind >= 7) {
    p.groups = p.in_c;
    p.out_c = p.in_c * (between(0, 9) ? 1 : 2);
    if (between(0, 2) == 0) { /* larger windows; one column of them is all of a pooling layer */
      p.kernel_h = between(1, 7);
      p.kernel_w = between(3, 7);
      p.stride_h = between(1, 3);
      p.stride_w = between(1, 2);
      p.dilation_h = p.dilation_w = 1;
      if (between(0, 5) == 0) p.out_w = 1;
    }
  }
  return p;
}

static void fill_weights(int8_t *weights, size_t count) {
  const int kind = between(0, 5), one = between(-127, 127), width = between(1, 60);
  for (size_t i = 0; i < count; i++) {
    int32_t weight = between(-127, 127);
    if (kind == 1) weight = weight < 0 ? -127 : 127;
    if (kind == 2) weight = one;
    if (kind == 5) weight = between(0, 7) ? weight / 4 : weight; /* some are large */
    if (kind == 3 || kind == 4) weight = (between(-width, width) + between(-width, width)) / 2;
    weights[i] = (int8_t)weight;
  }
}

struct layer {
  struct tin_product p;
  size_t in_bytes, out_bytes;
  int8_t *in, *weights, *wanted;
  int32_t *bias;
  float *scale;
};

static struct layer random_layer(void) {
  struct layer layer = {random_shape(), 0, 0, NULL, NULL, NULL, NULL, NULL};
  struct tin_product *p = &layer.p;
  const size_t window = (size_t)p->kernel_h * p->kernel_w * (p->in_c / p->groups);
  const int extreme = between(0, 3) == 0;
  const int32_t widest = between(0, 7) ? 20000 : 1 << 29; /* sums beyond 2^24 */
  p->in_zero = between(-128, 127);
  p->out_zero = between(-128, 127);
  p->out_min = between(0, 1) ? -128 : between(-128, 127);
  p->out_max = between(0, 1) ? 127 : between(p->out_min, 127);
  layer.in_bytes = (size_t)p->in_h * p->in_w * p->in_c;
  layer.out_bytes = (size_t)p->out_h * p->out_w * p->out_c;
  layer.in = memory(layer.in_bytes);
  layer.weights = memory(window * p->out_c);
  layer.wanted = memory(layer.out_bytes);
  layer.bias = memory(sizeof(int32_t) * (size_t)p->out_c);
  layer.scale = memory(sizeof(float) * (size_t)p->out_c);
  fill_weights(layer.weights, window * p->out_c);
  for (size_t i = 0; i < layer.in_bytes; i++)
    layer.in[i] = (int8_t)(extreme ? (between(0, 1) ? 127 : -128) : between(-128, 127));
  for (int32_t m = 0; m < p->out_c; m++) {
    layer.bias[m] = between(-widest, widest);
    layer.scale[m] = (float)between(1, 1 << 24) / 16777216.0f * (between(0, 9) ? 0.004f : 255.0f);
  }
  p->weights = layer.weights;
  p->bias = layer.bias;
  p->scale = layer.scale;
  tin_product_portable.run(p, NULL, layer.in, layer.wanted, NULL, 0, p->out_h);
  return layer;
}

static void free_layer(struct layer *layer) {
  free(layer->in);
  free(layer->weights);
  free(layer->wanted);
  free(layer->bias);
  free(layer->scale);
}

/* Rows in two calls, in either order. Gives 0 if an output differs. */
static int same(const struct tin_kernel *kernel, const struct layer *layer) {
  const struct tin_product *p = &layer->p;
  const int32_t cut = between(0, p->out_h);
  void *packed = memory(kernel->packed_bytes(p)), *scratch = memory(kernel->scratch_bytes(p));
  int8_t *out = memory(layer->out_bytes);
  kernel->pack(p, packed);
  if (between(0, 1)) kernel->run(p, packed, layer->in, out, scratch, cut, p->out_h);
  if (cut > 0) kernel->run(p, packed, layer->in, out, scratch, 0, cut);
  if (cut < p->out_h) kernel->run(p, packed, layer->in, out, scratch, cut, p->out_h);
  const int equal = memcmp(out, layer->wanted, layer->out_bytes) == 0;
  if (!equal)
    printf("%s differs: in %d x %d x %d, out %d x %d x %d, kernel %d x %d, stride %d %d, "
           "dilation %d %d, pad %d %d, groups %d, zero %d %d, limits %d..%d\n",
           kernel->name, p->in_h, p->in_w, p->in_c, p->out_h, p->out_w, p->out_c, p->kernel_h,
           p->kernel_w, p->stride_h, p->stride_w, p->dilation_h, p->dilation_w, p->pad_top,
           p->pad_left, p->groups, p->in_zero, p->out_zero, p->out_min, p->out_max);
  free(packed);
  free(scratch);
  free(out);
  return equal;
}

int main(int count, char **arguments) {
  if (count != 4) return 2;
  enum tin_isa isa = TIN_ISA_PORTABLE;
  while (isa < TIN_ISA_NEONDOT && strcmp(tin_isa_name(isa), arguments[1]) != 0) isa++;
  const struct tin_kernel *const *kernels = tin_product_kernels(isa);
  int computed[16] = {0};
  state = strtoull(arguments[3], NULL, 10) * 2 + 1;
  for (long i = strtol(arguments[2], NULL, 10); i > 0; i--) {
    struct layer layer = random_layer();
    for (int k = 0; kernels[k] != NULL; k++) {
      if (!kernels[k]->serves(&layer.p)) continue;
      computed[k]++;
      if (!same(kernels[k], &layer)) return 1;
    }
    free_layer(&layer);
  }
  for (int k = 0; kernels[k] != NULL; k++) printf("%s: %d\n", kernels[k]->name, computed[k]);
  return 0;
}
