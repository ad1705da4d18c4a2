/* From a plan to a model: checked, with all the memory that it will ever need. */
#include "plan.h"

#include <stdlib.h>
#include <string.h>

/* Memory that is measured first, while there is no `base`, and handed out then. */
struct memory {
  uint8_t *base;
  uint64_t used;
};

static void *take(struct memory *memory, uint64_t bytes) {
  void *found = memory->base == NULL ? NULL : memory->base + memory->used;
  memory->used += (bytes + TIN_ALIGNMENT - 1) / TIN_ALIGNMENT * TIN_ALIGNMENT;
  return found;
}

/* Allocates what was measured, at a multiple of TIN_ALIGNMENT; gives the block to be freed. */
static void *allocate(struct memory *memory) {
  if (memory->used > 4 * TIN_MAX_BYTES || memory->used > SIZE_MAX - TIN_ALIGNMENT) return NULL;
  uint8_t *block = malloc((size_t)memory->used + TIN_ALIGNMENT);
  if (block == NULL) return NULL;
  memory->base = block + (TIN_ALIGNMENT - (uintptr_t)block % TIN_ALIGNMENT) % TIN_ALIGNMENT;
  memory->used = 0;
  return block;
}

static void place_tables(struct tin_model *model, struct memory *memory, uint8_t **live) {
  const struct tin_header *h = &model->plan.header;
  model->tensors = take(memory, h->tensors * (uint64_t)sizeof *model->tensors);
  model->steps = take(memory, h->operators * (uint64_t)sizeof *model->steps);
  model->indices = take(memory, h->indices * (uint64_t)sizeof *model->indices);
  *live = take(memory, h->tensors);
}

/* Copies numbers of 4 bytes from the file, in this machine's order of bytes. */
static const void *copied(struct memory *memory, const struct tin_words *words) {
  uint32_t *to = take(memory, 4 * words->count);
  for (uint64_t i = 0; to != NULL && i < words->count; i++) to[i] = tin_word_at(words->at + 4 * i);
  return to;
}

static uint64_t larger(uint64_t one, uint64_t other) { return one > other ? one : other; }

/* Places the constants, the packed weights, the arena and the scratch memory. */
static void place_data(struct tin_model *model, struct memory *memory) {
  uint64_t scratch = 0;
  for (uint32_t i = 0; i < model->plan.header.operators; i++) {
    struct tin_step *step = &model->steps[i];
    const void *const first = copied(memory, &step->words[0]);
    const void *const second = copied(memory, &step->words[1]);
    if (step->kind == TIN_PRODUCT) {
      step->as.product.scale = first;
      step->as.product.bias = second;
      if (memory->base == NULL) step->packed_bytes = step->kernel->packed_bytes(&step->as.product);
      step->packed = take(memory, step->packed_bytes);
      if (step->packed != NULL) step->kernel->pack(&step->as.product, step->packed);
      scratch = larger(scratch, step->kernel->scratch_bytes(&step->as.product));
    } else if (step->kind == TIN_FLOAT_PRODUCT) {
      step->as.float_product.weights = first;
      step->as.float_product.bias = second;
    } else if (step->kind == TIN_SOFTMAX) {
      step->as.softmax.table = first;
    } else if (step->kind == TIN_LAYER_NORM || step->kind == TIN_NORMALIZE) {
      step->as.norm.gamma = first;
      step->as.norm.beta = second;
    } else if (step->kind == TIN_GATHER) {
      step->as.gather.indices = first;
    }
  }
  model->arena = take(memory, model->plan.header.arena_bytes);
  model->scratch_bytes = tin_aligned((size_t)scratch);
  model->scratch = take(memory, model->threads * (uint64_t)model->scratch_bytes);
}

