/* words: counts the words of its input.
 *
 * A guest in C for the ABI fog-task/1 (docs/tasks.md). With clang and lld:
 *
 *     clang --target=wasm32 -O2 -nostdlib -ffreestanding -Wall -Wextra -Wl,--no-entry \
 *         -Wl,--strip-all -o words.wasm words.c
 *
 * Input:  text in UTF-8.
 * Output: 8 bytes, the number of words as a little-endian 64-bit integer.
 */
#define EXPORT(name) __attribute__((export_name(name)))

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

#define PAGE_BYTES 65536u

static u64 words;

/* The input goes behind everything else: into new pages of memory. */
EXPORT("fog_alloc") u32 fog_alloc(u32 len) {
    u32 pages = len / PAGE_BYTES + 1;
    return (u32)__builtin_wasm_memory_grow(0, pages) * PAGE_BYTES;
}

static int is_space(u8 c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* Gives the place of the output in the high half and its length in the low half. */
EXPORT("fog_run") u64 fog_run(const u8 *input, u32 len) {
    int inside = 0;
    words = 0;
    for (u32 i = 0; i < len; i++) {
        int space = is_space(input[i]);
        words += !space && !inside;
        inside = !space;
    }
    return (u64)(u32)&words << 32 | sizeof words;
}
