/* Programs for rabbit-reduce as WebAssembly modules, in C.
 *
 * A module defines `reserve` and `map`, and `combine` and `reduce` if it can. It travels with its job to whoever runs it, and can
 * reach nothing but what is declared here. All bytes are in its own memory; whoever runs it reads what it is told of, and
 * writes at most as much as it is told there is room for. Build it with
 *
 *     clang --target=wasm32 -mbulk-memory -O2 -nostdlib -Wl,--no-entry program.c -o program.wasm
 */
#ifndef RABBIT_REDUCE_H
#define RABBIT_REDUCE_H

typedef unsigned char rr_byte;
typedef unsigned int rr_size;            /* 32 bits */
typedef unsigned long long rr_number;    /* 64 bits */

#define RR_IMPORT(name) __attribute__((import_module("rabbit_reduce_1"), import_name(#name)))
#define RR_EXPORT(name) __attribute__((export_name(#name)))

/* There is nothing (more). */
#define RR_NONE 0xffffffffu

/* Puts out a pair: of a record while it is mapped, of a key while it is reduced. */
RR_IMPORT(emit) void rr_emit(const void *key, rr_size key_length, const void *value, rr_size value_length);
/* The same for pairs that lie one after the other: the lengths of a key and of its value in LEB128, and their bytes. */
RR_IMPORT(emit_all) void rr_emit_all(const void *pairs, rr_size length);
/* While a key is reduced: writes its next value and gives its length. If that is more than `room`, nothing was written, and it
 * comes again. RR_NONE after the last. */
RR_IMPORT(next) rr_size rr_next(void *at, rr_size room);
/* While a record is mapped: the name of its source, in the same way. */
RR_IMPORT(source) rr_size rr_source(void *at, rr_size room);
/* While a record is mapped: where it begins in its source, in bytes. */
RR_IMPORT(offset) rr_number rr_offset(void);
/* What the job was told with --set NAME=VALUE, in the same way; RR_NONE if it was not. */
RR_IMPORT(setting) rr_size rr_setting(const void *name, rr_size name_length, void *at, rr_size room);
/* This record is not counted, or this key has no row, for this reason: one line for people. Then return. */
RR_IMPORT(refuse) void rr_refuse(const void *reason, rr_size length);
/* Counts something, as `program.NAME`; what a record counts is only added if it is counted itself. */
RR_IMPORT(count) void rr_count(const void *name, rr_size length, rr_number more);
/* Says a line in the log of whoever runs the module; the first hundred of an instance are kept. */
RR_IMPORT(log) void rr_log(const void *text, rr_size length);

/* Where `bytes` bytes can be written for the next call; it stays valid until the next `reserve`. */
RR_EXPORT(reserve) void *reserve(rr_size bytes);
/* Maps a record: a line without its end. */
RR_EXPORT(map) void map(const rr_byte *record, rr_size length);
/* Maps records one after the other, each behind its length in LEB128, as `map` does: quicker where a module can. Only for modules
 * that do not ask for rr_offset, and of which no record depends on another. If one is refused or traps, all are given to `map`. */
RR_EXPORT(map_all) void map_all(const rr_byte *records, rr_size length);
/* What some values of a key make together, as rr_bytes gives it; rr_value tells them apart. Associative and commutative. Only for
 * modules whose values can be merged. */
RR_EXPORT(combine) rr_number combine(const rr_byte *values, rr_size length);
/* Reduces a key to any number of rows. Only for modules that need all values of a key. */
RR_EXPORT(reduce) void reduce(const rr_byte *key, rr_size length);

/* Bytes, in one number. */
static inline rr_number rr_bytes(const void *at, rr_size length) {
    return (rr_number)(rr_size)(unsigned long)at << 32 | length;
}

/* The next of values that lie one after the other, each behind its length in LEB128; 0 at the end. */
static inline int rr_value(const rr_byte **at, const rr_byte *end, const rr_byte **value, rr_size *length) {
    rr_size shift = 0;
    if (*at == end) return 0;
    *length = 0;
    do *length |= (rr_size)(**at & 0x7f) << shift, shift += 7; while (*(*at)++ >= 0x80);
    *value = *at;
    *at += *length;
    return 1;
}

static inline int rr_is_space(rr_byte byte) {
    return byte <= ' ' && (byte == ' ' || (byte >= '\t' && byte <= '\r'));
}

/* The next word of a text: a run of bytes of which none is white space of ASCII; 0 after the last. It looks at eight bytes at a
 * time, whether one is as small as white space. */
static inline int rr_word(const rr_byte **at, const rr_byte *end, const rr_byte **word, rr_size *length) {
    const rr_number each = 0x0101010101010101u;
    const rr_byte *to = *at;
    while (to < end && rr_is_space(*to)) to++;
    *word = to;
    while (end - to >= 8) {
        rr_number bytes;
        __builtin_memcpy(&bytes, to, 8);
        bytes = ~(((bytes & 0x7f * each) + 0x5f * each) | bytes) & 0x80 * each;
        to += bytes == 0 ? 8 : __builtin_ctzll(bytes) / 8;
        if (bytes == 0) continue;
        if (rr_is_space(*to)) break;
        to++;
    }
    while (to < end && !rr_is_space(*to)) to++;
    *at = to;
    *length = (rr_size)(to - *word);
    return *length > 0;
}

