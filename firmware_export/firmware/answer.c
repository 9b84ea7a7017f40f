#include "answer.h"

#include <string.h>

#include "board.h"
#include "bytes.h"
#include "cobs.h"
#include "crc32.h"

static uint8_t kept[MAX_PACKET];
static size_t payload_bytes;

static void write_header(uint8_t *packet, uint8_t command, uint16_t sequence)
{
    packet[0] = (uint8_t)PROTOCOL_VERSION;
    packet[1] = (uint8_t)(command | ANSWER_BIT);
    write_u16(packet + 2, sequence);
}

static void seal(uint8_t *packet, enum status status, size_t length)
{
    packet[4] = (uint8_t)status;
    write_u16(packet + 5, (uint32_t)length);
    write_u32(packet + HEADER_BYTES + length, crc32(packet, HEADER_BYTES + length));
}

void answer_begin(uint8_t command, uint16_t sequence)
{
    memset(kept, 0, sizeof kept);
    payload_bytes = 0;
    write_header(kept, command, sequence);
}

void answer_bytes(const void *from, size_t count)
{
    if (count <= MAX_PAYLOAD - payload_bytes) {
        memcpy(kept + HEADER_BYTES + payload_bytes, from, count);
        payload_bytes += count;
    }
}

void answer_u8(uint8_t value)
{
    answer_bytes(&value, 1);
}

void answer_u16(uint16_t value)
{
    uint8_t bytes[2];
    write_u16(bytes, value);
    answer_bytes(bytes, sizeof bytes);
}

void answer_u32(uint32_t value)
{
    uint8_t bytes[4];
    write_u32(bytes, value);
    answer_bytes(bytes, sizeof bytes);
}

void answer_finish(enum status status)
{
    if (status != STATUS_OK) {
        payload_bytes = 0;
    }
    seal(kept, status, payload_bytes);
    answer_repeat();
}

void answer_repeat(void)
{
    cobs_send(kept, HEADER_BYTES + payload_bytes + CRC_BYTES, board_transmit);
}

void answer_refusal(uint8_t command, uint16_t sequence, enum status status)
{
    uint8_t packet[HEADER_BYTES + CRC_BYTES];
    write_header(packet, command, sequence);
    seal(packet, status, 0);
    cobs_send(packet, sizeof packet, board_transmit);
}
