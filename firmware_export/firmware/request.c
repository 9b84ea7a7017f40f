#include "request.h"

#include <string.h>

#include "bytes.h"
#include "cobs.h"
#include "crc32.h"

static enum status check_integrity(const uint8_t *packet, int32_t count)
{
    if (count < (int32_t)(HEADER_BYTES + CRC_BYTES)) {
        return STATUS_BAD_FRAMING;
    }
    if (count > (int32_t)MAX_PACKET) {
        return STATUS_OVERSIZED;
    }
    const size_t covered = (size_t)count - CRC_BYTES;
    return crc32(packet, covered) == read_u32(packet + covered) ? STATUS_OK : STATUS_BAD_CRC;
}

static enum status check_header(const uint8_t *packet, int32_t count)
{
    if (packet[0] != PROTOCOL_VERSION) {
        return STATUS_BAD_VERSION;
    }
    if (read_u16(packet + 5) != (uint32_t)count - HEADER_BYTES - CRC_BYTES) {
        return STATUS_BAD_LENGTH;
    }
    return read_u16(packet + 2) != 0 ? STATUS_OK : STATUS_BAD_SEQUENCE;
}

enum status request_parse(uint8_t *encoded, size_t count, struct request *request)
{
    memset(request, 0, sizeof *request);
    const int32_t decoded = cobs_decode(encoded, count);
    const enum status status = check_integrity(encoded, decoded);
    if (status != STATUS_OK) {
        return status;
    }
    request->command = encoded[1];
    request->sequence = read_u16(encoded + 2);
    request->length = read_u16(encoded + 5);
    request->payload = encoded + HEADER_BYTES;
    request->crc = read_u32(encoded + (size_t)decoded - CRC_BYTES);
    return check_header(encoded, decoded);
}
