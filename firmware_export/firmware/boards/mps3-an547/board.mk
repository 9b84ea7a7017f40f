# Arm MPS3 with the Cortex-M55 image AN547 (QEMU: -M mps3-an547): 32 MHz. Vector (Helium) instructions allowed.
CPU := -mcpu=cortex-m55 -mthumb -mfloat-abi=hard
DEFINES := -DTICK_HZ=32000000u -DUART_CLOCK_HZ=25000000u -DUART_BASE=0x59303000u
SOURCES := boards/common/start.c boards/common/cmsdk_uart.c
