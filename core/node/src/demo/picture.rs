//! The picture: what a tile will cost, and its colours.

use fogcompute_exec::{Limits, Runtime, TaskSpec};
use fogcompute_runtime::{WasmConfig, WasmRuntime};

use super::DemoError;
use crate::mandelbrot::{MODULE, View};

/// Fuel for some rows: an eighth of the rows and columns is really run here, and scaled up.
pub(super) fn estimate_fuel(view: &View, row_start: u32, row_count: u32) -> Result<u64, DemoError> {
    const SCALE: u32 = 8;
    let coarse = View {
        width: (view.width / SCALE).max(1),
        height: (view.height / SCALE).max(1),
        ..*view
    };
    let start = (row_start / SCALE).min(coarse.height - 1);
    let rows = row_count.div_ceil(SCALE).min(coarse.height - start).max(1);
    let limits = Limits {
        fuel: u64::MAX / 4,
        ..Limits::default()
    };
    let runtime = WasmRuntime::new(WasmConfig::default());
    let usage = TaskSpec::new(MODULE, coarse.input(start, rows), limits)
        .map_err(|error| error.to_string())
        .and_then(|spec| runtime.run(&spec).map_err(|error| error.to_string()))
        .map_err(|reason| DemoError::TileFailed { tile: 0, reason })?
        .usage;
    let pixels = |width: u32, rows: u32| u128::from(width) * u128::from(rows);
    let scaled =
        u128::from(usage.fuel) * pixels(view.width, row_count) / pixels(coarse.width, rows).max(1);
    Ok(u64::try_from(scaled).unwrap_or(u64::MAX).max(1))
}

/// Iterations as colours, from the lowest that the picture has: dark blue through light to amber, the
/// set itself black.
fn palette(lowest: u8) -> Vec<[u8; 3]> {
    const STOPS: [(f64, [f64; 3]); 6] = [
        (0.0, [9.0, 14.0, 48.0]),
        (0.18, [24.0, 82.0, 150.0]),
        (0.42, [226.0, 244.0, 250.0]),
        (0.64, [250.0, 178.0, 60.0]),
        (0.86, [140.0, 40.0, 20.0]),
        (1.0, [20.0, 8.0, 28.0]),
    ];
    (0..=255_u32)
        .map(|index| {
            if index == 0 {
                return [0, 0, 0];
            }
            // The square root spreads the low counts, of which a picture has most.
            let above = f64::from(index.saturating_sub(lowest.into()));
            let at = (above / f64::from(255 - lowest.min(254))).sqrt();
            let upper = STOPS
                .iter()
                .position(|(stop, _)| at <= *stop)
                .unwrap_or(5)
                .max(1);
            let ((low, from), (high, to)) = (STOPS[upper - 1], STOPS[upper]);
            let mix = (at - low) / (high - low);
            std::array::from_fn(|channel| {
                (from[channel] + (to[channel] - from[channel]) * mix).round() as u8
            })
        })
        .collect()
}

pub(super) fn encode_png(view: &View, pixels: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, view.width, view.height);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    let lowest = pixels.iter().copied().filter(|count| *count > 0).min();
    encoder.set_palette(palette(lowest.unwrap_or(0)).concat());
    // Writing to memory fails only if the pixels are not those of the view, and they are checked.
    encoder
        .write_header()
        .and_then(|mut writer| writer.write_image_data(pixels))
        .expect("the pixels are those of the view");
    bytes
}
