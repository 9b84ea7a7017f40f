/* Collects bytes to packets, answers each, and remembers the last request so that its repetition costs nothing. */
#include "session.h"

#include <string.h>

#include "answer.h"
#include "commands.h"
#include "protocol.h"
#include "request.h"

static uint8_t received[MAX_ENCODED];
static size_t count; /* MAX_ENCODED + 1: more than fits came */

static uint16_t last_sequence; /* 0: none yet */
static uint32_t last_crc;

static void refuse(const struct request *request, enum status status)
{
    commands_count(status);
    answer_refusal(request->command, request->sequence, status);
}

static void run(const struct request *request)
{
    last_sequence = request->sequence;
    last_crc = request->crc;
    answer_begin(request->command, request->sequence);
    const enum status status = commands_run(request);
    commands_count(status);
    answer_finish(status);
}

static void serve(const struct request *request)
{
    if (request->sequence != last_sequence || (request->command == COMMAND_IDENTIFY && request->crc != last_crc)) {
        run(request);
    } else if (request->crc == last_crc) {
        commands_count_repeat();
        answer_repeat();
    } else {
        refuse(request, STATUS_BAD_SEQUENCE); /* one number for two requests: which of them was done? */
    }
}

static void end_of_packet(void)
{
    struct request request;
    memset(&request, 0, sizeof request);
    const enum status status = count > MAX_ENCODED ? STATUS_OVERSIZED : request_parse(received, count, &request);
    if (status == STATUS_OK) {
        serve(&request);
    } else {
        refuse(&request, status);
    }
}

void session_byte(uint8_t byte)
{
    if (byte != 0) {
        if (count < MAX_ENCODED) {
            received[count] = byte;
        }
        count += count <= MAX_ENCODED;
    } else if (count != 0) {
        end_of_packet();
        memset(received, 0, sizeof received); /* a chunk of a frame does not outlive its answer */
        count = 0;
    }
}
