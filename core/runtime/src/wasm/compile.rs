//! From bytes to a checked, compiled module.

use fogcompute_exec::{AbiExport, GuestText, LOCALS_MAX, TaskError};
use wasmi::errors::ErrorKind;
use wasmi::{
    CompilationMode, Config, EnforcedLimits, Engine, ExternType, FuncType, Module, ValType,
};
use wasmparser::{BinaryReaderError, Parser, Payload};

/// Deepest nesting of calls. Part of what `wasmi-2` means: a task that needs more traps everywhere.
const CALLS_DEPTH_MAX: usize = 10_000;

/// Largest stack of values, in bytes.
const STACK_BYTES_MAX: usize = 1 << 20;

/// Checks the module and everything the ABI asks of it, and compiles it.
///
/// Every module gets its own engine: wasmi's engines keep the code of every module they ever saw,
/// so with a shared one a dropped module would stay in memory.
pub(super) fn compile(bytes: &[u8]) -> Result<Module, TaskError> {
    check_preamble(bytes)?;
    let module = Module::new(&Engine::new(&config()), bytes).map_err(|error| refusal(&error))?;
    check_locals(bytes)?;
    if let Some(import) = module.imports().next() {
        return Err(TaskError::ForbiddenImport {
            module: GuestText::new(import.module()),
            name: GuestText::new(import.name()),
        });
    }
    for export in AbiExport::ALL {
        let Some(actual) = module.get_export(export.name()) else {
            return Err(TaskError::MissingExport { export });
        };
        if !has_type(export, &actual) {
            return Err(TaskError::WrongExportType { export });
        }
    }
    Ok(module)
}

/// The first eight bytes say what the rest is. wasmi's words about wrong ones are the bytes
/// themselves, control characters included.
fn check_preamble(bytes: &[u8]) -> Result<(), TaskError> {
    const MAGIC: [u8; 4] = *b"\0asm";
    const VERSION: [u8; 4] = [1, 0, 0, 0];
    /// Version 13 of layer 1: the component model.
    const COMPONENT: [u8; 4] = [13, 0, 1, 0];
    let malformed = |offset, reason: String| TaskError::MalformedModule {
        offset,
        reason: GuestText::new(&reason),
    };
    let Some((magic, rest)) = bytes.split_first_chunk::<4>() else {
        let len = bytes.len();
        return Err(malformed(
            0,
            format!("{len} bytes are no WebAssembly module"),
        ));
    };
    if *magic != MAGIC {
        let text = bytes.trim_ascii_start();
        let reason = if text.starts_with(b"(module") || text.starts_with(b";;") {
            "this is WebAssembly text, which must be assembled to its binary form".to_owned()
        } else {
            format!(
                "this is no WebAssembly module: it begins with {}, and not with {}",
                in_hex(magic),
                in_hex(&MAGIC)
            )
        };
        return Err(malformed(0, reason));
    }
    match rest.first_chunk::<4>() {
        Some(&VERSION) => Ok(()),
        Some(&COMPONENT) => Err(malformed(
            4,
            "this is a WebAssembly component, and a core module is needed".to_owned(),
        )),
        Some(other) => Err(malformed(
            4,
            format!(
                "version {} of WebAssembly is not 1",
                u32::from_le_bytes(*other)
            ),
        )),
        None => Err(malformed(
            4,
            "the module ends within its version".to_owned(),
        )),
    }
}

fn in_hex(bytes: &[u8]) -> String {
    let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.join(" ")
}

/// wasmi has limits on much else, but not on locals.
fn check_locals(bytes: &[u8]) -> Result<(), TaskError> {
    let malformed = |error: BinaryReaderError| TaskError::MalformedModule {
        offset: error.offset() as u64,
        reason: GuestText::new(error.message()),
    };
    for payload in Parser::new(0).parse_all(bytes) {
        let Payload::CodeSectionEntry(body) = payload.map_err(malformed)? else {
            continue;
        };
        let mut locals = 0_u32;
        for group in body.get_locals_reader().map_err(malformed)? {
            let (count, _) = group.map_err(malformed)?;
            locals = locals.saturating_add(count);
        }
        if locals > LOCALS_MAX {
            return Err(TaskError::ModuleTooComplex {
                reason: GuestText::new(&format!("function has {locals} locals")),
            });
        }
    }
    Ok(())
}

fn config() -> Config {
    let mut config = Config::default();
    config
        .consume_fuel(true)
        // The lazy modes charge the first run of a module for translating it, so the fuel of a
        // task would depend on what ran before.
        .compilation_mode(CompilationMode::Eager)
        // Guards compile time against modules made to be slow: 10 000 functions, 1 000 globals,
        // 32 parameters and so on.
        .enforced_limits(EnforcedLimits::strict())
        .ignore_custom_sections(true)
        .set_max_recursion_depth(CALLS_DEPTH_MAX)
        .set_max_stack_height(STACK_BYTES_MAX)
        // A stack kept for reuse holds what the last task left on it, and as much memory.
        .set_max_cached_stacks(0)
        // One memory, so that its limit is the limit.
        .wasm_multi_memory(false);
    config
}

fn has_type(export: AbiExport, actual: &ExternType) -> bool {
    use ValType::{I32, I64};
    match (export, actual) {
        (AbiExport::Memory, ExternType::Memory(_)) => true,
        (AbiExport::Alloc, ExternType::Func(actual)) => *actual == FuncType::new([I32], [I32]),
        (AbiExport::Run, ExternType::Func(actual)) => *actual == FuncType::new([I32, I32], [I64]),
        _ => false,
    }
}

/// Why wasmi refused the module.
fn refusal(error: &wasmi::Error) -> TaskError {
    match error.kind() {
        ErrorKind::Wasm(error) => TaskError::MalformedModule {
            offset: error.offset() as u64,
            reason: GuestText::new(error.message()),
        },
        ErrorKind::UserLimits(_)
        | ErrorKind::ImplementationLimits(_)
        | ErrorKind::Translation(_)
        | ErrorKind::Ir(_) => TaskError::ModuleTooComplex {
            reason: GuestText::new(&error.to_string()),
        },
        // Nothing runs while compiling, so no other kind can occur.
        _ => TaskError::RuntimeFault,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_module_is_told_what_it_is() {
        // The message was wasmi's, with the magic bytes themselves in it.
        for (bytes, message) in [
            (&b""[..], "at byte 0: 0 bytes are no WebAssembly module"),
            (b"\0as", "at byte 0: 3 bytes are no WebAssembly module"),
            (
                b"hello world",
                "at byte 0: this is no WebAssembly module: it begins with 68 65 6c 6c, and not with \
                 00 61 73 6d",
            ),
            (
                b"\n (module)",
                "at byte 0: this is WebAssembly text, which must be assembled to its binary form",
            ),
            (
                b"\0asm\x01\0",
                "at byte 4: the module ends within its version",
            ),
            (
                b"\0asm\x02\0\0\0",
                "at byte 4: version 2 of WebAssembly is not 1",
            ),
            (
                b"\0asm\x0d\0\x01\0",
                "at byte 4: this is a WebAssembly component, and a core module is needed",
            ),
        ] {
            let refused = compile(bytes).unwrap_err();
            assert_eq!(refused.to_string(), format!("malformed module {message}"));
        }
    }
}
