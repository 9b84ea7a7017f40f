/* An encoder that says that it failed. */
#include "encoder.h"

const uint8_t encoder_digest[32] = {0};

void encoder_reset(void)
{
}

int encoder_encode(const int8_t *frame, int8_t *code)
{
    code[0] = frame[0];
    return 2;
}
