//! What a module is, before any engine sees it: valid, within the limits, with what a task must have.
//!
//! Every engine gets modules that passed here, so what is refused, and with which words, is the same
//! in all of them.

use fogcompute_exec::{AbiExport, Grants, GuestText, LOCALS_MAX, TaskError};
use wasmparser::{
    BinaryReaderError, ExternalKind, FuncType, Operator, Parser, Payload, TypeRef, ValType,
    Validator, WasmFeatures,
};

use super::calls::{self, Call, Kind};

/// Guards compile time against modules made to be slow. The numbers are wasmi's `strict`.
const FUNCTIONS_MAX: u32 = 10_000;
const GLOBALS_MAX: u32 = 1_000;
const TABLES_MAX: u32 = 100;
const SEGMENTS_MAX: u32 = 1_000;
const PARAMS_MAX: usize = 32;
/// From this length of all bodies together, a body must have `BODY_BYTES_MIN` in the mean.
const BODIES_BYTES: u32 = 1_000;
const BODY_BYTES_MIN: u32 = 40;

/// Where a task goes on from a checkpoint: `() -> i64`, as `fog_run` returns.
pub(super) const RESUME: &str = "fog_resume";

/// Where a WASI command begins: `() -> ()`.
pub(super) const COMMAND: &str = "_start";

/// What a run needs to know of a module.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Shape {
    /// Host calls it imports.
    pub(super) imports: Vec<Call>,
    /// The first import that no grant could give.
    unknown_import: Option<(GuestText, GuestText)>,
    /// The first export of the ABI that is missing or of another type.
    missing: Option<TaskError>,
    /// Whether it is a WASI command.
    command: bool,
    /// Why it cannot go on from a checkpoint.
    unresumable: Option<&'static str>,
    /// Exported mutable globals, which are part of a checkpoint.
    pub(super) globals: Vec<String>,
    /// Its tables.
    pub(super) tables: u32,
    /// Elements of its largest table at the start.
    pub(super) table_elements_max: u64,
}

/// How a task begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Entry {
    /// `fog_alloc` and `fog_run`.
    Run,
    /// `_start`, with input and output as streams.
    Command,
    /// `fog_resume` of what a checkpoint has.
    Resume,
}

impl Shape {
    /// How a task with these grants begins, or why it does not.
    pub(super) fn entry(&self, grants: &Grants, resume: bool) -> Result<Entry, TaskError> {
        let denied = self.imports.iter().find(|call| match call.kind() {
            Kind::Fog => !grants.host_calls,
            Kind::Wasi => !grants.wasi,
        });
        if let Some(call) = denied {
            return Err(TaskError::ForbiddenImport {
                module: GuestText::new(call.module()),
                name: GuestText::new(call.name()),
            });
        }
        if let Some((module, name)) = &self.unknown_import {
            return Err(TaskError::ForbiddenImport {
                module: module.clone(),
                name: name.clone(),
            });
        }
        let makes_checkpoints = self.imports.contains(&Call::CheckpointCompleted);
        if makes_checkpoints && let Some(reason) = self.unresumable {
            return Err(TaskError::ModuleTooComplex {
                reason: GuestText::new(reason),
            });
        }
        if resume {
            return match self.unresumable {
                None => Ok(Entry::Resume),
                Some(reason) => Err(TaskError::UnfitCheckpoint {
                    reason: GuestText::new(reason),
                }),
            };
        }
        match &self.missing {
            None => Ok(Entry::Run),
            Some(_) if self.command && grants.wasi => Ok(Entry::Command),
            Some(error) => Err(error.clone()),
        }
    }
}

fn features() -> WasmFeatures {
    WasmFeatures::MUTABLE_GLOBAL
        | WasmFeatures::MULTI_VALUE
        | WasmFeatures::SATURATING_FLOAT_TO_INT
        | WasmFeatures::SIGN_EXTENSION
        | WasmFeatures::BULK_MEMORY
        | WasmFeatures::REFERENCE_TYPES
        | WasmFeatures::TAIL_CALL
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::FLOATS
}

/// Why the parser refused the module.
pub(super) fn malformed(error: &BinaryReaderError) -> TaskError {
    TaskError::MalformedModule {
        offset: error.offset() as u64,
        reason: GuestText::new(error.message()),
    }
}

fn too_complex(reason: &str) -> TaskError {
    TaskError::ModuleTooComplex {
        reason: GuestText::new(reason),
    }
}

