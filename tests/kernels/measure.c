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

/* Multiply-accumulates a ns of vpmaddwd and vpaddd on registers alone; 0 where there is no AVX2. */
double measure_peak(int repeats) {
#if defined(__x86_64__) && defined(TIN_WITH_AVX2)
  enum { LOOPS = 200, CHAINS = 12, MACS = 16 };
  double best = 1e18;
  if (!tin_cpu_has(TIN_ISA_AVX2)) return 0;
  for (int i = 0; i < repeats; i++) {
    const double start = now_ns();
#define CHAIN(n) "vpmaddwd %%ymm0, %%ymm0, %%ymm1\nvpaddd %%ymm1, %%ymm" #n ", %%ymm" #n "\n"
    __asm__ volatile("mov %0, %%ecx\n1:\n" CHAIN(4) CHAIN(5) CHAIN(6) CHAIN(7) CHAIN(8) CHAIN(9)
                         CHAIN(10) CHAIN(11) CHAIN(12) CHAIN(13) CHAIN(14) CHAIN(15)
                     "dec %%ecx\njnz 1b\n"
                     :
                     : "i"(LOOPS)
                     : "ecx", "cc", "xmm0", "xmm1", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
                       "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
    const double took = now_ns() - start;
    if (took < best) best = took;
  }
  return LOOPS * CHAINS * MACS / best;
#else
  (void)repeats;
  return 0;
#endif
}
