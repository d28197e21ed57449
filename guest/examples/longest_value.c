/* The longest value of each key, from lines `key<TAB>value`, and where it came from; of several the first. */
#include "rabbit_reduce.h"

RR_RESERVE_FROM_THE_END

RR_MAP(record, length) {
    for (rr_size at = 0; at < length; at++) {
        if (record[at] == '\t') {
            rr_pair(record, at, record + at + 1, length - at - 1);
            return;
        }
    }
    rr_refuse("there is no tab in it", 21);
}

RR_REDUCE(key, length) {
    static rr_byte longest[1 << 16], value[1 << 16];
    rr_size most = 0, found = 0;
    for (;;) {
        rr_size next = rr_next(value, sizeof value);
        if (next == RR_NONE) break;
        if (next > sizeof value) {
            rr_refuse("it has a value that is too long", 31);
            return;
        }
        if (found++ == 0 || next > most) {
            for (rr_size at = 0; at < next; at++) longest[at] = value[at];
            most = next;
        }
    }
    rr_pair(key, length, longest, most);
}
