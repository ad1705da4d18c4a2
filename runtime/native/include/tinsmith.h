/* tinsmith: runs int8 plans, the `model.int8.plan` of a bundle. docs/reference/plan.md says what these hold.
 *
 * A plan may come from a stranger: everything in it is checked before anything is computed, and
 * what is wrong is an error code.
 *
 *   tin_model *model;
 *   int status = tin_load(data, size, 1, &model);
 *   if (status != TIN_OK) return puts(tin_error_text(status));
 *   const void *inputs[] = {pixels};
 *   void *outputs[] = {codes};
 *   status = tin_run(model, inputs, outputs, 1, 1, NULL);
 *   tin_free(model);
 *
 * Memory is allocated by tin_load alone; the threads of a forked child take theirs at its first
 * call. There is no state outside of a model: two may be used by two threads. One model serves one
 * call at a time.
 */
#ifndef TINSMITH_H
#define TINSMITH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(TIN_BUILDS_SHARED)
#define TIN_API __attribute__((visibility("default")))
#else
#define TIN_API
#endif

#define TIN_MAX_RANK 6

typedef struct tin_model tin_model;

enum tin_status {
  TIN_OK = 0,
  TIN_ERROR_ARGUMENT,  /* a null pointer, or no threads */
  TIN_ERROR_MEMORY,    /* malloc gives no more */
  TIN_ERROR_FORMAT,    /* no plan: other bytes, or some are missing */
  TIN_ERROR_VERSION,   /* a plan of another version */
  TIN_ERROR_LIMIT,     /* more memory, operators or work than are allowed */
  TIN_ERROR_CONSTANT,  /* a constant that lies outside of the file, or has another size */
  TIN_ERROR_TENSOR,    /* a tensor that lies outside of the arena, or whose scale is no number */
  TIN_ERROR_OPERATOR,  /* an operator that is not known, or has a parameter that cannot be */
  TIN_ERROR_SHAPE,     /* tensors whose shapes do not fit their operator */
  TIN_ERROR_WEIGHTS,   /* weights, biases or scales that no exact arithmetic takes */
  TIN_ERROR_ORDER,     /* a tensor that is read before it is written, or after it was overwritten */
  TIN_ERROR_COUNT      /* how many there are */
};

/* What a status means, in a few words; of any number. */
TIN_API const char *tin_error_text(int status);

/* The version of this library, as "0.1.0". */
TIN_API const char *tin_version(void);

/* Loads a plan.
 *
 * `plan` must stay where it is, and unchanged, until tin_free. It needs no alignment. `threads` is
 * how many may work on one call, from 1 on; more than 64 count as 64. With 1 no thread is started.
 * Others sleep between calls, and end with tin_free; a child process that was forked starts its own
 * at its first call. Outputs are the same for any number.
 */
TIN_API int tin_load(const void *plan, size_t size, uint32_t threads, tin_model **model);

/* Finds the plan in a bundle, `NAME.tin`: what it gives lies in the bundle's memory.
 *
 * Its checksum is compared, which finds damage. That the bundle is whole and whose it is, by its
 * hashes and its signature, the runtime checks: `tinsmith verify`.
 */
TIN_API int tin_find_plan(const void *bundle, size_t size, const void **plan, size_t *plan_size);

/* Frees a model; none if NULL. */
TIN_API void tin_free(tin_model *model);

/* An input or an output: real = (code - zero_point) * scale. */
typedef struct tin_tensor {
  const char *name; /* UTF-8 of the plan, not ended by a 0, and not checked */
  uint32_t name_bytes;
  uint32_t rank;
  uint32_t shape[TIN_MAX_RANK]; /* of one sample; `rank` of them count */
  float scale;
  int32_t zero_point;
  uint32_t bytes; /* of one sample: the product of the shape */
  void *memory;   /* where the model has it, in its own memory: see tin_run */
} tin_tensor;

TIN_API uint32_t tin_input_count(const tin_model *model);
TIN_API uint32_t tin_output_count(const tin_model *model);
TIN_API int tin_input(const tin_model *model, uint32_t index, tin_tensor *tensor);
TIN_API int tin_output(const tin_model *model, uint32_t index, tin_tensor *tensor);

/* An operator, as the model runs it. */
typedef struct tin_operator_info {
  const char *name; /* of its output, as above */
  uint32_t name_bytes;
  const char *kind;   /* "product" for example */
  const char *kernel; /* "portable", "avx2 convolution" for example */
  int is_float;       /* whether it computes in float between two roundings */
} tin_operator_info;

TIN_API uint32_t tin_operator_count(const tin_model *model);
TIN_API int tin_operator(const tin_model *model, uint32_t index, tin_operator_info *info);

/* How many multiplications, or steps of that size, a sample takes. */
TIN_API uint64_t tin_work(const tin_model *model);

/* Bytes that the model has allocated. */
TIN_API size_t tin_memory(const tin_model *model);

/* Computes `samples` samples.
 *
 * Each input and output is an array of int8 codes, one sample behind the other. Bit i of
 * `unsigned_inputs` says that input i holds uint8 codes, which are 128 more, as pixels do.
 * Without copies: if `inputs` is NULL, the one sample has been written to the memory of each input;
 * if `outputs` is NULL, it is read from the memory of each output. A run overwrites both.
 * `nanoseconds` is NULL, or has a place for each operator: the time that it took is added there.
 */
TIN_API int tin_run(tin_model *model, const void *const *inputs, void *const *outputs,
                    uint32_t samples, uint32_t unsigned_inputs, uint64_t *nanoseconds);

#ifdef __cplusplus
}
#endif

#endif
