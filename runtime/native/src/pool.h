/* Threads that share the work of one call.
 *
 * They begin to wait at load, and end with the model. While a call runs they look for work; a little
 * after its end they sleep until the next. A child process that was forked has none of them, and
 * starts its own at its first call.
 */
#ifndef TINSMITH_POOL_H
#define TINSMITH_POOL_H

#include <stdint.h>

#define TIN_MAX_THREADS 64u

/* Part `part` of a job, on thread `thread`, 0 for the one that calls. */
typedef void tin_part(const void *job, uint32_t part, uint32_t parts, uint32_t thread);

struct tin_pool;

/* Starts `threads` - 1 threads, or as many as the system gives; NULL if there is no memory. */
struct tin_pool *tin_pool_new(uint32_t threads);

/* Ends them; none if NULL. */
void tin_pool_free(struct tin_pool *pool);

/* Wakes them for a call, and lets them sleep behind it. */
void tin_pool_begin(struct tin_pool *pool);
void tin_pool_end(struct tin_pool *pool);

/* Between these two: has all parts of a job computed, each once, in no order. */
void tin_pool_run(struct tin_pool *pool, tin_part *part, const void *job, uint32_t parts);

#endif
