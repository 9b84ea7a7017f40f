/* Standard input and output as the line; the only file here that needs an operating system. */
#include <string.h>
#include <unistd.h>

#include "board.h"

const uint32_t board_ticks_per_second = 1;

static uint8_t input[4096], output[4096];
static size_t input_at, input_count, output_count;

void board_start(void)
{
}

static int flush(void)
{
    size_t sent = 0;
    while (sent < output_count) {
        const ssize_t count = write(STDOUT_FILENO, output + sent, output_count - sent);
        if (count <= 0) {
            return -1;
        }
        sent += (size_t)count;
    }
    output_count = 0;
    return 0;
}

int board_receive(void)
{
    if (input_at == input_count) {
        const ssize_t count = flush() == 0 ? read(STDIN_FILENO, input, sizeof input) : 0;
        if (count <= 0) {
            return -1;
        }
        input_at = 0;
        input_count = (size_t)count;
    }
    return input[input_at++];
}

void board_transmit(uint8_t byte)
{
    if (output_count == sizeof output && flush() != 0) {
        output_count = 0; /* nobody listens */
    }
    output[output_count++] = byte;
}

/* A machine under test has no clock: its statistics are the same every time. */
uint32_t board_ticks(void)
{
    static uint32_t calls;
    return calls++;
}

int board_counts_cycles(void)
{
    return 0;
}
