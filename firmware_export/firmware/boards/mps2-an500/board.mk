# Arm MPS2 with the Cortex-M7 image AN500 (QEMU: -M mps2-an500): 25 MHz, 4 MiB of code and of data memory.
CPU := -mcpu=cortex-m7 -mthumb -mfloat-abi=soft
DEFINES := -DTICK_HZ=25000000u -DUART_CLOCK_HZ=25000000u -DUART_BASE=0x40004000u
SOURCES := boards/common/start.c boards/common/cmsdk_uart.c
