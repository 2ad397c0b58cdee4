//! Whether a kernel branches on secrets or takes them for addresses, by Langley's method
//! ("ctgrind", 2010): valgrind is told that the secrets are undefined memory, and reports each
//! branch and each address that depends on undefined memory.
//!
//! Valgrind 3.19 knows AVX2 and not AVX-512, so this covers the kernel of four lanes alone, and the
//! code that all three share. What it cannot see is an instruction whose own time depends on its
//! operands; the kernels use none that is known to.

use std::arch::asm;
use std::process::Command;

use super::{Lanes, avx2};

const CHILD: &str =
    "kernel::constant_time::the_avx2_kernel_neither_branches_on_secrets_nor_looks_them_up";

/// A request to valgrind, which knows it by rotations that add up to none; without valgrind nothing
/// happens and the result is zero. From `valgrind.h`, 3.19.
fn request(code: u64, address: *mut u8, length: usize) -> u64 {
    let arguments: [u64; 6] = [code, address as u64, length as u64, 0, 0, 0];
    let mut result = 0_u64;
    // SAFETY: outside valgrind this rotates a register by 128 bits in all and exchanges a register
    // with itself. Inside, valgrind reads `arguments` and writes `result`.
    unsafe {
        asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            inout("rdi") 0_u64 => _,
            in("rax") arguments.as_ptr(),
            inout("rdx") result,
        );
    }
    result
}

/// `MAKE_MEM_UNDEFINED` of memcheck, whose requests begin at `'M' 'C'`.
fn make_undefined(bytes: &mut [u8]) {
    request(0x4d43_0001, bytes.as_mut_ptr(), bytes.len());
}

/// `MAKE_MEM_DEFINED` of memcheck.
fn make_defined(bytes: &mut [u8]) {
    request(0x4d43_0002, bytes.as_mut_ptr(), bytes.len());
}

/// What valgrind runs: `kernel`, or `branch` to see whether a branch is found.
fn run_in_valgrind(what: &str) {
    assert_ne!(
        request(0x1001, std::ptr::null_mut(), 0),
        0,
        "this is not valgrind"
    );
    assert!(is_x86_feature_detected!("avx2"));
    let mut scalars: [Lanes<4>; 2] = [
        [[0x5a; 32], [0xa5; 32], [0x0f; 32], [0xf1; 32]],
        [[0x11; 32], [0; 32], [0xff; 32], [0x77; 32]],
    ];
    let mut points: [Lanes<4>; 2] = [
        [[9; 32], [0xff; 32], [3; 32], [0; 32]],
        [[0; 32], [7; 32], [0x80; 32], [9; 32]],
    ];
    let mut expected = [[[0; 32]; 4]; 2];
    // SAFETY: the CPU has AVX2.
    unsafe { avx2::x25519(&scalars, &points, &mut expected) };
    make_undefined(scalars.as_flattened_mut().as_flattened_mut());
    make_undefined(points.as_flattened_mut().as_flattened_mut());
    if what == "branch" {
        let scalar = std::hint::black_box(scalars[0][0][0]);
        if scalar & 8 != 0 {
            println!("a branch on a secret");
        }
        return;
    }
    let mut results = [[[0; 32]; 4]; 2];
    // SAFETY: as above.
    unsafe { avx2::x25519(&scalars, &points, &mut results) };
    make_defined(results.as_flattened_mut().as_flattened_mut());
    assert_eq!(results, expected);
}

fn under_valgrind(what: &str) -> Option<(bool, String)> {
    let program = std::env::current_exe().unwrap();
    let output = Command::new("valgrind")
        .args(["--error-exitcode=9", "--quiet", "--"])
        .arg(program)
        .args(["--exact", CHILD, "--nocapture", "--test-threads=1"])
        .env("FOG_CONSTANT_TIME", what)
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    Some((output.status.success(), text))
}

#[test]
fn the_avx2_kernel_neither_branches_on_secrets_nor_looks_them_up() {
    // The test starts itself in valgrind, and is told so by its environment.
    if let Ok(what) = std::env::var("FOG_CONSTANT_TIME") {
        return run_in_valgrind(&what);
    }
    let Some((clean, text)) = under_valgrind("branch") else {
        println!("not tested: there is no valgrind here");
        return;
    };
    if text.contains("illegal hardware instruction") || !is_x86_feature_detected!("avx2") {
        println!("not tested: this CPU has no AVX2");
        return;
    }
    let found = text.contains("depends on uninitialised value");
    assert!(
        !clean && found,
        "valgrind misses a branch on a secret:\n{text}"
    );
    let (clean, text) = under_valgrind("kernel").unwrap();
    assert!(clean && text.contains("1 passed"), "{text}");
}
