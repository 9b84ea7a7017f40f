/* Reads frames.bin and writes found.bin on the host; prints the mean count of SysTick for one frame. */
#include <stdio.h>

#include "model.h"

#define SYSTICK ((volatile uint32_t *)0xE000E010)

static int8_t input[MODEL_INPUT_BYTES], output[MODEL_OUTPUT_BYTES];

int main(void)
{
    FILE *frames = fopen("frames.bin", "rb"), *found = fopen("found.bin", "wb");
    uint32_t count = 0, total = 0;
    if (!frames || !found)
        return 3;
    model_reset();
    SYSTICK[1] = 0xFFFFFF;
    SYSTICK[2] = 0;
    SYSTICK[0] = 5;
    while (fread(input, 1, sizeof input, frames) == sizeof input) {
        const uint32_t before = SYSTICK[2];
        const int ready = model_step(input, output);
        total += (before - SYSTICK[2]) & 0xFFFFFF;
        count++;
        if (ready && fwrite(output, 1, sizeof output, found) != sizeof output)
            return 4;
    }
    fclose(found);
    printf("%u\n", (unsigned)(total / count));
    return 0;
}
