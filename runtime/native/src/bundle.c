/* Finds the plan in a bundle: `NAME.tin` is a zip whose files are stored, not compressed. */
#include "plan.h"

#include <string.h>

static const char PLAN[] = "model.int8.plan";
enum {
  PLAN_NAME = sizeof PLAN - 1,
  END = 22,     /* end of central directory record, without a comment */
  ENTRY = 46,   /* central directory header, without its name */
  HEADER = 30,  /* local file header, without its name */
};

static uint32_t half_at(const uint8_t *at) { return (uint32_t)at[0] | (uint32_t)at[1] << 8; }

/* CRC-32 as zip has it, byte by byte: the polynomial is 0x04c11db7, its bits in reverse order. */
static uint32_t checksum(const uint8_t *at, size_t size) {
  uint32_t bytes[256], found = 0xffffffff;
  for (uint32_t i = 0; i < 256; i++) {
    bytes[i] = i;
    for (int bit = 0; bit < 8; bit++) bytes[i] = bytes[i] >> 1 ^ (0xedb88320 & (0 - (bytes[i] & 1)));
  }
  for (size_t i = 0; i < size; i++) found = found >> 8 ^ bytes[(found ^ at[i]) & 255];
  return ~found;
}

/* The file that an entry of the directory names, if it lies in the zip as it is. */
static int stored_file(const uint8_t *zip, size_t size, const uint8_t *entry, const void **plan,
                       size_t *plan_size) {
  const uint64_t at = tin_word_at(entry + 42), bytes = tin_word_at(entry + 24);
  if (half_at(entry + 10) != 0 || tin_word_at(entry + 20) != bytes) return TIN_ERROR_FORMAT;
  if (at + HEADER > size || memcmp(zip + at, "PK\3\4", 4) != 0) return TIN_ERROR_FORMAT;
  const uint64_t begin = at + HEADER + half_at(zip + at + 26) + half_at(zip + at + 28);
  if (begin + bytes > size) return TIN_ERROR_FORMAT;
  if (checksum(zip + begin, (size_t)bytes) != tin_word_at(entry + 16)) return TIN_ERROR_FORMAT;
  *plan = zip + begin;
  *plan_size = (size_t)bytes;
  return TIN_OK;
}

int tin_find_plan(const void *bundle, size_t size, const void **plan, size_t *plan_size) {
  const uint8_t *zip = bundle;
  if (bundle == NULL || plan == NULL || plan_size == NULL) return TIN_ERROR_ARGUMENT;
  if (size < END || memcmp(zip + size - END, "PK\5\6", 4) != 0) return TIN_ERROR_FORMAT;
  const uint32_t entries = half_at(zip + size - END + 10);
  uint64_t at = tin_word_at(zip + size - END + 16);
  for (uint32_t i = 0; i < entries; i++) {
    if (at + ENTRY > size || memcmp(zip + at, "PK\1\2", 4) != 0) return TIN_ERROR_FORMAT;
    const uint8_t *entry = zip + at;
    const uint32_t name = half_at(entry + 28);
    at += ENTRY + (uint64_t)name + half_at(entry + 30) + half_at(entry + 32);
    if (at > size) return TIN_ERROR_FORMAT;
    if (name == PLAN_NAME && memcmp(entry + ENTRY, PLAN, PLAN_NAME) == 0) {
      return stored_file(zip, size, entry, plan, plan_size);
    }
  }
  return TIN_ERROR_FORMAT;
}
