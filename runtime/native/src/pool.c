/* Threads that share the work of one call. */
#define _POSIX_C_SOURCE 200809L /* getpid, pthread_sigmask */
#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

/* How often a thread looks for work before it lets others run, and how often it does that behind a
 * call before it sleeps: some dozen microseconds. */
enum { LOOKS = 64, TURNS = 64, STACK_BYTES = 1 << 19 };

struct worker {
  struct tin_pool *pool;
  uint32_t number;
  pthread_t thread;
};

struct tin_pool {
  /* Bits 0..15: the next part to take; 16..31: how many there are. Whoever takes a part with a
   * compare-and-swap may read the job, which stays until that part is done. */
  atomic_uint parts;
  atomic_uint done;
  atomic_int running, asleep, ending;
  tin_part *part;
  const void *job;
  pthread_mutex_t lock;
  pthread_cond_t wake;
  pid_t process; /* that has started the threads */
  uint32_t wanted, started;
  struct worker workers[TIN_MAX_THREADS];
};

static void pause_briefly(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

/* Takes a part of the job and computes it. Gives 0 if none is left. */
static int take_part(struct tin_pool *pool, uint32_t thread) {
  unsigned found = atomic_load_explicit(&pool->parts, memory_order_acquire);
  do {
    if ((found & 0xffff) == found >> 16) return 0;
  } while (!atomic_compare_exchange_weak_explicit(&pool->parts, &found, found + 1,
                                                  memory_order_acquire, memory_order_acquire));
  pool->part(pool->job, found & 0xffff, found >> 16, thread);
  atomic_fetch_add_explicit(&pool->done, 1, memory_order_release);
  return 1;
}

/* Sleeps until a call begins. `running` and `asleep` are in one order for all threads: either this
 * one sees that a call has begun, or that call sees that it has to wake this one. */
static void sleep_until_call(struct tin_pool *pool) {
  pthread_mutex_lock(&pool->lock);
  atomic_fetch_add(&pool->asleep, 1);
  while (!atomic_load(&pool->running) && !atomic_load(&pool->ending))
    pthread_cond_wait(&pool->wake, &pool->lock);
  atomic_fetch_sub(&pool->asleep, 1);
  pthread_mutex_unlock(&pool->lock);
}

static void *work(void *argument) {
  struct worker *worker = argument;
  struct tin_pool *pool = worker->pool;
  int turns = 0;
  while (!atomic_load(&pool->ending)) {
    int found = 0;
    for (int look = 0; look < LOOKS && !found; look++) {
      found = take_part(pool, worker->number);
      if (!found) pause_briefly();
    }
    if (found || atomic_load(&pool->running)) {
      turns = 0;
      if (!found) sched_yield();
    } else if (turns++ < TURNS) {
      sched_yield();
    } else {
      sleep_until_call(pool);
      turns = 0;
    }
  }
  return NULL;
}

/* Starts the threads. They take no signals: those are for the program's own. */
static void start(struct tin_pool *pool) {
  pthread_attr_t attributes;
  sigset_t all, before;
  atomic_store(&pool->parts, 0);
  atomic_store(&pool->running, 0);
  atomic_store(&pool->asleep, 0);
  pool->process = getpid();
  pool->started = 0;
  if (pthread_mutex_init(&pool->lock, NULL) != 0) return;
  if (pthread_cond_init(&pool->wake, NULL) != 0) return;
  if (pthread_attr_init(&attributes) != 0) return;
  (void)pthread_attr_setstacksize(&attributes, STACK_BYTES); /* else the system's size */
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  while (pool->started < pool->wanted) {
    struct worker *worker = &pool->workers[pool->started];
    *worker = (struct worker){pool, pool->started + 1, pthread_self()};
    if (pthread_create(&worker->thread, &attributes, work, worker) != 0) break;
    pool->started++;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
}

struct tin_pool *tin_pool_new(uint32_t threads) {
  struct tin_pool *pool = calloc(1, sizeof *pool);
  if (pool == NULL) return NULL;
  pool->wanted = threads - 1;
  start(pool);
  return pool;
}

void tin_pool_free(struct tin_pool *pool) {
  if (pool == NULL) return;
  if (pool->process == getpid()) {
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->ending, 1);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (uint32_t i = 0; i < pool->started; i++) pthread_join(pool->workers[i].thread, NULL);
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->wake);
  }
  free(pool);
}

void tin_pool_begin(struct tin_pool *pool) {
  if (pool->process != getpid()) start(pool);
  atomic_store(&pool->running, 1);
  if (atomic_load(&pool->asleep) == 0) return;
  pthread_mutex_lock(&pool->lock);
  pthread_cond_broadcast(&pool->wake);
  pthread_mutex_unlock(&pool->lock);
}

void tin_pool_end(struct tin_pool *pool) { atomic_store(&pool->running, 0); }

void tin_pool_run(struct tin_pool *pool, tin_part *part, const void *job, uint32_t parts) {
  pool->part = part;
  pool->job = job;
  atomic_store_explicit(&pool->done, 0, memory_order_relaxed);
  atomic_store_explicit(&pool->parts, parts << 16, memory_order_release);
  while (take_part(pool, 0)) continue;
  for (unsigned look = 1; atomic_load_explicit(&pool->done, memory_order_acquire) != parts; look++) {
    pause_briefly();
    if (look % LOOKS == 0) sched_yield();
  }
}
