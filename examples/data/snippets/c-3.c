#include <stddef.h>
#include <stdint.h>

static uint32_t rotate(uint32_t value, int bits)
{
    return (value << bits) | (value >> (32 - bits));
}

uint32_t checksum(const unsigned char *data, size_t length)
{
    uint32_t sum = 0x811c9dc5u;
    for (size_t i = 0; i < length; i++) {
        sum ^= data[i];
        sum = rotate(sum * 0x01000193u, 5);
    }
    return sum;
}
