/* Start-up of every Cortex-M board: vectors, memory, faults, and a clock made of SysTick. */
#include <stdint.h>

#include "board.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define SYSTICK_CONTROL REGISTER(0xE000E010u)
#define SYSTICK_RELOAD REGISTER(0xE000E014u)
#define SYSTICK_VALUE REGISTER(0xE000E018u)
#define COPROCESSOR_ACCESS REGISTER(0xE000ED88u)
#define RESET_CONTROL REGISTER(0xE000ED0Cu)
#define DEBUG_CONTROL REGISTER(0xE000EDFCu)
#define CYCLE_CONTROL REGISTER(0xE0001000u)
#define CYCLE_COUNT REGISTER(0xE0001004u)
#define SYSTICK_PERIOD 0x1000000u /* its 24 bits */

extern uint32_t link_data_from[], link_data_start[], link_data_end[], link_bss_start[], link_bss_end[], link_stack_top[];

int main(void);
void start_reset(void);
void start_fault(void);
void start_tick(void);
void start_memory(void);

const uint32_t board_ticks_per_second = TICK_HZ;
static volatile uint32_t periods;

__attribute__((noinline, noreturn)) void start_memory(void)
{
    const uint32_t *from = link_data_from;
    for (uint32_t *to = link_data_start; to != link_data_end;) {
        *to++ = *from++;
    }
    for (uint32_t *to = link_bss_start; to != link_bss_end;) {
        *to++ = 0;
    }
    SYSTICK_RELOAD = SYSTICK_PERIOD - 1u;
    SYSTICK_VALUE = 0;
    SYSTICK_CONTROL = 7u; /* core clock, interrupt at zero, on */
    (void)main();
    start_fault();
    for (;;) {
    }
}

/* Nothing may touch a floating-point or vector register before they are switched on, so this function is all but empty. */
void start_reset(void)
{
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    COPROCESSOR_ACCESS |= 0xF00000u; /* CP10 and CP11: full access */
    __asm__ volatile("dsb\n isb" ::: "memory");
#endif
    start_memory();
}

/* A fault starts the device anew; the host sees it by the count of frames. */
void start_fault(void)
{
    RESET_CONTROL = 0x05FA0004u; /* key, SYSRESETREQ */
    for (;;) {
    }
}

void start_tick(void)
{
    periods++;
}

uint32_t board_ticks(void)
{
    uint32_t before, value;
    do {
        before = periods;
        value = SYSTICK_VALUE;
    } while (before != periods);
    return before * SYSTICK_PERIOD + (SYSTICK_PERIOD - 1u - value);
}

int board_counts_cycles(void)
{
    DEBUG_CONTROL |= 1u << 24; /* TRCENA */
    CYCLE_CONTROL |= 1u;
    const uint32_t before = CYCLE_COUNT;
    return CYCLE_COUNT != before;
}

__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    (void (*)(void))(uintptr_t)link_stack_top,
    start_reset,
    start_fault, /* NMI */
    start_fault, /* hard fault; the configurable ones escalate to it */
    start_fault, start_fault, start_fault, start_fault, 0, 0, 0,
    start_fault, /* supervisor call */
    start_fault, 0,
    start_fault, /* PendSV */
    start_tick,
};