/// Checks the module and says what it is.
pub(super) fn check(bytes: &[u8]) -> Result<Shape, TaskError> {
    check_preamble(bytes)?;
    Validator::new_with_features(features())
        .validate_all(bytes)
        .map_err(|error| malformed(&error))?;
    let mut reader = ShapeReader::default();
    for payload in Parser::new(0).parse_all(bytes) {
        reader
            .read(payload.map_err(|error| malformed(&error))?)
            .map_err(|refused| match refused {
                Refused::Malformed(error) => malformed(&error),
                Refused::TooComplex(reason) => too_complex(&reason),
            })?;
    }
    Ok(reader.finish())
}

enum Refused {
    Malformed(BinaryReaderError),
    TooComplex(String),
}

impl From<BinaryReaderError> for Refused {
    fn from(error: BinaryReaderError) -> Self {
        Self::Malformed(error)
    }
}

fn at_most(actual: u32, max: u32, what: &str) -> Result<(), Refused> {
    if actual > max {
        return Err(Refused::TooComplex(format!("module has over {max} {what}")));
    }
    Ok(())
}

/// Collects what [`Shape`] says from the sections of a valid module.
#[derive(Default)]
struct ShapeReader {
    types: Vec<FuncType>,
    /// Type of each function, imported ones first.
    functions: Vec<u32>,
    /// Whether each global is mutable, imported ones first.
    globals: Vec<bool>,
    /// Whether the first global is one that compilers keep the stack's end in.
    first_global_is_i32: bool,
    imports: Vec<Call>,
    unknown_import: Option<(GuestText, GuestText)>,
    exports: Vec<(String, ExternalKind, u32)>,
    tables: u32,
    table_elements_max: u64,
    bodies: u32,
    bodies_bytes: u32,
    /// An instruction whose effect is not in the memory.
    changes_tables: bool,
}

