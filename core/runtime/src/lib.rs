//! WebAssembly sandbox and device probes.
