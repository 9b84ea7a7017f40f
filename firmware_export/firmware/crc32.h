#ifndef CRC32_H
#define CRC32_H

#include <stddef.h>
#include <stdint.h>

/* Returns the CRC-32 of zlib and Ethernet (reflected 0x04C11DB7, inverted in and out). */
uint32_t crc32(const uint8_t *data, size_t count);

#endif
