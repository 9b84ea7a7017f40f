/* The frame that is being received. It goes in and only codes come out: nothing here gives a pixel or a pointer to one. */
#ifndef FRAME_H
#define FRAME_H

#include <stddef.h>
#include <stdint.h>

/* Forgets what was received of a frame. */
void frame_forget(void);

/* Returns the bytes received so far of the frame that is not yet whole. */
uint32_t frame_received(void);

/* Returns 1 and keeps the bytes where they follow what is there and fit (offset 0 begins anew); else 0, and keeps nothing. */
int frame_put(uint32_t offset, const uint8_t *bytes, size_t count);

/* Returns what the encoder says of the whole frame, which is forgotten. */
int frame_encode(int8_t *code);

#endif
