//! Modules as wasmi 2.0.0 must get them: no comparison stands right before a `select`.
//!
//! wasmi folds `i32.eqz`, and `i32.eq` and `i32.ne` with zero, into the `select` that takes their
//! result. When the compared value is a local, 2.0.0 drops the comparison and still selects by the
//! register its result would have been in (`FuncTranslator::try_fuse_select`), so that
//! `(select (a) (b) (i32.eqz (local.get $x)))` gives either. An `i32.or` with zero between the two
//! changes no value and is not folded.

use std::borrow::Cow;

use wasmparser::{BinaryReaderError, FunctionBody, Operator, Parser, Payload};

/// `i32.const 0`, `i32.or`.
const APART: [u8; 3] = [0x41, 0, 0x72];

const CODE_SECTION: u8 = 10;

/// The module with every `select` kept apart from the comparison before it.
///
/// # Errors
/// The bytes are no module, which [`check`](super::check::check) refuses.
pub(super) fn unfused(module: &[u8]) -> Result<Cow<'_, [u8]>, BinaryReaderError> {
    let mut section = 0..0;
    let mut bodies = Vec::new();
    let mut kept_apart = false;
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::CodeSectionStart { range, count, .. } => {
                section = range;
                push_length(&mut bodies, count as usize);
            }
            Payload::CodeSectionEntry(body) => {
                let selects = selects(&body)?;
                kept_apart |= !selects.is_empty();
                let mut range = body.range();
                push_length(&mut bodies, range.len() + selects.len() * APART.len());
                for select in selects {
                    bodies.extend_from_slice(&module[range.start..select]);
                    bodies.extend_from_slice(&APART);
                    range.start = select;
                }
                bodies.extend_from_slice(&module[range]);
            }
            _ => {}
        }
    }
    if !kept_apart {
        return Ok(Cow::Borrowed(module));
    }
    let before = &module[..section.start];
    // The section's length, as it was written, and its number go with it.
    let length = before
        .iter()
        .rev()
        .skip(1)
        .take_while(|byte| **byte & 0x80 != 0)
        .count();
    let mut whole = before[..before.len() - length - 2].to_vec();
    whole.push(CODE_SECTION);
    push_length(&mut whole, bodies.len());
    whole.extend_from_slice(&bodies);
    whole.extend_from_slice(&module[section.end..]);
    Ok(Cow::Owned(whole))
}

/// Where the selects stand that could be folded with what is before them.
fn selects(body: &FunctionBody<'_>) -> Result<Vec<usize>, BinaryReaderError> {
    let mut selects = Vec::new();
    let mut after_local = false;
    for operator in body.get_operators_reader()?.into_iter_with_offsets() {
        let (operator, offset) = operator?;
        let is_select = matches!(operator, Operator::Select | Operator::TypedSelect { .. });
        if is_select && !after_local {
            selects.push(offset);
        }
        after_local = matches!(operator, Operator::LocalGet { .. });
    }
    Ok(selects)
}

/// Unsigned LEB128. Lengths of a module that a task may have fit `u32`.
fn push_length(out: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

#[cfg(test)]
mod tests {
    use fogcompute_exec::{Limits, Runtime, TaskSpec};

    use super::*;
    use crate::wasm::check::check;
    use crate::{WasmConfig, WasmRuntime};

    fn module(body: &str) -> Vec<u8> {
        let text = format!(
            r#"(module
                (func (export "fog_alloc") (param $x i32) (result i32) {body})
                (func (export "fog_run") (param i32 i32) (result i64) (i64.const 7))
                (memory (export "memory") 1)
                (data (i32.const 0) "after the code"))"#
        );
        wat::parse_str(text).unwrap()
    }

    #[test]
    fn module_without_a_fold_stays_as_it_is() {
        for body in [
            "(i32.eqz (local.get $x))",
            "(select (i32.const 5) (i32.const 6) (local.get $x))",
        ] {
            let module = module(body);
            assert!(matches!(unfused(&module), Ok(Cow::Borrowed(same)) if same == module));
        }
    }

    #[test]
    fn module_kept_apart_is_valid_and_has_the_same_shape() {
        let body = "(select (i32.const 5) (i32.const 6) (i32.eqz (local.get $x)))";
        // Lengths on both sides of where LEB128 needs another byte.
        for times in [1, 9, 10, 40, 1_400] {
            let many = vec![body; times].join(" (drop) ");
            let module = module(&many);
            let whole = unfused(&module).unwrap();
            assert_eq!(
                whole.len() - module.len(),
                times * 3 + grown(&module, &whole)
            );
            assert_eq!(check(&whole), check(&module));
            assert!(check(&whole).is_ok());
        }
    }

    /// By how much the lengths of the section and of its bodies grew.
    fn grown(before: &[u8], after: &[u8]) -> usize {
        let lengths = |module: &[u8]| {
            let mut parts = Vec::new();
            for payload in Parser::new(0).parse_all(module) {
                match payload.unwrap() {
                    Payload::CodeSectionStart { range, .. } => parts.push(range.len()),
                    Payload::CodeSectionEntry(body) => parts.push(body.range().len()),
                    _ => {}
                }
            }
            let mut written = Vec::new();
            for part in parts {
                push_length(&mut written, part);
            }
            written.len()
        };
        lengths(after) - lengths(before)
    }

    #[test]
    fn bytes_that_are_no_module_are_refused() {
        assert!(unfused(b"no module").is_err());
    }

    /// Selects by a condition on the length of its input: the output has three bytes or five.
    fn selecting(condition: &str) -> Vec<u8> {
        let text = format!(
            r#"(module
                (memory (export "memory") 1)
                (func (export "fog_alloc") (param i32) (result i32) (i32.const 256))
                (func (export "fog_run") (param i32) (param $length i32) (result i64)
                    (i64.extend_i32_u (select (i32.const 3) (i32.const 5) {condition}))))"#
        );
        wat::parse_str(text).unwrap()
    }

    #[test]
    fn selects_take_what_the_comparison_before_them_says() {
        let runtime = WasmRuntime::new(WasmConfig::default());
        for (condition, when_zero) in [
            ("(i32.eqz (local.get $length))", true),
            ("(i32.eq (local.get $length) (i32.const 0))", true),
            ("(i32.ne (local.get $length) (i32.const 0))", false),
            ("(i32.lt_u (local.get $length) (i32.const 1))", true),
            ("(i32.gt_u (local.get $length) (i32.const 0))", false),
            ("(local.get $length) (i32.eqz) (nop)", true),
            ("(local.get $length) (i32.eqz) (i32.const 1) (drop)", true),
            ("(block (result i32) (i32.eqz (local.get $length)))", true),
            ("(i32.eqz (i32.eqz (local.get $length)))", false),
            ("(i64.eqz (i64.extend_i32_u (local.get $length)))", true),
            ("(local.tee 0 (i32.eqz (local.get $length)))", true),
            (
                "(i32.eqz (i32.and (local.get $length) (i32.const 255)))",
                true,
            ),
        ] {
            for input in [vec![], vec![1]] {
                let expected = if input.is_empty() == when_zero { 3 } else { 5 };
                let module = selecting(condition);
                let spec = TaskSpec::new(module, input, Limits::default()).unwrap();
                let output = runtime.run(&spec).unwrap().output;
                assert_eq!(output.len(), expected, "{condition}");
            }
        }
    }
}
