;; mandelbrot: renders rows of the Mandelbrot set.
;;
;; ABI fog-task/1 (crate fogcompute-exec).
;;
;; Input, 44 bytes, little-endian:
;;
;;   offset  type  field
;;        0  u32   width           pixels per row, at least 1
;;        4  u32   height          rows of the whole picture, at least 1
;;        8  u32   row_start       first row to render
;;       12  u32   row_count       rows to render
;;       16  u32   max_iterations  1 to 255
;;       20  f64   centre_x        centre of the picture, real part
;;       28  f64   centre_y        centre of the picture, imaginary part
;;       36  f64   span            width of the picture in the complex plane
;;
;; Output: width * row_count bytes, one per pixel, rows from top to bottom:
;;   0 for a point that did not escape within max_iterations,
;;   else the number of the iteration, from 1, after which |z| was greater than 2.
;;
;; Traps (unreachable) if the input has another length or a field is outside its range.
;;
;; Every operation is an IEEE 754 double in this order, so a native program that does the same
;; gets the same bytes:
;;
;;   scale = span / width
;;   c_re  = centre_x + (column - width  * 0.5 + 0.5) * scale
;;   c_im  = centre_y - (row    - height * 0.5 + 0.5) * scale
;;   z = 0; for i in 1..=max_iterations:
;;     re2 = z_re * z_re;  im2 = z_im * z_im
;;     z_im = (z_re + z_re) * z_im + c_im
;;     z_re = (re2 - im2) + c_re
;;     if z_re * z_re + z_im * z_im > 4: pixel = i, stop
;;
;; where (x - y * 0.5 + 0.5) is (x - (y * 0.5)) + 0.5.
(module
  ;; 0..44 is the input; the pixels start at the second page.
  (memory (export "memory") 1)

  ;; The input has a fixed length, so it has a fixed place. A longer one is not written over
  ;; anything, because fog_run refuses it.
  (func (export "fog_alloc") (param $len i32) (result i32)
    (if (i32.ne (local.get $len) (i32.const 44)) (then (unreachable)))
    (i32.const 0))

  ;; Iterations until c escapes, 0 if it does not.
  (func $escape (param $c_re f64) (param $c_im f64) (param $max i32) (result i32)
    (local $z_re f64) (local $z_im f64)
    (local $re2 f64) (local $im2 f64)
    (local $i i32)
    (loop $next
      ;; re2 and im2 are the squares of z, kept from the escape test of the last iteration.
      (local.set $z_im
        (f64.add
          (f64.mul (f64.add (local.get $z_re) (local.get $z_re)) (local.get $z_im))
          (local.get $c_im)))
      (local.set $z_re
        (f64.add (f64.sub (local.get $re2) (local.get $im2)) (local.get $c_re)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (local.set $re2 (f64.mul (local.get $z_re) (local.get $z_re)))
      (local.set $im2 (f64.mul (local.get $z_im) (local.get $z_im)))
      (if (f64.gt (f64.add (local.get $re2) (local.get $im2)) (f64.const 4))
        (then (return (local.get $i))))
      (br_if $next (i32.lt_u (local.get $i) (local.get $max))))
    (i32.const 0))

  (func (export "fog_run") (param $ptr i32) (param $len i32) (result i64)
    (local $width i32) (local $height i32)
    (local $row i32) (local $row_end i32) (local $column i32)
    (local $max i32)
    (local $scale f64) (local $left f64) (local $top f64) (local $c_im f64)
    (local $bytes i64) (local $out i32)

    (local.set $width (i32.load (local.get $ptr)))
    (local.set $height (i32.load offset=4 (local.get $ptr)))
    (local.set $row (i32.load offset=8 (local.get $ptr)))
    (local.set $row_end (i32.add (local.get $row) (i32.load offset=12 (local.get $ptr))))
    (local.set $max (i32.load offset=16 (local.get $ptr)))

    (if (i32.eqz (local.get $width)) (then (unreachable)))
    (if (i32.eqz (local.get $height)) (then (unreachable)))
    ;; max - 1 wraps for 0, so one comparison checks both ends of 1 to 255.
    (if (i32.gt_u (i32.sub (local.get $max) (i32.const 1)) (i32.const 254))
      (then (unreachable)))
    ;; row_start + row_count must not wrap and must not pass the last row.
    (if (i32.lt_u (local.get $row_end) (local.get $row)) (then (unreachable)))
    (if (i32.gt_u (local.get $row_end) (local.get $height)) (then (unreachable)))

    ;; The pixels must fit in 32 bits of address; in 64 bits the product cannot wrap.
    (local.set $bytes
      (i64.mul
        (i64.extend_i32_u (local.get $width))
        (i64.extend_i32_u (i32.sub (local.get $row_end) (local.get $row)))))
    (if (i64.gt_u (local.get $bytes) (i64.const 0xf0000000)) (then (unreachable)))
    (if (i32.eq
          (memory.grow
            (i32.wrap_i64
              (i64.shr_u (i64.add (local.get $bytes) (i64.const 65535)) (i64.const 16))))
          (i32.const -1))
      (then (unreachable)))

    (local.set $scale
      (f64.div (f64.load offset=36 (local.get $ptr)) (f64.convert_i32_u (local.get $width))))
    (local.set $left (f64.mul (f64.convert_i32_u (local.get $width)) (f64.const 0.5)))
    (local.set $top (f64.mul (f64.convert_i32_u (local.get $height)) (f64.const 0.5)))

    (local.set $out (i32.const 65536))
    (block $rows_done
      (loop $next_row
        (br_if $rows_done (i32.eq (local.get $row) (local.get $row_end)))
        (local.set $c_im
          (f64.sub
            (f64.load offset=28 (local.get $ptr))
            (f64.mul
              (f64.add
                (f64.sub (f64.convert_i32_u (local.get $row)) (local.get $top))
                (f64.const 0.5))
              (local.get $scale))))
        (local.set $column (i32.const 0))
        (loop $next_column
          (i32.store8 (local.get $out)
            (call $escape
              (f64.add
                (f64.load offset=20 (local.get $ptr))
                (f64.mul
                  (f64.add
                    (f64.sub (f64.convert_i32_u (local.get $column)) (local.get $left))
                    (f64.const 0.5))
                  (local.get $scale)))
              (local.get $c_im)
              (local.get $max)))
          (local.set $out (i32.add (local.get $out) (i32.const 1)))
          (local.set $column (i32.add (local.get $column) (i32.const 1)))
          (br_if $next_column (i32.lt_u (local.get $column) (local.get $width))))
        (local.set $row (i32.add (local.get $row) (i32.const 1)))
        (br $next_row)))

    ;; ptr 65536, len bytes
    (i64.or (i64.const 0x1000000000000) (local.get $bytes))))