/* Many pairs, of many records, are put out quicker together. In place of `map` and `reduce` write
 *
 *     RR_MAP(record, length) { … rr_pair(key, key_length, value, value_length); … }
 *     RR_REDUCE(key, length) { … rr_pair(…); … }
 *
 * Pairs of one call go into a block that is handed over when it is full, and at the end of the call. RR_MAP makes `map` and
 * `map_all`. */
#define RR_BLOCK_BYTES 8192u
/* Few bytes are copied as if they were so many. */
#define RR_COPIED 16u
static __attribute__((unused)) struct { rr_byte pairs[RR_BLOCK_BYTES + RR_COPIED]; rr_size used; } rr_block;

static inline void rr_hand_over(void) {
    if (rr_block.used > 0) rr_emit_all(rr_block.pairs, rr_block.used);
    rr_block.used = 0;
}

static inline rr_byte *rr_put_length(rr_byte *to, rr_size length) {
    while (length >= 0x80) *to++ = (rr_byte)(length | 0x80), length >>= 7;
    *to++ = (rr_byte)length;
    return to;
}

/* A copy of mostly few bytes to where there is room for more. What lies behind them in memory is copied with them and written over
 * later, which is quicker than to look how many they are. */
static inline rr_byte *rr_put(rr_byte *to, const rr_byte *from, rr_size length) {
    rr_size at;
    if (__builtin_constant_p(length) && length <= RR_COPIED) {
        for (at = 0; at < length; at++) to[at] = from[at];
    } else if (length <= RR_COPIED &&
               (rr_size)(unsigned long)from + RR_COPIED <= (rr_size)__builtin_wasm_memory_size(0) * 65536u) {
        /* What the compiler knows of an object, and where that ends, does not hold for memory as such. */
        __asm__("" : "+r"(from) : : "memory");
        __builtin_memcpy(to, from, RR_COPIED);
    } else {
        for (at = 0; at + 8 <= length; at += 8) __builtin_memcpy(to + at, from + at, 8);
        for (; at < length; at++) to[at] = from[at];
    }
    return to + length;
}

static inline void rr_pair(const void *key, rr_size key_length, const void *value, rr_size value_length) {
    rr_byte *to;
    if (key_length > RR_BLOCK_BYTES / 4 || value_length > RR_BLOCK_BYTES / 4) {
        rr_hand_over();
        rr_emit(key, key_length, value, value_length);
        return;
    }
    /* Each length takes two bytes at the most. */
    if (rr_block.used + key_length + value_length + 4 > RR_BLOCK_BYTES) rr_hand_over();
    to = rr_put_length(rr_block.pairs + rr_block.used, key_length);
    to = rr_put_length(to, value_length);
    to = rr_put(to, (const rr_byte *)key, key_length);
    to = rr_put(to, (const rr_byte *)value, value_length);
    rr_block.used = (rr_size)(to - rr_block.pairs);
}

#define RR_IN(name, bytes, length) static inline void rr_in_##name(const rr_byte *bytes, rr_size length)
#define RR_CALL(name)                                                            \
    void name(const rr_byte *bytes, rr_size length) {                            \
        rr_block.used = 0;                                                       \
        rr_in_##name(bytes, length);                                             \
        rr_hand_over();                                                          \
    }
#define RR_MAP(record, length)                                                   \
    RR_IN(map, record, length);                                                  \
    RR_CALL(map)                                                                 \
    void map_all(const rr_byte *records, rr_size all) {                          \
        const rr_byte *end = records + all, *one;                                \
        rr_size bytes;                                                           \
        rr_block.used = 0;                                                       \
        while (rr_value(&records, end, &one, &bytes)) rr_in_map(one, bytes);     \
        rr_hand_over();                                                          \
    }                                                                            \
    RR_IN(map, record, length)
#define RR_REDUCE(key, length)                                                   \
    RR_IN(reduce, key, length);                                                  \
    RR_CALL(reduce)                                                              \
    RR_IN(reduce, key, length)

/* A `reserve` out of memory that grows at its end: enough for a module that allocates nothing else. */
#define RR_RESERVE_FROM_THE_END                                                  \
    void *reserve(rr_size bytes) {                                               \
        static rr_size begin, room;                                              \
        if (room < bytes) {                                                      \
            rr_size pages = (bytes + 65535u) / 65536u;                           \
            rr_size before = (rr_size)__builtin_wasm_memory_grow(0, pages);      \
            if (before == RR_NONE) __builtin_trap();                             \
            if (begin + room != before * 65536u) begin = before * 65536u, room = 0; \
            room += pages * 65536u;                                              \
        }                                                                        \
        return (void *)(unsigned long)begin;                                     \
    }

#endif
