/* Reads frames.bin and writes found.bin on the host; prints the mean count of SysTick for one frame. */
#include <stdio.h>

#include "model.h"

#define SYSTICK ((volatile uint32_t *)0xE000E010)
#define PERIOD 0x1000000u

extern volatile uint32_t periods;
static int8_t input[MODEL_INPUT_BYTES], output[MODEL_OUTPUT_BYTES];

static uint64_t ticks(void)
{
    uint32_t before, value;
    do {
        before = periods;
        value = SYSTICK[2];
    } while (before != periods);
    return (uint64_t)before * PERIOD + (PERIOD - 1 - value);
}

int main(void)
{
    FILE *frames = fopen("frames.bin", "rb"), *found = fopen("found.bin", "wb");
    uint32_t count = 0;
    uint64_t total = 0;
    if (!frames || !found)
        return 3;
    model_reset();
    SYSTICK[1] = PERIOD - 1;
    SYSTICK[2] = 0;
    SYSTICK[0] = 7;
    while (fread(input, 1, sizeof input, frames) == sizeof input) {
        const uint64_t before = ticks();
        const int ready = model_step(input, output);
        total += ticks() - before;
        count++;
        if (ready && fwrite(output, 1, sizeof output, found) != sizeof output)
            return 4;
    }
    fclose(found);
    printf("%u\n", (unsigned)(total / count));
    return 0;
}
