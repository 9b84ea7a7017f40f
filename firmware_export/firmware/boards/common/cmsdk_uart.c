/* The UART of Arm's MPS2 and MPS3 boards (CMSDK APB UART, Arm DDI 0479, section 4.3), without interrupts. */
#include "board.h"

#define REGISTER(offset) (*(volatile uint32_t *)(UART_BASE + (offset)))
#define DATA REGISTER(0x00u)
#define STATE REGISTER(0x04u)
#define CONTROL REGISTER(0x08u)
#define DIVIDER REGISTER(0x10u)
#define TRANSMIT_FULL 1u
#define RECEIVE_FULL 2u

void board_start(void)
{
    DIVIDER = UART_CLOCK_HZ / 115200u;
    CONTROL = 3u; /* transmit and receive */
}

int board_receive(void)
{
    while ((STATE & RECEIVE_FULL) == 0) {
    }
    return (int)(DATA & 0xffu);
}

void board_transmit(uint8_t byte)
{
    while ((STATE & TRANSMIT_FULL) != 0) {
    }
    DATA = byte;
}
