//! Task lifecycle, limits, metering and the Runtime trait.
