/* The one way out: every byte that leaves the device was put here by name. */
#ifndef ANSWER_H
#define ANSWER_H

#include <stddef.h>
#include <stdint.h>

#include "protocol.h"

/* Begins the answer that is kept until the next one begins. */
void answer_begin(uint8_t command, uint16_t sequence);

/* Append to its payload. What does not fit is left out. */
void answer_u8(uint8_t value);
void answer_u16(uint16_t value);
void answer_u32(uint32_t value);
void answer_bytes(const void *from, size_t count);

/* Seals the answer with its status and sends it; one that is not STATUS_OK leaves without payload. */
void answer_finish(enum status status);

/* Sends the kept answer once more. */
void answer_repeat(void);

/* Sends an answer without payload and keeps the kept one. */
void answer_refusal(uint8_t command, uint16_t sequence, enum status status);

#endif
