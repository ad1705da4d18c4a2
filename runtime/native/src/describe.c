/* What a model is: its inputs, outputs and operators; errors in words. */
#include "plan.h"

#include <string.h>

static const char *const KINDS[TIN_KINDS] = {
    [0] = "",
    [TIN_PRODUCT] = "product",
    [TIN_FLOAT_PRODUCT] = "float product",
    [TIN_ADD] = "add",
    [TIN_MULTIPLY] = "multiply",
    [TIN_MAXIMUM] = "maximum",
    [TIN_TABLE] = "table",
    [TIN_MAX_POOL] = "max pool",
    [TIN_PAD] = "pad",
    [TIN_CROP] = "crop",
    [TIN_UPSAMPLE] = "upsample",
    [TIN_DEPTH_TO_SPACE] = "depth to space",
    [TIN_CONCATENATE] = "concatenate",
    [TIN_RESHAPE] = "reshape",
    [TIN_LAYER_NORM] = "layer norm",
    [TIN_COPY] = "copy",
    [TIN_GATHER] = "gather",
    [TIN_MATRIX_PRODUCT] = "matrix product",
    [TIN_SOFTMAX] = "softmax",
    [TIN_MINIMUM] = "minimum",
    [TIN_NORMALIZE] = "normalize",
    [TIN_EMBEDDING] = "embedding",
};

static const char *const ERRORS[TIN_ERROR_COUNT] = {
    [TIN_OK] = "done",
    [TIN_ERROR_ARGUMENT] = "a pointer is null, there are no threads or samples, or no such tensor",
    [TIN_ERROR_MEMORY] = "there is not enough memory",
    [TIN_ERROR_FORMAT] = "it is no plan, or not all of one",
    [TIN_ERROR_VERSION] = "it is a plan of another version than 1",
    [TIN_ERROR_LIMIT] = "it asks for more memory, operators or work than are allowed",
    [TIN_ERROR_CONSTANT] = "a constant lies outside of the file, or has another size",
    [TIN_ERROR_TENSOR] = "a tensor lies outside of the arena, or its scale is no scale",
    [TIN_ERROR_OPERATOR] = "an operator is not known, or has a parameter that cannot be",
    [TIN_ERROR_SHAPE] = "shapes do not fit an operator",
    [TIN_ERROR_WEIGHTS] = "weights, biases or scales could leave what exact arithmetic takes",
    [TIN_ERROR_ORDER] = "a tensor is read before it is written, or after it was overwritten",
};

const char *tin_error_text(int status) {
  return status >= 0 && status < TIN_ERROR_COUNT ? ERRORS[status] : "there is no such status";
}

const char *tin_version(void) { return TIN_VERSION; }

static void name_of(const struct tin_model *model, uint32_t constant, const char **name,
                    uint32_t *count) {
  struct tin_bytes bytes = {NULL, 0};
  (void)tin_read_constant(&model->plan, constant, &bytes); /* it was checked at load */
  *name = (const char *)bytes.at;
  *count = bytes.count;
}

static int describe(const struct tin_model *model, uint32_t end, tin_tensor *tensor) {
  uint32_t index, name;
  tin_read_end(&model->plan, end, &index, &name);
  const struct tin_tensor_record *t = &model->tensors[index];
  name_of(model, name, &tensor->name, &tensor->name_bytes);
  tensor->rank = t->rank;
  for (uint32_t i = 0; i < TIN_MAX_RANK; i++) {
    tensor->shape[i] = i < t->rank ? t->shape[TIN_RANK - t->rank + i] : 0;
  }
  tensor->scale = t->scale;
  tensor->zero_point = t->zero_point;
  tensor->bytes = t->bytes;
  tensor->memory = model->arena + t->offset;
  return TIN_OK;
}

uint32_t tin_input_count(const tin_model *model) { return model->plan.header.inputs; }

uint32_t tin_output_count(const tin_model *model) { return model->plan.header.outputs; }

int tin_input(const tin_model *model, uint32_t index, tin_tensor *tensor) {
  if (model == NULL || tensor == NULL || index >= tin_input_count(model)) return TIN_ERROR_ARGUMENT;
  return describe(model, index, tensor);
}

int tin_output(const tin_model *model, uint32_t index, tin_tensor *tensor) {
  if (model == NULL || tensor == NULL || index >= tin_output_count(model)) {
    return TIN_ERROR_ARGUMENT;
  }
  return describe(model, model->plan.header.inputs + index, tensor);
}

uint32_t tin_operator_count(const tin_model *model) { return model->plan.header.operators; }

/* Which version of an operator the model runs. */
static const char *kernel_of(const struct tin_model *model, const struct tin_step *step) {
  switch (step->kind) {
    case TIN_PRODUCT: return step->kernel->name;
    case TIN_ADD:
    case TIN_MULTIPLY:
    case TIN_MAXIMUM:
    case TIN_MAX_POOL: return model->operators->name;
    default: return "portable";
  }
}

int tin_operator(const tin_model *model, uint32_t index, tin_operator_info *info) {
  if (model == NULL || info == NULL || index >= tin_operator_count(model)) {
    return TIN_ERROR_ARGUMENT;
  }
  const struct tin_step *step = &model->steps[index];
  name_of(model, model->tensors[step->output].name, &info->name, &info->name_bytes);
  info->kind = KINDS[step->kind];
  info->kernel = kernel_of(model, step);
  info->is_float = step->kind == TIN_FLOAT_PRODUCT || step->kind == TIN_LAYER_NORM ||
                   step->kind == TIN_NORMALIZE;
  return TIN_OK;
}

uint64_t tin_work(const tin_model *model) { return model->work; }

size_t tin_memory(const tin_model *model) { return model->memory; }
