/* Runs a model, one operator after the other. */
#define _POSIX_C_SOURCE 199309L /* clock_gettime */
#include "plan.h"

#include <string.h>
#include <time.h>

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int8_t *data_of(const struct tin_model *model, uint32_t tensor) {
  return model->arena + model->tensors[tensor].offset;
}

static const int8_t *input_of(const struct tin_model *model, const struct tin_step *step,
                              uint32_t i) {
  const uint32_t index = model->indices[step->first_input + i];
  const int8_t *constant = model->tensors[index].data;
  return constant != NULL ? constant : data_of(model, index);
}

static void concatenate(const struct tin_model *model, const struct tin_step *step, int8_t *out) {
  const struct tin_tensor_record *output = &model->tensors[step->output];
  size_t places = 1; /* of the dimensions before the one that is joined */
  for (uint32_t axis = 0; axis < step->as.axis; axis++) places *= output->shape[axis];
  for (uint32_t i = 0; i < step->inputs; i++) {
    const uint32_t index = model->indices[step->first_input + i];
    const size_t count = model->tensors[index].bytes / places;
    tin_concatenate(places, count, output->bytes / places, data_of(model, index), out);
    out += count;
  }
}

/* Of less work, a thread takes longer to begin than to compute its part. */
enum { LEAST_WORK = 100000 };

struct rows_job {
  const struct tin_model *model;
  const struct tin_step *step;
  const int8_t *in;
  int8_t *out;
};

/* A part of a product's output rows. */
static void some_rows(const void *argument, uint32_t part, uint32_t parts, uint32_t thread) {
  const struct rows_job *job = argument;
  const struct tin_product *product = &job->step->as.product;
  const int64_t rows = product->out_h;
  job->step->kernel->run(product, job->step->packed, job->in, job->out,
                         job->model->scratch + thread * job->model->scratch_bytes,
                         (int32_t)(rows * part / parts), (int32_t)(rows * (part + 1) / parts));
}

/* A product. Rows do not depend on each other, so it gives the same on any number of threads. */
static void run_product(const struct tin_model *model, const struct tin_step *step,
                        const int8_t *in, int8_t *out) {
  const struct rows_job job = {model, step, in, out};
  const uint32_t rows = (uint32_t)step->as.product.out_h, threads = model->threads;
  if (model->pool == NULL || rows == 1 || step->work < LEAST_WORK) {
    some_rows(&job, 0, 1, 0);
    return;
  }
  /* With two parts for each, one that was held up leaves its second to others. */
  const uint32_t parts = rows >= 16 * threads ? 2 * threads : threads;
  tin_pool_run(model->pool, some_rows, &job, rows < parts ? rows : parts);
}

static void run_step(const struct tin_model *model, const struct tin_step *step) {
  const int8_t *in = input_of(model, step, 0);
  const size_t count = model->tensors[step->output].bytes;
  int8_t *out = data_of(model, step->output);
  switch (step->kind) {
    case TIN_PRODUCT:
      run_product(model, step, in, out);
      return;
    case TIN_FLOAT_PRODUCT:
      tin_float_product(&step->as.float_product, in, out);
      return;
    case TIN_ADD:
      model->operators->add(&step->as.pair, in, input_of(model, step, 1), out);
      return;
    case TIN_MULTIPLY:
      model->operators->multiply(&step->as.pair, in, input_of(model, step, 1), out);
      return;
    case TIN_MAXIMUM:
      model->operators->maximum(&step->as.pair, in, input_of(model, step, 1), out);
      return;
    case TIN_TABLE:
      tin_table(step->as.table, count, in, out);
      return;
    case TIN_MAX_POOL:
      model->operators->max_pool(&step->as.window, in, out);
      return;
    case TIN_PAD:
      tin_pad(&step->as.window, in, out);
      return;
    case TIN_CROP:
      tin_crop(&step->as.window, in, out);
      return;
    case TIN_UPSAMPLE:
      tin_upsample(&step->as.window, in, out);
      return;
    case TIN_DEPTH_TO_SPACE:
      tin_depth_to_space(&step->as.window, in, out);
      return;
    case TIN_CONCATENATE:
      concatenate(model, step, out);
      return;
    case TIN_RESHAPE:
      if (in != out) memcpy(out, in, count);
      return;
    case TIN_LAYER_NORM:
    case TIN_NORMALIZE:
      tin_normalize(&step->as.norm, in, out);
      return;
    case TIN_COPY:
      tin_copy(&step->as.copy, in, out);
      return;
    case TIN_GATHER:
      tin_gather(&step->as.gather, in, out);
      return;
    case TIN_MATRIX_PRODUCT:
      tin_matrix_product(&step->as.matrix_product, in, input_of(model, step, 1), out);
      return;
    case TIN_SOFTMAX:
      tin_softmax(&step->as.softmax, in, out);
      return;
    case TIN_MINIMUM:
      model->operators->minimum(&step->as.pair, in, input_of(model, step, 1), out);
      return;
    case TIN_EMBEDDING:
      tin_embedding(&step->as.embedding, in, out);
      return;
    case TIN_KINDS:
      return;
  }
}