impl ShapeReader {
    fn read(&mut self, payload: Payload<'_>) -> Result<(), Refused> {
        match payload {
            Payload::TypeSection(section) => {
                for ty in section.into_iter_err_on_gc_types() {
                    let ty = ty?;
                    if ty.params().len() > PARAMS_MAX || ty.results().len() > PARAMS_MAX {
                        let reason =
                            format!("function has over {PARAMS_MAX} parameters or results");
                        return Err(Refused::TooComplex(reason));
                    }
                    self.types.push(ty);
                }
            }
            Payload::ImportSection(section) => {
                for import in section {
                    let import = import?;
                    let call = match import.ty {
                        TypeRef::Func(ty) => self
                            .types
                            .get(ty as usize)
                            .and_then(|ty| calls::find(import.module, import.name, ty)),
                        _ => None,
                    };
                    match import.ty {
                        TypeRef::Func(ty) => self.functions.push(ty),
                        TypeRef::Global(ty) => self.globals.push(ty.mutable),
                        _ => {}
                    }
                    match call {
                        Some(call) => self.imports.push(call),
                        None if self.unknown_import.is_none() => {
                            self.unknown_import =
                                Some((GuestText::new(import.module), GuestText::new(import.name)));
                        }
                        None => {}
                    }
                }
            }
            Payload::FunctionSection(section) => {
                at_most(section.count(), FUNCTIONS_MAX, "functions")?;
                for ty in section {
                    self.functions.push(ty?);
                }
            }
            Payload::TableSection(section) => {
                at_most(section.count(), TABLES_MAX, "tables")?;
                self.tables = section.count();
                for table in section {
                    self.table_elements_max = self.table_elements_max.max(table?.ty.initial);
                }
            }
            Payload::GlobalSection(section) => {
                at_most(section.count(), GLOBALS_MAX, "globals")?;
                for global in section {
                    let ty = global?.ty;
                    if self.globals.is_empty() {
                        self.first_global_is_i32 = ty.content_type == ValType::I32;
                    }
                    self.globals.push(ty.mutable);
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    self.exports
                        .push((export.name.to_owned(), export.kind, export.index));
                }
            }
            Payload::ElementSection(section) => {
                at_most(section.count(), SEGMENTS_MAX, "element segments")?;
            }
            Payload::DataSection(section) => {
                at_most(section.count(), SEGMENTS_MAX, "data segments")?;
            }
            Payload::CodeSectionEntry(body) => {
                self.bodies += 1;
                let range = body.range();
                let bytes = u32::try_from(range.end - range.start).unwrap_or(u32::MAX);
                self.bodies_bytes = self.bodies_bytes.saturating_add(bytes);
                let mut locals = 0_u32;
                for group in body.get_locals_reader()? {
                    locals = locals.saturating_add(group?.0);
                }
                if locals > LOCALS_MAX {
                    let reason = format!("function has {locals} locals");
                    return Err(Refused::TooComplex(reason));
                }
                if self.imports.contains(&Call::CheckpointCompleted) {
                    for operator in body.get_operators_reader()? {
                        self.changes_tables |= matches!(
                            operator?,
                            Operator::TableSet { .. }
                                | Operator::TableGrow { .. }
                                | Operator::TableFill { .. }
                                | Operator::TableCopy { .. }
                                | Operator::TableInit { .. }
                                | Operator::ElemDrop { .. }
                                | Operator::DataDrop { .. }
                        );
                    }
                }
            }
            Payload::End(_) => {
                let dense = self.bodies_bytes / self.bodies.max(1) >= BODY_BYTES_MIN;
                if self.bodies_bytes >= BODIES_BYTES && !dense {
                    let reason = format!("functions have under {BODY_BYTES_MIN} bytes in the mean");
                    return Err(Refused::TooComplex(reason));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn has_function(&self, name: &str, params: &[ValType], results: &[ValType]) -> Option<bool> {
        let (_, kind, index) = self.exports.iter().find(|(export, ..)| export == name)?;
        let ty = self
            .functions
            .get(*index as usize)
            .and_then(|ty| self.types.get(*ty as usize));
        Some(
            *kind == ExternalKind::Func
                && ty.is_some_and(|ty| ty.params() == params && ty.results() == results),
        )
    }

    fn finish(self) -> Shape {
        use ValType::{I32, I64};
        let memory = self
            .exports
            .iter()
            .find(|(name, ..)| name == AbiExport::Memory.name());
        let memory = memory.map(|(_, kind, _)| *kind == ExternalKind::Memory);
        let missing = AbiExport::ALL.into_iter().find_map(|export| {
            let has = match export {
                AbiExport::Memory => memory,
                AbiExport::Alloc => self.has_function(export.name(), &[I32], &[I32]),
                AbiExport::Run => self.has_function(export.name(), &[I32, I32], &[I64]),
            };
            match has {
                Some(true) => None,
                Some(false) => Some(TaskError::WrongExportType { export }),
                None => Some(TaskError::MissingExport { export }),
            }
        });
        let mut globals: Vec<(&String, u32)> = Vec::new();
        for (name, kind, index) in &self.exports {
            let mutable = self.globals.get(*index as usize).copied().unwrap_or(false);
            if *kind == ExternalKind::Global && mutable {
                globals.push((name, *index));
            }
        }
        // What a fresh instance would not have. The stack's end is as it should be there.
        let hidden = (0_u32..).zip(&self.globals).any(|(index, mutable)| {
            let is_stack_end = index == 0 && self.first_global_is_i32;
            *mutable && !is_stack_end && globals.iter().all(|(_, exported)| *exported != index)
        });
        let unresumable = match self.has_function(RESUME, &[], &[I64]) {
            _ if missing.is_some() => Some("no checkpoints: the module is not of fog_run"),
            Some(true) if self.changes_tables => {
                Some("no checkpoints: the module changes tables or drops segments")
            }
            Some(true) if hidden => {
                Some("no checkpoints: a mutable global behind the first is not exported")
            }
            Some(true) => None,
            Some(false) => Some("no checkpoints: export fog_resume is not () -> i64"),
            None => Some("no checkpoints: the module does not export fog_resume"),
        };
        Shape {
            command: memory == Some(true) && self.has_function(COMMAND, &[], &[]) == Some(true),
            globals: globals.iter().map(|(name, _)| (*name).clone()).collect(),
            imports: self.imports,
            unknown_import: self.unknown_import,
            missing,
            unresumable,
            tables: self.tables,
            table_elements_max: self.table_elements_max,
        }
    }
}

/// Whether the first eight bytes are those of a module that [`WasmRuntime`](crate::WasmRuntime) may
/// take: cheap enough to ask before a module is sent anywhere. Whether the rest is one, the runtime
/// says.
///
/// # Errors
/// [`TaskError::MalformedModule`].
// wasmi's words about wrong ones are the bytes themselves, control characters included.
pub fn check_preamble(bytes: &[u8]) -> Result<(), TaskError> {
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
            let refused = check(bytes).unwrap_err();
            assert_eq!(refused.to_string(), format!("malformed module {message}"));
        }
    }
}
