/* How fast kernels are: the fastest of many calls, and what the CPU could do at most. */
#include <time.h>

#include "kernels.h"

static double now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return 1e9 * (double)now.tv_sec + (double)now.tv_nsec;
}

/* The fastest of `repeats` runs of all rows, in ns; short ones are measured a few at once. */
double measure_kernel(const struct tin_kernel *kernel, const struct tin_product *product,
                      const void *packed, const int8_t *in, int8_t *out, void *scratch,
                      int repeats) {
  double best = 1e18, once = 1e18;
  for (int i = 0; i < repeats; i++) {
    const int runs = once < 1e4 ? (int)(1e4 / once) : 1;
    const double start = now_ns();
    for (int run = 0; run < runs; run++)
      kernel->run(product, packed, in, out, scratch, 0, product->out_h);
    once = (now_ns() - start) / runs;
    if (once < best) best = once;
  }
  return best;
}

#if defined(__x86_64__) && defined(TIN_WITH_AVX2)

/* A loop of 12 chains: as many as hide what an addition takes. */
#define ALL(chain)                                                                               \
  chain(4) chain(5) chain(6) chain(7) chain(8) chain(9) chain(10) chain(11) chain(12) chain(13)  \
      chain(14) chain(15)
#define LOOP(chain)                                                                              \
  __asm__ volatile("mov %0, %%ecx\n1:\n" ALL(chain) "dec %%ecx\njnz 1b\n"                       \
                   :                                                                             \
                   : "i"(LOOPS)                                                                  \
                   : "ecx", "cc", "xmm0", "xmm1", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",        \
                     "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15")
#define AVX2_STEP(n) "vpmaddwd %%ymm0, %%ymm0, %%ymm1\nvpaddd %%ymm1, %%ymm" #n ", %%ymm" #n "\n"
#define AVXVNNI_STEP(n) "%{vex%} vpdpbusd %%ymm0, %%ymm0, %%ymm" #n "\n"
#define AVX512_STEP(n) "vpdpbusd %%zmm0, %%zmm0, %%zmm" #n "\n"

enum { LOOPS = 2000, CHAINS = 12 };

/* Runs the instructions that multiply most, on registers alone. Gives how many each multiplies. */
static int multiply(enum tin_isa isa) {
  if (isa == TIN_ISA_AVX512VNNI) {
    LOOP(AVX512_STEP);
    return 64;
  }
  if (isa == TIN_ISA_AVXVNNI) {
    LOOP(AVXVNNI_STEP);
    return 32;
  }
  LOOP(AVX2_STEP);
  return 16;
}

/* Multiply-accumulates a ns: of vpdpbusd, or without VNNI of vpmaddwd and vpaddd. 0 without AVX2. */
double measure_peak(int repeats) {
  enum tin_isa isa = TIN_ISA_AVX512VNNI;
  double best = 0;
  while (isa != TIN_ISA_PORTABLE && !tin_cpu_has(isa)) isa--; /* takes long on virtual machines */
  for (int i = 0; i < repeats && isa != TIN_ISA_PORTABLE; i++) {
    const double start = now_ns();
    const double macs = (double)LOOPS * CHAINS * multiply(isa);
    const double rate = macs / (now_ns() - start);
    if (rate > best) best = rate;
  }
  return best;
}

#else

double measure_peak(int repeats) {
  (void)repeats;
  return 0;
}

#endif
