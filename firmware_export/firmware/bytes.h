/* Little-endian numbers in byte buffers, whatever the core's own order. */
#ifndef BYTES_H
#define BYTES_H

#include <stdint.h>

static inline uint16_t read_u16(const uint8_t *from)
{
    return (uint16_t)(from[0] | (from[1] << 8));
}

static inline uint32_t read_u32(const uint8_t *from)
{
    return read_u16(from) | ((uint32_t)read_u16(from + 2) << 16);
}

static inline void write_u16(uint8_t *to, uint32_t value)
{
    to[0] = (uint8_t)(value & 0xffu);
    to[1] = (uint8_t)((value >> 8) & 0xffu);
}

static inline void write_u32(uint8_t *to, uint32_t value)
{
    write_u16(to, value);
    write_u16(to + 2, value >> 16);
}

#endif
