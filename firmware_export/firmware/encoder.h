/* What every encoder gives the firmware. Beside its C files lies encoder_sizes.h with two constants:
 *   #define ENCODER_FRAME_BYTES ...     of one int8 frame
 *   #define ENCODER_CODE_BYTES ...      of one int8 code
 */
#ifndef ENCODER_H
#define ENCODER_H

#include <stdint.h>

#include "encoder_sizes.h"

extern const uint8_t encoder_digest[32]; /* of the design, SHA-256 */

/* Forgets every earlier frame. */
void encoder_reset(void);

/* Returns 0 with `code` written, 1 where this frame gives no code yet (the first of a difference), anything else on failure. */
int encoder_encode(const int8_t *frame, int8_t *code);

#endif
