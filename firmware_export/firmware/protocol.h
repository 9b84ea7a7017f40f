/* The numbers of the wire. docs/firmware-protocol.md is their specification; a test holds the two and the host's together. */
#ifndef PROTOCOL_H
#define PROTOCOL_H

#define PROTOCOL_VERSION 1u
#define ANSWER_BIT 0x80u /* set in the command of every answer, so that an echoing line is not taken for a device */

enum command {
    COMMAND_NONE = 0, /* only in answers to packets whose command cannot be known */
    COMMAND_IDENTIFY = 1,
    COMMAND_RESET = 2,
    COMMAND_FRAME = 3,
    COMMAND_CODE = 4,
    COMMAND_STATISTICS = 5
};

enum status {
    STATUS_OK = 0,
    STATUS_BAD_FRAMING = 1,
    STATUS_BAD_CRC = 2,
    STATUS_OVERSIZED = 3,
    STATUS_BAD_VERSION = 4,
    STATUS_BAD_LENGTH = 5,
    STATUS_BAD_SEQUENCE = 6,
    STATUS_BAD_COMMAND = 7,
    STATUS_BAD_ORDER = 8,
    STATUS_NO_CODE = 9,
    STATUS_ENCODER_FAILED = 10,
    STATUS_COUNT = 11
};

enum progress { PROGRESS_MORE = 0, PROGRESS_NO_CODE = 1, PROGRESS_CODE = 2 };

#define HEADER_BYTES 7u /* version, command, sequence (2), status, payload length (2) */
#define CRC_BYTES 4u
#define CHUNK_BYTES 512u /* of a frame or a code in one packet */
#define MAX_PAYLOAD 520u
#define MAX_PACKET (HEADER_BYTES + MAX_PAYLOAD + CRC_BYTES)
#define MAX_ENCODED (MAX_PACKET + 3u) /* one more byte per 254 begun */

#endif
