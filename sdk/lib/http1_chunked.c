/* Chunked transfer coding (RFC 9112, 7.1).  Chunk extensions are passed over; trailers too, unless they are wanted. */
#include <holdfast/lib/error.h>
#include <holdfast/lib/http1.h>

enum {
    SIZE = 0,    /* in the digits of a chunk's size */
    BLANKS,      /* blanks behind them, which some write; an extension or the end of the line follows */
    EXTENSION,   /* after them, up to the carriage return */
    SIZE_END,    /* the line feed of the size line */
    DATA,        /* content */
    DATA_CR,     /* the carriage return after content */
    DATA_LF,     /* and its line feed */
    TRAILER,     /* a trailer line or the last empty one */
    TRAILER_END, /* the line feed of a trailer line */
    ENDED        /* everything taken */
};

enum { LINE_MAX_BYTES = 4096, TRAILERS_MAX_BYTES = 16384, SIZE_DIGITS_MAX = 15 };

static int32_t digit_of(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* `line` counts the digits in SIZE, the bytes of the line in BLANKS and EXTENSION, and all bytes of trailers in
 * TRAILER, where its top bit says that the present line is not empty. */
enum { LINE_NOT_EMPTY = 1 << 30 };

static int32_t take_size(hf_http1_chunked *chunked, uint8_t c, hf_error *error)
{
    int32_t digit = digit_of(c);

    if (digit >= 0) {
        if (++chunked->line > SIZE_DIGITS_MAX)
            return hf_error_set(error, HF_EINVAL, "the size of a chunk has more than %d digits", SIZE_DIGITS_MAX);
        chunked->left = chunked->left << 4 | (uint64_t)digit;
        return HF_OK;
    }
    if (chunked->line == 0)
        return hf_error_set(error, HF_EINVAL, "a chunk does not begin with its size in hexadecimal digits");
    if (c == '\r') {
        chunked->state = SIZE_END;
    } else if (c == ';' || c == ' ' || c == '\t') {
        chunked->state = c == ';' ? EXTENSION : BLANKS;
        chunked->line = 0;
    } else {
        return hf_error_set(error, HF_EINVAL, "the size of a chunk is followed by 0x%02x", c);
    }
    return HF_OK;
}

static int32_t take_extension(hf_http1_chunked *chunked, uint8_t c, hf_error *error)
{
    if (c == '\r') {
        chunked->state = SIZE_END;
        return HF_OK;
    }
    if (chunked->state == BLANKS && c != ' ' && c != '\t' && c != ';')
        return hf_error_set(error, HF_EINVAL, "the size of a chunk is followed by a blank and 0x%02x", c);
    if (c == ';')
        chunked->state = EXTENSION;
    if ((c < 0x20 && c != '\t') || c == 0x7f)
        return hf_error_set(error, HF_EINVAL, "a control character in a chunk's extension");
    if (++chunked->line > LINE_MAX_BYTES)
        return hf_error_set(error, HF_EINVAL, "a chunk's extension is longer than %d bytes", LINE_MAX_BYTES);
    return HF_OK;
}

static int32_t take_trailer(hf_http1_chunked *chunked, uint8_t c, hf_error *error)
{
    if (c == '\r') {
        chunked->state = TRAILER_END;
        return HF_OK;
    }
    if ((c < 0x20 && c != '\t') || c == 0x7f)
        return hf_error_set(error, HF_EINVAL, "a control character in the trailers of a body");
    chunked->line = (chunked->line + 1) | LINE_NOT_EMPTY;
    if ((chunked->line & ~(uint32_t)LINE_NOT_EMPTY) > TRAILERS_MAX_BYTES)
        return hf_error_set(error, HF_EINVAL, "the trailers of a body are longer than %d bytes", TRAILERS_MAX_BYTES);
    return HF_OK;
}

/* One byte that is not content. */
static int32_t take_byte(hf_http1_chunked *chunked, uint8_t c, hf_error *error)
{
    static const char *const missing = "a chunk is not ended by carriage return and line feed";

    switch (chunked->state) {
    case SIZE:
        return take_size(chunked, c, error);
    case BLANKS:
    case EXTENSION:
        return take_extension(chunked, c, error);
    case SIZE_END:
        if (c != '\n')
            return hf_error_set(error, HF_EINVAL, "%s", missing);
        chunked->state = chunked->left > 0 ? DATA : TRAILER;
        chunked->line = 0;
        return HF_OK;
    case DATA_CR:
        if (c != '\r')
            return hf_error_set(error, HF_EINVAL, "%s", missing);
        chunked->state = DATA_LF;
        return HF_OK;
    case DATA_LF:
        if (c != '\n')
            return hf_error_set(error, HF_EINVAL, "%s", missing);
        chunked->state = SIZE;
        chunked->line = 0;
        return HF_OK;
    case TRAILER:
        return take_trailer(chunked, c, error);
    default: /* TRAILER_END */
        if (c != '\n')
            return hf_error_set(error, HF_EINVAL, "a trailer of a body is not ended by carriage return and line feed");
        chunked->state = (chunked->line & LINE_NOT_EMPTY) ? TRAILER : ENDED;
        chunked->line &= ~(uint32_t)LINE_NOT_EMPTY;
        return HF_OK;
    }
}

/* A byte of the trailers, which are rare and short.  The last line, which is empty, is none of them. */
static int32_t keep_trailer(const hf_http1_chunked *chunked, uint8_t c, hf_error *error)
{
    int32_t result = hf_buffer_append(chunked->trailers, &c, 1);

    if (result != HF_OK)
        return hf_error_set(error, result, "no room for the trailers of a body");
    if (chunked->state == ENDED)
        chunked->trailers->size -= 2;
    return HF_OK;
}

int32_t hf_http1_chunked_next(hf_http1_chunked *chunked, hf_slice bytes, uint64_t *ret_taken, hf_slice *ret_data,
                              hf_error *error)
{
    uint64_t i = 0;

    *ret_data = (hf_slice){NULL, 0};
    while (i < bytes.size && chunked->state != ENDED) {
        if (chunked->state == DATA) {
            uint64_t size = chunked->left < bytes.size - i ? chunked->left : bytes.size - i;

            *ret_data = (hf_slice){bytes.data + i, size};
            i += size;
            chunked->left -= size;
            if (chunked->left == 0)
                chunked->state = DATA_CR;
            break;
        }

        int32_t is_trailer = chunked->trailers && chunked->state >= TRAILER;
        int32_t result = take_byte(chunked, bytes.data[i], error);

        if (result == HF_OK && is_trailer)
            result = keep_trailer(chunked, bytes.data[i], error);
        if (result != HF_OK)
            return result;
        i++;
    }
    *ret_taken = i;
    return chunked->state == ENDED;
}