/* Copies codes to or from the arena; of uint8 codes it turns the first bit. */
static void copy_codes(int8_t *to, const int8_t *from, size_t count, int is_unsigned) {
  if (!is_unsigned) {
    memcpy(to, from, count);
    return;
  }
  for (size_t i = 0; i < count; i++) to[i] = (int8_t)(from[i] ^ -128);
}

static void run_sample(struct tin_model *model, const void *const *inputs, void *const *outputs,
                       size_t sample, uint32_t unsigned_inputs, uint64_t *nanoseconds) {
  const struct tin_header *h = &model->plan.header;
  uint32_t tensor, name;
  for (uint32_t i = 0; inputs != NULL && i < h->inputs; i++) {
    tin_read_end(&model->plan, i, &tensor, &name);
    const size_t count = model->tensors[tensor].bytes;
    const int8_t *codes = (const int8_t *)inputs[i] + sample * count;
    copy_codes(data_of(model, tensor), codes, count, unsigned_inputs >> i & 1);
  }
  for (uint32_t i = 0; i < h->operators; i++) {
    const uint64_t begun = nanoseconds == NULL ? 0 : now_ns();
    run_step(model, &model->steps[i]);
    if (nanoseconds != NULL) nanoseconds[i] += now_ns() - begun;
  }
  for (uint32_t i = 0; outputs != NULL && i < h->outputs; i++) {
    tin_read_end(&model->plan, h->inputs + i, &tensor, &name);
    const size_t count = model->tensors[tensor].bytes;
    copy_codes((int8_t *)outputs[i] + sample * count, data_of(model, tensor), count, 0);
  }
}

int tin_run(tin_model *model, const void *const *inputs, void *const *outputs, uint32_t samples,
            uint32_t unsigned_inputs, uint64_t *nanoseconds) {
  if (model == NULL) return TIN_ERROR_ARGUMENT;
  if ((inputs == NULL || outputs == NULL) && samples != 1) return TIN_ERROR_ARGUMENT;
  for (uint32_t i = 0; inputs != NULL && i < model->plan.header.inputs; i++) {
    if (inputs[i] == NULL) return TIN_ERROR_ARGUMENT;
  }
  for (uint32_t i = 0; outputs != NULL && i < model->plan.header.outputs; i++) {
    if (outputs[i] == NULL) return TIN_ERROR_ARGUMENT;
  }
  if (model->pool != NULL) tin_pool_begin(model->pool);
  for (uint32_t sample = 0; sample < samples; sample++) {
    run_sample(model, inputs, outputs, sample, unsigned_inputs, nanoseconds);
  }
  if (model->pool != NULL) tin_pool_end(model->pool);
  return TIN_OK;
}
