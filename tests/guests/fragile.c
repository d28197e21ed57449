/* Fails in every way that a module can, on lines that say so: a row for every key, with how many values it has.
 *
 * Lines are `key<TAB>value`. A line that holds `refuse` is refused after its pair was put out, one that holds `panic` traps, one
 * that holds `hang` never ends; the reduce refuses a key that holds `fail`, and traps on one that holds `die`, each after a row. */
#include "rabbit_reduce.h"

RR_RESERVE_FROM_THE_END

static int holds(const rr_byte *text, rr_size length, const char *what, rr_size what_length) {
    for (rr_size at = 0; at + what_length <= length; at++) {
        rr_size same = 0;
        while (same < what_length && text[at + same] == (rr_byte)what[same]) same++;
        if (same == what_length) return 1;
    }
    return 0;
}

#define HOLDS(what) holds(text, length, what, sizeof what - 1)

void map(const rr_byte *text, rr_size length) {
    rr_size key = 0;
    while (key < length && text[key] != '\t') key++;
    rr_size value = key < length ? key + 1 : length;
    rr_emit(text, key, text + value, length - value);
    rr_count("lines", 5, 1);
    if (HOLDS("panic")) __builtin_trap();
    if (HOLDS("refuse")) rr_refuse("this line is refused", 20);
    if (HOLDS("hang")) for (volatile int stays = 1; stays;) {}
}

void reduce(const rr_byte *text, rr_size length) {
    static rr_byte value[16], digits[20];
    rr_number found = 0;
    rr_size begin = sizeof digits;
    for (rr_size next; (next = rr_next(value, sizeof value)) != RR_NONE;) {
        if (next <= sizeof value) found++;
        else {
            /* Longer than there is room for: counted all the same, once it has been taken. */
            static rr_byte large[1 << 15];
            if (rr_next(large, sizeof large) > sizeof large) __builtin_trap();
            found++;
        }
    }
    do digits[--begin] = '0' + found % 10; while ((found /= 10) > 0);
    rr_emit(text, length, digits + begin, sizeof digits - begin);
    rr_count("keys", 4, 1);
    if (HOLDS("die")) __builtin_trap();
    if (HOLDS("fail")) rr_refuse("this key is refused", 19);
}
