/* USART1 of the STM32F405 (RM0090: RCC chapter 7, GPIO chapter 8, USART chapter 30), on the pins its boot loader uses too.
 * The chip stays on its 16 MHz oscillator: at 115200 baud the line, not the core, sets the pace. */
#include "board.h"

#define REGISTER(address) (*(volatile uint32_t *)(address))
#define RCC_AHB1ENR REGISTER(0x40023830u)
#define RCC_APB2ENR REGISTER(0x40023844u)
#define GPIOA_MODER REGISTER(0x40020000u)
#define GPIOA_PUPDR REGISTER(0x4002000Cu)
#define GPIOA_AFRH REGISTER(0x40020024u)
#define USART_SR REGISTER(0x40011000u)
#define USART_DR REGISTER(0x40011004u)
#define USART_BRR REGISTER(0x40011008u)
#define USART_CR1 REGISTER(0x4001100Cu)

#define OSCILLATOR_HZ 16000000u
#define BAUD 115200u
#define SR_RECEIVED (1u << 5)
#define SR_ROOM (1u << 7)

static void set_field(volatile uint32_t *where, uint32_t mask, uint32_t value)
{
    *where = (*where & ~mask) | value;
}

void board_start(void)
{
    RCC_AHB1ENR |= 1u;                                                   /* port A */
    RCC_APB2ENR |= 1u << 4;                                              /* USART1 */
    (void)RCC_APB2ENR;                                                   /* two cycles until its registers answer */
    set_field(&GPIOA_MODER, 0xFu << 18, 0xAu << 18);                     /* PA9 and PA10: alternate function */
    set_field(&GPIOA_PUPDR, 0x3u << 20, 0x1u << 20);                     /* an open PA10 is a quiet line */
    set_field(&GPIOA_AFRH, 0xFF0u, 0x770u);                              /* AF7 */
    USART_BRR = (OSCILLATOR_HZ + BAUD / 2u) / BAUD;                      /* 139: 0.08 % slow */
    USART_CR1 = (1u << 13) | (1u << 3) | (1u << 2);                      /* on, transmit, receive */
}

int board_receive(void)
{
    while ((USART_SR & SR_RECEIVED) == 0) {
    }
    return (int)(USART_DR & 0xffu); /* reading SR, then DR, also clears an overrun: the CRC tells of the lost byte */
}

void board_transmit(uint8_t byte)
{
    while ((USART_SR & SR_ROOM) == 0) {
    }
    USART_DR = byte;
}
