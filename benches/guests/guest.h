/* What the guests share: the ABI fog-task/1 (docs/tasks.md), with the input behind everything else. */
#define EXPORT(name) __attribute__((export_name(name)))

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

EXPORT("fog_alloc") u32 fog_alloc(u32 len) {
    u32 pages = len / 65536u + 1;
    return (u32)__builtin_wasm_memory_grow(0, pages) * 65536u;
}

static u32 number(const u8 *bytes) {
    return bytes[0] | bytes[1] << 8 | bytes[2] << 16 | (u32)bytes[3] << 24;
}

/* The place of the output in the high half and its length in the low half. */
static u64 output(const void *bytes, u32 len) { return (u64)(u32)bytes << 32 | len; }
