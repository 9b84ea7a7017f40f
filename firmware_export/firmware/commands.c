/* What the device can be asked. No command returns a pixel. */
#include "commands.h"

#include "answer.h"
#include "board.h"
#include "bytes.h"
#include "encoder.h"
#include "frame.h"

#define OFFSET_BYTES 4u
#define BOARD_NAME_BYTES 16u

#if BUILD_RELEASE
#define BUILD_KIND 0u
#else
#define BUILD_KIND 1u
#endif

static const char board_name[BOARD_NAME_BYTES] = BOARD_NAME; /* does not compile where the name is longer */
static const uint8_t firmware_version[3] = {0, 1, 0};

static int8_t code[ENCODER_CODE_BYTES];
static int code_is_ready;
static uint32_t frames_since_reset;

static struct {
    uint32_t frames;
    uint32_t repeats;
    uint32_t by_status[STATUS_COUNT];
    uint32_t longest_ticks;
    uint32_t last_ticks;
} statistics;

void commands_count(enum status status)
{
    statistics.by_status[status]++;
}

void commands_count_repeat(void)
{
    statistics.repeats++;
}

static enum status identify(const struct request *request)
{
    (void)request;
    answer_u8((uint8_t)PROTOCOL_VERSION);
    answer_u8((uint8_t)BUILD_KIND);
    answer_bytes(firmware_version, sizeof firmware_version);
    answer_u8((uint8_t)board_counts_cycles());
    answer_u16((uint16_t)CHUNK_BYTES);
    answer_u32(ENCODER_FRAME_BYTES);
    answer_u32(ENCODER_CODE_BYTES);
    answer_u32(board_ticks_per_second);
    answer_bytes(encoder_digest, sizeof encoder_digest);
    answer_bytes(board_name, sizeof board_name);
    return STATUS_OK;
}

static enum status reset(const struct request *request)
{
    (void)request;
    frame_forget();
    encoder_reset();
    code_is_ready = 0;
    frames_since_reset = 0;
    return STATUS_OK;
}

static int encode_timed(void)
{
    const uint32_t start = board_ticks();
    const int said = frame_encode(code);
    statistics.last_ticks = board_ticks() - start;
    if (statistics.last_ticks > statistics.longest_ticks) {
        statistics.longest_ticks = statistics.last_ticks;
    }
    return said;
}

static enum status encode(enum progress *progress)
{
    const int said = encode_timed();
    if (said != 0 && said != 1) {
        return STATUS_ENCODER_FAILED;
    }
    code_is_ready = said == 0;
    *progress = code_is_ready ? PROGRESS_CODE : PROGRESS_NO_CODE;
    frames_since_reset++;
    statistics.frames++;
    return STATUS_OK;
}

static enum status take_chunk(const struct request *request)
{
    enum progress progress = PROGRESS_MORE;
    enum status status = STATUS_OK;
    code_is_ready = 0;
    if (!frame_put(read_u32(request->payload), request->payload + OFFSET_BYTES, request->length - OFFSET_BYTES)) {
        return STATUS_BAD_ORDER;
    }
    const uint32_t received = frame_received();
    if (received == ENCODER_FRAME_BYTES) {
        status = encode(&progress);
    }
    answer_u8((uint8_t)progress);
    answer_u32(received);
    answer_u32(frames_since_reset);
    return status;
}

static enum status give_code(const struct request *request)
{
    const uint32_t offset = read_u32(request->payload);
    if (!code_is_ready) {
        return STATUS_NO_CODE;
    }
    if (offset >= ENCODER_CODE_BYTES) {
        return STATUS_BAD_ORDER;
    }
    const uint32_t left = ENCODER_CODE_BYTES - offset;
    answer_u32(frames_since_reset);
    answer_u32(offset);
    answer_bytes(code + offset, left < CHUNK_BYTES ? left : CHUNK_BYTES);
    return STATUS_OK;
}

static enum status give_statistics(const struct request *request)
{
    (void)request;
    answer_u32(statistics.frames);
    answer_u32(statistics.repeats);
    answer_u32(statistics.longest_ticks);
    answer_u32(statistics.last_ticks);
    for (size_t status = 0; status < STATUS_COUNT; status++) {
        answer_u32(statistics.by_status[status]);
    }
    return STATUS_OK;
}

static const struct {
    uint16_t shortest, longest; /* payload, in bytes */
    enum status (*run)(const struct request *request);
} commands[] = {
    [COMMAND_IDENTIFY] = {0, 0, identify},
    [COMMAND_RESET] = {0, 0, reset},
    [COMMAND_FRAME] = {OFFSET_BYTES + 1u, OFFSET_BYTES + CHUNK_BYTES, take_chunk},
    [COMMAND_CODE] = {OFFSET_BYTES, OFFSET_BYTES, give_code},
    [COMMAND_STATISTICS] = {0, 0, give_statistics},
};

enum status commands_run(const struct request *request)
{
    if (request->command >= sizeof commands / sizeof commands[0] || commands[request->command].run == 0) {
        return STATUS_BAD_COMMAND;
    }
    if (request->length < commands[request->command].shortest || request->length > commands[request->command].longest) {
        return STATUS_BAD_LENGTH;
    }
    return commands[request->command].run(request);
}
