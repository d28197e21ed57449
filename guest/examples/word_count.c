/* How often each word occurs. */
#include "rabbit_reduce.h"

RR_RESERVE_FROM_THE_END

RR_MAP(record, length) {
    const rr_byte *end = record + length, *word;
    rr_size word_length;
    while (rr_word(&record, end, &word, &word_length)) rr_pair(word, word_length, "1", 1);
}

static int number(const rr_byte *digits, rr_size length, rr_number *number) {
    *number = 0;
    for (rr_size at = 0; at < length; at++) {
        if (digits[at] < '0' || digits[at] > '9') return 0;
        *number = *number * 10 + (digits[at] - '0');
    }
    return length > 0 && length < 20;
}

rr_number combine(const rr_byte *values, rr_size length) {
    static rr_byte digits[20];
    const rr_byte *end = values + length, *value;
    rr_number sum = 0, more;
    rr_size value_length, begin = sizeof digits;
    while (rr_value(&values, end, &value, &value_length)) {
        if (!number(value, value_length, &more)) {
            rr_refuse("a count is no number", 20);
            break;
        }
        sum += more;
    }
    do digits[--begin] = '0' + sum % 10; while ((sum /= 10) > 0);
    return rr_bytes(digits + begin, sizeof digits - begin);
}
