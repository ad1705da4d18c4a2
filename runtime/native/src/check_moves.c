/* Checks the operators that move codes along any dimension: nothing outside of a tensor is read. */
#include "plan.h"

int tin_check_copy(const struct tin_operator_record *op, const struct tin_tensor_record *in,
                   const struct tin_tensor_record *out, struct tin_copy *copy) {
  uint64_t codes = 1;
  int64_t first = op->words[2 * TIN_LOOPS], last = first;
  for (int i = 0; i < TIN_LOOPS; i++) {
    const uint32_t count = op->words[i];
    const int32_t step = (int32_t)op->words[TIN_LOOPS + i];
    if (count == 0 || count > out->bytes) return TIN_ERROR_SHAPE;
    codes *= count; /* both are at most 2^30 */
    if (codes > out->bytes) return TIN_ERROR_SHAPE;
    const int64_t distance = (int64_t)step * (count - 1);
    if (distance < 0) first += distance;
    if (distance > 0) last += distance;
    copy->counts[i] = (int32_t)count;
    copy->steps[i] = step;
  }
  copy->offset = op->words[2 * TIN_LOOPS];
  return codes == out->bytes && first >= 0 && last < in->bytes ? TIN_OK : TIN_ERROR_SHAPE;
}
