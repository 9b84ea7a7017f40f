# STM32F405 (QEMU: -M netduinoplus2): its own 16 MHz oscillator, USART1 on PA9 (out) and PA10 (in), 115200 baud.
CPU := -mcpu=cortex-m4 -mthumb -mfloat-abi=soft
DEFINES := -DTICK_HZ=16000000u
SOURCES := boards/common/start.c boards/stm32f405/usart.c
