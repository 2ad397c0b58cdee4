//! May this device lend its idle compute now, and how much.
