/* fib: a Fibonacci number by recursion, which is nothing but calls.
 *
 * Input: its index (32 bits, little-endian). Output: 8 bytes, little-endian.
 */
#include "guest.h"

static u64 result;

/* The empty statement keeps the compiler from making a loop of one of the calls. */
static __attribute__((noinline)) u64 fib(u32 n) {
    __asm__ volatile("");
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

EXPORT("fog_run") u64 fog_run(const u8 *input, u32 len) {
    (void)len;
    result = fib(number(input));
    return output(&result, sizeof result);
}
