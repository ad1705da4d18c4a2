/* Rows of an image with its padding. */
#include "image.h"

#include <string.h>

/* Codes with `flip` in exclusive or, eight at once. */
static void copy(uint8_t *to, const int8_t *from, size_t count, uint8_t flip) {
  const uint64_t flips = flip * 0x0101010101010101u;
  size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    uint64_t codes;
    memcpy(&codes, from + i, 8);
    codes ^= flips;
    memcpy(to + i, &codes, 8);
  }
  for (; i < count; i++) to[i] = (uint8_t)from[i] ^ flip;
}

void tin_image_row(const struct tin_product *p, const int8_t *in, uint8_t flip, int32_t row,
                   uint8_t *to) {
  const struct tin_image image = tin_image_of(p);
  const size_t pixel = (size_t)p->in_c;
  const int zero = (uint8_t)p->in_zero ^ flip;
  const int32_t y = row - p->pad_top;
  if (y < 0 || y >= p->in_h || p->pad_left >= image.width) {
    memset(to, zero, image.row_bytes);
    return;
  }
  const int32_t behind = image.width - p->pad_left;
  const int32_t inside = behind < p->in_w ? behind : p->in_w;
  memset(to, zero, p->pad_left * pixel);
  to += p->pad_left * pixel;
  copy(to, in + (size_t)y * p->in_w * pixel, inside * pixel, flip);
  memset(to + inside * pixel, zero, (behind - inside) * pixel);
}

void tin_rows_make_room(struct tin_rows *rows, int32_t begin, int32_t end, void *buffer,
                        size_t row_bytes) {
  if (end - rows->first <= rows->slots) return;
  if (rows->written < begin) rows->written = begin;
  const size_t kept = (size_t)(rows->written - begin), before = (size_t)(begin - rows->first);
  if (kept > 0) memmove(buffer, (char *)buffer + before * row_bytes, kept * row_bytes);
  rows->first = begin;
}
