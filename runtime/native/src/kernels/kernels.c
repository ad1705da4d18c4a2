/* Which kernels there are for an instruction set. */
#include "kernels.h"

static const struct tin_kernel *const PORTABLE[] = {&tin_product_portable, NULL};

const struct tin_kernel *const *tin_product_kernels(enum tin_isa isa) {
  switch (isa) {
    default:
      return PORTABLE;
  }
}
