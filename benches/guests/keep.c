/* keep: makes one checkpoint of as much memory as it is told, if it is asked for one (fog-task/2).
 *
 * Input: 64 KiB pages of memory to have (32 bits, little-endian). Output: none.
 */
#include "guest.h"

#define IMPORT(name) __attribute__((import_module("fog"), import_name(name)))

IMPORT("time_to_checkpoint") u32 time_to_checkpoint(void);
IMPORT("checkpoint_completed") void checkpoint_completed(void);

EXPORT("fog_run") u64 fog_run(const u8 *input, u32 len) {
    (void)len;
    u32 place = (u32)__builtin_wasm_memory_grow(0, number(input)) * 65536u;
    /* Pages nobody wrote to would cost less to keep than those of a task. */
    for (u32 page = 0; page < number(input); page++) {
        for (u32 i = 0; i < 65536u; i += 64) ((u8 *)place)[page * 65536u + i] = (u8)(page + i);
    }
    if (time_to_checkpoint()) checkpoint_completed();
    return output(0, 0);
}

EXPORT("fog_resume") u64 fog_resume(void) { return output(0, 0); }
