;; endless: never returns. For the tests of cancellation; ABI fog-task/1 (crate fogcompute-exec).
(module
  (memory (export "memory") 2)
  (func (export "fog_alloc") (param $len i32) (result i32) (i32.const 65536))
  (func (export "fog_run") (param $ptr i32) (param $len i32) (result i64)
    (loop $again (br $again))
    (unreachable)))
