/* No encoder at all: the code is the frame. The control of the search for pixels, which must find them here. */
#include "encoder.h"

#include <string.h>

const uint8_t encoder_digest[32] = {0};

void encoder_reset(void)
{
}

int encoder_encode(const int8_t *frame, int8_t *code)
{
    memcpy(code, frame, ENCODER_CODE_BYTES);
    return 0;
}
