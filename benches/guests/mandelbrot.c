/* mandelbrot: how many steps the points of a square grid over [-2, 0.5] x [-1.25, 1.25] take together.
 *
 * Input: points on a side, most steps (32 bits each, little-endian). Output: 8 bytes, little-endian.
 */
#include "guest.h"

static u64 result;

EXPORT("fog_run") u64 fog_run(const u8 *input, u32 len) {
    (void)len;
    u32 side = number(input), steps = number(input + 4);
    u64 sum = 0;
    for (u32 row = 0; row < side; row++) {
        for (u32 column = 0; column < side; column++) {
            double cx = -2.0 + 2.5 * column / side, cy = -1.25 + 2.5 * row / side;
            double x = 0, y = 0;
            u32 step = 0;
            while (step < steps && x * x + y * y <= 4.0) {
                double next = x * x - y * y + cx;
                y = 2.0 * x * y + cy;
                x = next;
                step++;
            }
            sum += step;
        }
    }
    result = sum;
    return output(&result, sizeof result);
}
