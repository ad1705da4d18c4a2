/* Bands of output rows, the image that they see, and the tiles that go over them. */
#include "convolution.h"

#include <string.h>

/* Enough pixels to use a tile's weights well, few enough that their rows stay in the first cache. */
enum { BAND_PIXELS = 48, MOST_WEIGHTS = 1 << 24, MOST_IMAGE_BYTES = 1 << 26 };

/* Output rows in a band: at least BAND_PIXELS, and some more if the last tile of pixels is nearly full
 * then. One pixel left over takes no full tile. */
static int32_t band_rows(const struct tin_step_form *form, const struct tin_product *p) {
  const int32_t least = (BAND_PIXELS - 1) / p->out_w + 1;
  for (int32_t rows = least; rows < least + form->pixels; rows++) {
    const int64_t pixels = (int64_t)rows * p->out_w, rest = pixels % form->pixels;
    if (rest < 2 || 32 * (form->pixels - rest) <= pixels) return rows;
  }
  return least;
}

int tin_convolution_serves(const struct tin_product *p) {
  const struct tin_image image = tin_image_of(p);
  const uint64_t weights =
      (uint64_t)p->out_c * p->kernel_h * p->kernel_w * (uint64_t)(p->in_c / p->groups);
  if (weights > MOST_WEIGHTS || (uint64_t)image.width * p->in_c > MOST_IMAGE_BYTES) return 0;
  return (uint64_t)image.height * image.row_bytes <= MOST_IMAGE_BYTES;
}

static size_t row_bytes(const struct tin_step_form *form, const struct tin_product *p) {
  return tin_image_of(p).row_bytes * form->code_bytes;
}

/* Whether a window may see what lies outside of the input. */
static int padded(const struct tin_product *p) {
  const struct tin_image image = tin_image_of(p);
  return p->pad_top > 0 || p->pad_left > 0 || image.height > p->in_h || image.width > p->in_w;
}

/* Scratch: some rows of the image; a row of zero points, where the image holds int16; the windows. */
static size_t image_bytes(const struct tin_step_form *form, const struct tin_product *p) {
  const size_t row = row_bytes(form, p);
  return tin_aligned(tin_row_slots(p, band_rows(form, p), row) * row + TIN_IMAGE_SLACK);
}

static size_t zeros_bytes(const struct tin_step_form *form, const struct tin_product *p) {
  return form->code_bytes == 1 || !padded(p) ? 0 : tin_aligned(tin_image_of(p).row_bytes);
}

size_t tin_convolution_scratch(const struct tin_step_form *form, const struct tin_product *p) {
  const size_t pixels = (size_t)band_rows(form, p) * p->out_w + TIN_BAND_SPARE;
  return image_bytes(form, p) + zeros_bytes(form, p) + sizeof(int32_t) * pixels;
}

/* Where the windows of a band begin, whose first row is `image_row` rows behind the first one that is
 * there. */
static void find_windows(const struct tin_step_form *form, const struct tin_product *p,
                         int32_t image_row, int32_t rows, int32_t *windows) {
  const int32_t row = (int32_t)row_bytes(form, p), step = p->stride_w * p->in_c * form->code_bytes;
  for (int32_t y = 0; y < rows; y++) {
    int32_t window = (image_row + y * p->stride_h) * row;
    for (int32_t x = 0; x < p->out_w; x++, window += step) *windows++ = window;
  }
  for (int i = 0; i < TIN_BAND_SPARE; i++) windows[i] = windows[-1];
}

/* Writes one row of an image of int16. `zeros` is a row of zero points, if there is any padding. */
static void write_wide_row(const struct tin_convolution *isa, const struct tin_product *p,
                           const int8_t *in, int32_t row, int16_t *to, const uint8_t *zeros) {
  const struct tin_image image = tin_image_of(p);
  const int32_t y = row - p->pad_top;
  if (y < 0 || y >= p->in_h || p->pad_left >= image.width) {
    isa->widen(to, zeros, image.row_bytes);
    return;
  }
  const int32_t behind = image.width - p->pad_left, inside = behind < p->in_w ? behind : p->in_w;
  const size_t before = (size_t)p->pad_left * p->in_c, count = (size_t)inside * p->in_c;
  isa->widen(to, zeros, before);
  isa->widen(to + before, (const uint8_t *)in + (size_t)y * p->in_w * p->in_c, count);
  isa->widen(to + before + count, zeros, image.row_bytes - before - count);
}

void tin_convolution_run(const struct tin_convolution *isa, const struct tin_product *p,
                         const void *packed, const int8_t *in, int8_t *out, void *scratch,
                         int32_t row_begin, int32_t row_end) {
  const size_t row_size = row_bytes(&isa->form, p);
  uint8_t *const codes = scratch, *const zeros = codes + image_bytes(&isa->form, p);
  int32_t *const windows = (int32_t *)(zeros + zeros_bytes(&isa->form, p));
  const int32_t most = band_rows(&isa->form, p), reach = (p->kernel_h - 1) * p->dilation_h + 1;
  const int32_t begin = row_begin * p->stride_h;
  struct tin_rows image = {tin_row_slots(p, most, row_size), begin, begin};
  memset(zeros, p->in_zero, zeros_bytes(&isa->form, p));
  for (int32_t row = row_begin; row < row_end; row += most) {
    const int32_t rows = row_end - row < most ? row_end - row : most, top = row * p->stride_h;
    const int32_t end = top + (rows - 1) * p->stride_h + reach;
    tin_rows_make_room(&image, top, end, codes, row_size);
    for (; image.written < end; image.written++) {
      uint8_t *const to = codes + (image.written - image.first) * row_size;
      if (isa->form.code_bytes == 1) tin_image_row(p, in, isa->form.flip, image.written, to);
      else write_wide_row(isa, p, in, image.written, (int16_t *)to, zeros);
    }
    find_windows(&isa->form, p, top - image.first, rows, windows);
    const struct tin_band band = {
        codes, windows, rows * p->out_w, p->out_c, p->out_zero, p->out_min, p->out_max,
        out + (size_t)row * p->out_w * p->out_c,
    };
    const struct tin_tile *tile = packed;
    for (int32_t channel = 0; channel < p->out_c; channel += tile->channels,
                 tile = channel < p->out_c ? tin_tile_next(tile) : tile)
      isa->run_tile(tile, &band);
  }
}
