/* A hand-written encoder for tests: the difference of two frames in 16 levels. Its twin is in firmware_twin.py. */
#include "encoder.h"

#include <string.h>

const uint8_t encoder_digest[32] = {0xd1, 0xff, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
                                    16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};

static int8_t previous[ENCODER_FRAME_BYTES];
static int has_previous;

void encoder_reset(void)
{
    has_previous = 0;
    memset(previous, 0, sizeof previous);
}

int encoder_encode(const int8_t *frame, int8_t *code)
{
    const int first = !has_previous;
    for (unsigned i = 0; i < ENCODER_FRAME_BYTES && !first; i++) {
        code[i] = (int8_t)((frame[i] - previous[i] + 256) / 32);
    }
    memcpy(previous, frame, sizeof previous);
    has_previous = 1;
    return first;
}
