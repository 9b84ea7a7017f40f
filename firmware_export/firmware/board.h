/* What a board gives the firmware: one serial line, a clock that counts, its name. */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

extern const uint32_t board_ticks_per_second;

void board_start(void);

/* Returns the next byte from the line, waiting for it; negative where the line is closed for good (the host's board only). */
int board_receive(void);

/* Sends one byte, waiting for room. */
void board_transmit(uint8_t byte);

/* Returns a counter of board_ticks_per_second that wraps at 2^32. */
uint32_t board_ticks(void);

/* Returns 1 where the core's cycle counter counts: on silicon. QEMU's stands still. */
int board_counts_cycles(void);

#endif
