/* Which instruction set the kernels are taken from. */
#include "kernels/kernels.h"

#include <stdlib.h>
#include <string.h>

static const char *const NAMES[] = {"portable", "avx2",  "avxvnni",
                                    "avx512vnni", "neon", "neondot"};

const char *tin_isa_name(enum tin_isa isa) { return NAMES[isa]; }

/* Whether the kernels of an instruction set were compiled in, and this CPU has what they need. */
static int usable(enum tin_isa isa) { return isa == TIN_ISA_PORTABLE || tin_cpu_has(isa); }

enum tin_isa tin_isa_detect(void) {
  const char *wanted = getenv("TINSMITH_ISA");
  enum tin_isa best = TIN_ISA_PORTABLE;
  for (int isa = TIN_ISA_PORTABLE; isa <= TIN_ISA_NEONDOT; isa++) {
    if (!usable((enum tin_isa)isa)) continue;
    best = (enum tin_isa)isa;
    if (wanted != NULL && strcmp(wanted, NAMES[isa]) == 0) break;
  }
  return best;
}
