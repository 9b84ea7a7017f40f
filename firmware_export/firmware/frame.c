#include "frame.h"

#include <string.h>

#include "encoder.h"

static int8_t frame[ENCODER_FRAME_BYTES];
static uint32_t received;

void frame_forget(void)
{
    memset(frame, 0, sizeof frame);
    received = 0;
}

uint32_t frame_received(void)
{
    return received;
}

int frame_put(uint32_t offset, const uint8_t *bytes, size_t count)
{
    const int follows = offset == received && count <= sizeof frame - received;
    if (offset == 0 || !follows) {
        frame_forget();
    }
    if (offset != received || count > sizeof frame - received) {
        return 0;
    }
    memcpy(frame + received, bytes, count);
    received += (uint32_t)count;
    return 1;
}

int frame_encode(int8_t *code)
{
    const int answer = encoder_encode(frame, code);
    frame_forget();
    return answer;
}
