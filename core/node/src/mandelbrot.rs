//! The demonstration's picture: the guest module, its input, and the same formula natively.

/// `examples/wasm/mandelbrot.wat`, assembled: renders rows of the Mandelbrot set.
pub(crate) const MODULE: &[u8] = include_bytes!("../../../examples/wasm/mandelbrot.wasm");

/// What part of the plane is rendered, and how finely.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct View {
    pub width: u32,
    pub height: u32,
    /// 1 to 255.
    pub max_iterations: u32,
    pub centre_x: f64,
    pub centre_y: f64,
    /// Width of the view in the complex plane.
    pub span: f64,
}

impl Default for View {
    /// The seahorse valley: detail everywhere, and rows that differ much in work.
    fn default() -> Self {
        Self {
            width: 1200,
            height: 800,
            max_iterations: 255,
            centre_x: -0.7453,
            centre_y: 0.1127,
            span: 0.0066,
        }
    }
}

impl View {
    /// The guest's input for some rows; layout at the head of `mandelbrot.wat`.
    pub(crate) fn input(&self, row_start: u32, row_count: u32) -> Vec<u8> {
        let mut input = Vec::with_capacity(44);
        for field in [
            self.width,
            self.height,
            row_start,
            row_count,
            self.max_iterations,
        ] {
            input.extend(field.to_le_bytes());
        }
        for field in [self.centre_x, self.centre_y, self.span] {
            input.extend(field.to_le_bytes());
        }
        input
    }

    /// The whole picture by the machine's own arithmetic: what the tiles must add up to.
    pub(crate) fn render_natively(&self) -> Vec<u8> {
        (0..self.height)
            .flat_map(|row| (0..self.width).map(move |column| (row, column)))
            .map(|(row, column)| self.pixel(row, column))
            .collect()
    }

    fn pixel(&self, row: u32, column: u32) -> u8 {
        let scale = self.span / f64::from(self.width);
        let from_left = f64::from(column) - f64::from(self.width) * 0.5 + 0.5;
        let from_top = f64::from(row) - f64::from(self.height) * 0.5 + 0.5;
        let c_re = self.centre_x + from_left * scale;
        let c_im = self.centre_y - from_top * scale;
        let (mut z_re, mut z_im) = (0.0_f64, 0.0_f64);
        let escaped = (1..=self.max_iterations).find(|_| {
            let (re2, im2) = (z_re * z_re, z_im * z_im);
            z_im = (z_re + z_re) * z_im + c_im;
            z_re = (re2 - im2) + c_re;
            z_re * z_re + z_im * z_im > 4.0
        });
        escaped
            .and_then(|iteration| u8::try_from(iteration).ok())
            .unwrap_or(0)
    }
}