/* Inputs and outputs are tensors of the arena that have names. */
static int check_ends(const struct tin_model *model) {
  const struct tin_header *h = &model->plan.header;
  for (uint32_t i = 0; i < h->inputs + h->outputs; i++) {
    uint32_t tensor, name;
    struct tin_bytes bytes;
    tin_read_end(&model->plan, i, &tensor, &name);
    if (tensor >= h->tensors || model->tensors[tensor].data != NULL) return TIN_ERROR_TENSOR;
    const int status = tin_read_constant(&model->plan, name, &bytes);
    if (status != TIN_OK) return status;
  }
  return TIN_OK;
}

static int check_tables(struct tin_model *model) {
  const struct tin_header *h = &model->plan.header;
  int status = TIN_OK;
  for (uint32_t i = 0; status == TIN_OK && i < h->tensors; i++) {
    status = tin_read_tensor(&model->plan, i, &model->tensors[i]);
  }
  for (uint32_t i = 0; i < h->indices; i++) {
    model->indices[i] = tin_read_index(&model->plan, i);
    if (status == TIN_OK && model->indices[i] >= h->tensors) status = TIN_ERROR_OPERATOR;
  }
  for (uint32_t i = 0; status == TIN_OK && i < h->operators; i++) {
    struct tin_operator_record op;
    tin_read_operator(&model->plan, i, &op);
    status = tin_check_operator(model, &op, &model->steps[i]);
    model->work += model->steps[i].work; /* each is at most 8 times the limit, or little more */
    if (status == TIN_OK && model->work > TIN_MAX_WORK) status = TIN_ERROR_LIMIT;
  }
  return status != TIN_OK ? status : check_ends(model);
}

static void choose_kernels(struct tin_model *model) {
  const enum tin_isa isa = tin_isa_detect();
  const struct tin_kernel *const *kernels = tin_product_kernels(isa);
  model->operators = tin_operators_for(isa);
  for (uint32_t i = 0; i < model->plan.header.operators; i++) {
    struct tin_step *step = &model->steps[i];
    if (step->kind != TIN_PRODUCT) continue;
    const struct tin_kernel *const *kernel = kernels;
    while (!(*kernel)->serves(&step->as.product)) kernel++;
    step->kernel = *kernel;
  }
}

static int load(struct tin_model *model) {
  struct memory tables = {NULL, 0}, data = {NULL, 0};
  uint8_t *live;
  place_tables(model, &tables, &live);
  const uint64_t table_bytes = tables.used;
  model->tables = allocate(&tables);
  if (model->tables == NULL) return TIN_ERROR_MEMORY;
  memset(model->tables, 0, (size_t)table_bytes + TIN_ALIGNMENT);
  place_tables(model, &tables, &live);
  int status = check_tables(model);
  if (status == TIN_OK) status = tin_check_order(model, live);
  if (status != TIN_OK) return status;
  choose_kernels(model);
  place_data(model, &data);
  model->memory = sizeof *model + (size_t)table_bytes + (size_t)data.used + 2 * TIN_ALIGNMENT;
  model->block = allocate(&data);
  if (model->block == NULL) return TIN_ERROR_MEMORY;
  place_data(model, &data);
  if (model->threads > 1) {
    model->pool = tin_pool_new(model->threads);
    if (model->pool == NULL) return TIN_ERROR_MEMORY;
  }
  return TIN_OK;
}

int tin_load(const void *plan, size_t size, uint32_t threads, tin_model **model) {
  if (model == NULL) return TIN_ERROR_ARGUMENT;
  *model = NULL;
  if (plan == NULL || threads == 0) return TIN_ERROR_ARGUMENT;
  struct tin_plan read;
  int status = tin_read_plan(plan, size, &read);
  if (status != TIN_OK) return status;
  struct tin_model *found = calloc(1, sizeof *found);
  if (found == NULL) return TIN_ERROR_MEMORY;
  found->plan = read;
  found->threads = threads < TIN_MAX_THREADS ? threads : TIN_MAX_THREADS;
  status = load(found);
  if (status == TIN_OK) {
    *model = found;
  } else {
    tin_free(found);
  }
  return status;
}

void tin_free(tin_model *model) {
  if (model == NULL) return;
  tin_pool_free(model->pool);
  free(model->tables);
  free(model->block);
  free(model);
}
