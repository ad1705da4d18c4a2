/* A plan that has been checked, and the model that is made of it. */
#ifndef TINSMITH_PLAN_H
#define TINSMITH_PLAN_H

#include "kernels/operators.h"
#include "pool.h"
#include "tinsmith.h"

#define TIN_NONE UINT32_MAX

/* What a plan may ask for. */
#define TIN_MAX_COUNT 8192u             /* tensors, operators and constants, each */
#define TIN_MAX_BYTES ((uint64_t)1 << 30) /* file, arena and each tensor */
#define TIN_MAX_WORK ((uint64_t)1 << 34)  /* multiplications a sample */

enum tin_kind {
  TIN_PRODUCT = 1,
  TIN_FLOAT_PRODUCT,
  TIN_ADD,
  TIN_MULTIPLY,
  TIN_MAXIMUM,
  TIN_TABLE,
  TIN_MAX_POOL,
  TIN_PAD,
  TIN_CROP,
  TIN_UPSAMPLE,
  TIN_DEPTH_TO_SPACE,
  TIN_CONCATENATE,
  TIN_RESHAPE,
  TIN_LAYER_NORM,
  TIN_COPY,
  TIN_GATHER,
  TIN_MATRIX_PRODUCT,
  TIN_SOFTMAX,
  TIN_MINIMUM,
  TIN_NORMALIZE,
  TIN_EMBEDDING,
  TIN_KINDS /* one more than there are */
};

/* A part of the file. */
struct tin_bytes {
  const uint8_t *at;
  uint32_t count;
};

/* The records of the file, as docs/reference/plan.md has them. */
struct tin_header {
  uint32_t arena_bytes, tensors, operators, constants, indices, inputs, outputs;
};

struct tin_tensor_record {
  uint32_t name, constant, offset, rank;
  uint32_t shape[TIN_RANK];
  float scale;
  int32_t zero_point;
  uint32_t bytes;     /* the product of the shape */
  const int8_t *data; /* of a constant; NULL in the arena */
};

#define TIN_WORDS 12
#define TIN_CONSTANTS 4

struct tin_operator_record {
  uint32_t kind, output, first_input, inputs;
  uint32_t words[TIN_WORDS];
  uint32_t constants[TIN_CONSTANTS];
};

/* A file whose header and tables have been read; see read.c. */
struct tin_plan {
  struct tin_bytes file;
  struct tin_header header;
  const uint8_t *tensor_table, *operator_table, *constant_table, *end_table, *index_table;
};

int tin_read_plan(const void *data, size_t size, struct tin_plan *plan);
int tin_read_constant(const struct tin_plan *plan, uint32_t index, struct tin_bytes *bytes);
int tin_read_tensor(const struct tin_plan *plan, uint32_t index, struct tin_tensor_record *tensor);
void tin_read_operator(const struct tin_plan *plan, uint32_t index, struct tin_operator_record *op);
uint32_t tin_read_index(const struct tin_plan *plan, uint32_t index);
void tin_read_end(const struct tin_plan *plan, uint32_t index, uint32_t *tensor, uint32_t *name);
float tin_float_at(const uint8_t *at);
uint32_t tin_word_at(const uint8_t *at);

/* Numbers of 4 bytes in the file, which are copied to where they are aligned. */
struct tin_words {
  const uint8_t *at;
  uint64_t count;
};

/* One operator, ready to run. */
struct tin_step {
  enum tin_kind kind;
  uint32_t output;              /* a tensor */
  uint32_t first_input, inputs; /* places in the model's `indices` */
  uint64_t work;
  union {
    struct tin_product product;
    struct tin_float_product float_product;
    struct tin_pair pair;
    struct tin_window window;
    struct tin_norm norm;
    struct tin_copy copy;
    struct tin_gather gather;
    struct tin_matrix_product matrix_product;
    struct tin_softmax softmax;
    struct tin_embedding embedding;
    uint32_t axis; /* of a concatenation */
    const int8_t *table;
  } as;
  struct tin_words words[2]; /* scale and bias, float weights and bias, gamma and beta, indices,
                              * exponentials */
  const struct tin_kernel *kernel; /* of a product */
  size_t packed_bytes;
  void *packed;
};

struct tin_model {
  struct tin_plan plan;
  struct tin_tensor_record *tensors;
  struct tin_step *steps;
  uint32_t *indices;
  const struct tin_operators *operators;
  void *tables, *block; /* what is freed */
  int8_t *arena;
  uint8_t *scratch; /* of each thread, `scratch_bytes` of it */
  size_t scratch_bytes;
  uint32_t threads;
  struct tin_pool *pool; /* NULL with one thread */
  uint64_t work;
  size_t memory;
};

/* Checks one operator and fills its step, but for what needs memory; see check.c. */
int tin_check_operator(const struct tin_model *model, const struct tin_operator_record *op,
                       struct tin_step *step);

/* The same for the operators of check_moves.c. */
int tin_check_concatenate(const struct tin_model *model, const struct tin_operator_record *op,
                          const struct tin_tensor_record *out, uint32_t *axis);
int tin_check_gather(const struct tin_plan *plan, const struct tin_operator_record *op,
                     const struct tin_tensor_record *in, const struct tin_tensor_record *out,
                     struct tin_step *step);
int tin_check_embedding(const struct tin_plan *plan, const struct tin_operator_record *op,
                        const struct tin_tensor_record *in, const struct tin_tensor_record *out,
                        struct tin_embedding *embedding);
int tin_check_copy(const struct tin_operator_record *op, const struct tin_tensor_record *in,
                   const struct tin_tensor_record *out, struct tin_copy *copy);

/* Checks that every tensor is read between its writing and its end; see order.c. `live` has a
 * place for every tensor. */
int tin_check_order(const struct tin_model *model, uint8_t *live);

#endif
