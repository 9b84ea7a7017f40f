/* Start-up for an emulated Cortex-M of the mps2 and mps3 boards: memory, then main through semihosting. For tests alone. */
#include <stdint.h>

#define COPROCESSOR_ACCESS (*(volatile uint32_t *)0xE000ED88u)

extern uint32_t stack_top, data_load, data_start, data_end, bss_start, bss_end;
extern void initialise_monitor_handles(void);
extern int main(void);
extern void exit(int status);

volatile uint32_t periods; /* of SysTick */

void _init(void) {}
void _fini(void) {}

__attribute__((noinline)) static void start(void)
{
    const uint32_t *from = &data_load;
    for (uint32_t *to = &data_start; to < &data_end;)
        *to++ = *from++;
    for (uint32_t *to = &bss_start; to < &bss_end;)
        *to++ = 0;
    initialise_monitor_handles();
    exit(main());
}

void reset(void)
{
    COPROCESSOR_ACCESS |= 0xF00000u; /* CP10 and CP11, before anything touches a vector register */
    __asm__ volatile("dsb\n isb" ::: "memory");
    start();
}

void fault(void)
{
    exit(99);
}

void tick(void)
{
    periods++;
}

__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    (void (*)(void))(uintptr_t)&stack_top, reset, fault, fault, fault, fault, fault, 0, 0, 0, 0, 0, 0, 0, 0, tick,
};
