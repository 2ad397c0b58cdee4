;; echo: returns its input.
;;
;; The smallest useful task of the ABI fog-task/1 (crate fogcompute-exec).
(module
  ;; The first page is left alone; the input starts at the second.
  (memory (export "memory") 1)

  ;; Makes room for `len` bytes at the start of the second page.
  (func (export "fog_alloc") (param $len i32) (result i32)
    (drop (memory.grow
      (i32.shr_u (i32.add (local.get $len) (i32.const 65535)) (i32.const 16))))
    (i32.const 65536))

  ;; ptr << 32 | len: the output is where the input is.
  (func (export "fog_run") (param $ptr i32) (param $len i32) (result i64)
    (i64.or
      (i64.shl (i64.extend_i32_u (local.get $ptr)) (i64.const 32))
      (i64.extend_i32_u (local.get $len)))))
