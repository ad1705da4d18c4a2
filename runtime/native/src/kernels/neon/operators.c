/* Operators besides the product with NEON: the portable ones, whose loops compilers make vectors of. */
#ifdef __ARM_NEON
#define tin_add tin_neon_add
#define tin_multiply tin_neon_multiply
#define tin_maximum tin_neon_maximum
#define tin_minimum tin_neon_minimum
#define tin_max_pool tin_neon_max_pool
#include "../add.c"
#include "../max_pool.c"
#include "../maximum.c"
#include "../minimum.c"
#include "../multiply.c"

const struct tin_operators tin_neon_operators = {
    "neon", tin_add, tin_multiply, tin_maximum, tin_minimum, tin_max_pool,
};

#else
typedef int tin_not_compiled; /* ISO C forbids an empty file */
#endif
