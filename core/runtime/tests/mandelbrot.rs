//! `examples/wasm/mandelbrot.wat` gives the same bytes as a native program with the same formula.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::Path;

use fogcompute_base::limits::OUTPUT_BYTES_MAX;
use fogcompute_exec::{Limits, Runtime, TaskError, TaskOutput, TaskSpec, TrapKind};
use fogcompute_runtime::{WasmConfig, WasmRuntime};
use proptest::prelude::*;

#[derive(Clone, Copy, Debug)]
struct Tile {
    width: u32,
    height: u32,
    row_start: u32,
    row_count: u32,
    max_iterations: u32,
    centre_x: f64,
    centre_y: f64,
    span: f64,
}

/// The whole set in a small picture.
const WHOLE: Tile = Tile {
    width: 96,
    height: 64,
    row_start: 0,
    row_count: 64,
    max_iterations: 255,
    centre_x: -0.75,
    centre_y: 0.0,
    span: 3.5,
};

impl Tile {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(44);
        for field in [
            self.width,
            self.height,
            self.row_start,
            self.row_count,
            self.max_iterations,
        ] {
            bytes.extend(field.to_le_bytes());
        }
        for field in [self.centre_x, self.centre_y, self.span] {
            bytes.extend(field.to_le_bytes());
        }
        bytes
    }

    /// The reference: the formula at the head of `mandelbrot.wat`, in Rust.
    fn native(&self) -> Vec<u8> {
        let scale = self.span / f64::from(self.width);
        let mut pixels = Vec::new();
        for row in self.row_start..self.row_start + self.row_count {
            let from_top = f64::from(row) - f64::from(self.height) * 0.5 + 0.5;
            let c_im = self.centre_y - from_top * scale;
            for column in 0..self.width {
                let from_left = f64::from(column) - f64::from(self.width) * 0.5 + 0.5;
                let c_re = self.centre_x + from_left * scale;
                let (mut z_re, mut z_im) = (0.0_f64, 0.0_f64);
                let escaped = (1..=self.max_iterations).find(|_| {
                    let (re2, im2) = (z_re * z_re, z_im * z_im);
                    z_im = (z_re + z_re) * z_im + c_im;
                    z_re = (re2 - im2) + c_re;
                    z_re * z_re + z_im * z_im > 4.0
                });
                pixels.push(escaped.map_or(0, |i| u8::try_from(i).expect("at most 255")));
            }
        }
        pixels
    }

    fn run(&self, limits: Limits) -> Result<TaskOutput, TaskError> {
        run(&self.encode(), limits)
    }
}

fn run(input: &[u8], limits: Limits) -> Result<TaskOutput, TaskError> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/wasm/mandelbrot.wasm");
    let module = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let spec = TaskSpec::new(module, input, limits).expect("the guest and its input are small");
    WasmRuntime::new(WasmConfig::default()).run(&spec)
}

#[test]
fn tiles_have_the_bytes_of_the_native_render() {
    let seahorse = Tile {
        width: 50,
        height: 40,
        row_start: 7,
        row_count: 20,
        max_iterations: 200,
        centre_x: -0.743_643_887_037_151,
        centre_y: 0.131_825_904_205_330,
        span: 0.000_14,
    };
    for tile in [
        WHOLE,
        seahorse,
        Tile {
            row_start: 63,
            row_count: 1,
            ..WHOLE
        },
        Tile {
            width: 1,
            height: 1,
            row_count: 1,
            max_iterations: 1,
            ..WHOLE
        },
        Tile {
            row_start: 64,
            row_count: 0,
            ..WHOLE
        },
        // Every point escapes to infinity at once; the arithmetic overflows.
        Tile {
            centre_x: 1e300,
            max_iterations: 3,
            ..WHOLE
        },
        Tile {
            centre_x: f64::NAN,
            max_iterations: 20,
            ..WHOLE
        },
    ] {
        let result = tile.run(Limits::default()).unwrap();
        assert!(
            result.output == tile.native(),
            "{tile:?} differs from the native render"
        );
    }
}

#[test]
fn picture_shows_the_set() {
    let pixels = WHOLE.run(Limits::default()).unwrap().output;
    let at = |column: usize, row: usize| pixels[row * 96 + column];
    // The origin is inside, the left edge of the picture is far outside.
    assert_eq!(at(68, 32), 0);
    assert_eq!(at(0, 0), 1);
    let inside = pixels.iter().filter(|pixel| **pixel == 0).count();
    // The set's area is 1.5065918 (Förstemann 2012); the view has 3.5 * 3.5 * 64 / 96.
    let area = inside as f64 / pixels.len() as f64 * (3.5 * 3.5 * 64.0 / 96.0);
    assert!((1.45..1.60).contains(&area), "area {area}");
}

#[test]
fn tiles_put_together_are_the_whole() {
    let whole = WHOLE.run(Limits::default()).unwrap().output;
    let mut parts = Vec::new();
    for row_start in (0..64).step_by(16) {
        let tile = Tile {
            row_start,
            row_count: 16,
            ..WHOLE
        };
        parts.extend(tile.run(Limits::default()).unwrap().output);
    }
    assert!(parts == whole);
}

#[test]
fn fields_outside_their_range_trap() {
    let trap = Err(TaskError::Trap {
        kind: TrapKind::Unreachable,
    });
    for tile in [
        Tile { width: 0, ..WHOLE },
        Tile {
            height: 0,
            row_count: 0,
            ..WHOLE
        },
        Tile {
            max_iterations: 0,
            ..WHOLE
        },
        Tile {
            max_iterations: 256,
            ..WHOLE
        },
        Tile {
            row_start: 1,
            ..WHOLE
        },
        Tile {
            row_start: u32::MAX,
            row_count: 2,
            ..WHOLE
        },
        Tile {
            width: u32::MAX,
            ..WHOLE
        },
    ] {
        assert_eq!(tile.run(Limits::default()), trap, "{tile:?}");
    }
    assert_eq!(run(&WHOLE.encode()[..43], Limits::default()), trap);
    assert_eq!(run(&[0; 45], Limits::default()), trap);
}

#[test]
fn picture_over_the_output_limit_is_refused() {
    let tile = Tile {
        width: 2_000,
        height: 1_000,
        row_count: 1_000,
        max_iterations: 1,
        ..WHOLE
    };
    assert_eq!(
        tile.run(Limits::default()),
        Err(TaskError::OutputTooLarge {
            actual: 2_000_000,
            limit: OUTPUT_BYTES_MAX as u64
        })
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_tile_has_the_bytes_of_the_native_render(
        width in 1_u32..24, height in 1_u32..24, start in 0_u32..24, count in 0_u32..24,
        max_iterations in 1_u32..=255,
        centre_x in -2.0_f64..1.0, centre_y in -1.5_f64..1.5, zoom in 0_i32..40,
    ) {
        let row_start = start.min(height);
        let tile = Tile {
            width, height, row_start,
            row_count: count.min(height - row_start),
            max_iterations, centre_x, centre_y,
            span: 4.0 * 0.5_f64.powi(zoom),
        };
        let result = tile.run(Limits::default());
        prop_assert_eq!(result.map(|done| done.output), Ok(tile.native()));
    }
}
