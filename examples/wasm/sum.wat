;; sum: adds up the bytes of its input.
;;
;; ABI fog-task/1 (crate fogcompute-exec).
;; Input:  any bytes.
;; Output: 8 bytes, the sum as a little-endian u64.
(module
  ;; 0..8 is the output; the input starts at the second page.
  (memory (export "memory") 1)

  (func (export "fog_alloc") (param $len i32) (result i32)
    (drop (memory.grow
      (i32.shr_u (i32.add (local.get $len) (i32.const 65535)) (i32.const 16))))
    (i32.const 65536))

  (func (export "fog_run") (param $ptr i32) (param $len i32) (result i64)
    (local $end i32)
    (local $sum i64)
    (local.set $end (i32.add (local.get $ptr) (local.get $len)))
    (block $done
      (loop $next
        (br_if $done (i32.eq (local.get $ptr) (local.get $end)))
        (local.set $sum
          (i64.add (local.get $sum) (i64.load8_u (local.get $ptr))))
        (local.set $ptr (i32.add (local.get $ptr) (i32.const 1)))
        (br $next)))
    (i64.store (i32.const 0) (local.get $sum))
    (i64.const 8))) ;; ptr 0, len 8
