#ifndef COBS_H
#define COBS_H

#include <stddef.h>
#include <stdint.h>

/* Returns the bytes left after decoding `count` bytes without delimiter in place, or -1 where they are no COBS. */
int32_t cobs_decode(uint8_t *data, size_t count);

/* Sends `count` bytes as one COBS block between two delimiters. */
void cobs_send(const uint8_t *data, size_t count, void (*send)(uint8_t byte));

#endif
