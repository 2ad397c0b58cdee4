//! Conversions between C and Rust, the last error, the guard.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;

use fogcompute::{Amount, Error};

use crate::{FOG_AMOUNT_SIZE, FOG_KEY_BYTES, fog_amount, fog_status};

/// The version with the NUL byte that C needs.
pub(crate) const VERSION: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => panic!("a version has no NUL byte"),
    };

/// A call that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: fog_status,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn argument(message: impl Into<String>) -> Self {
        Self {
            status: fog_status::InvalidArgument,
            message: message.into(),
        }
    }
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        Self {
            status: error.code().into(),
            message: error.message(),
        }
    }
}

thread_local! {
    static LAST: RefCell<CString> = RefCell::new(CString::default());
}

/// Text for C, which ends at the first NUL byte: those inside become spaces.
pub(crate) fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', " ")).unwrap_or_default()
}

pub(crate) fn last_message() -> *const c_char {
    LAST.with_borrow(|message| message.as_ptr())
}

/// Runs a call: no panic leaves it, and its failure becomes the last one of this thread.
pub(crate) fn guard(call: impl FnOnce() -> Result<(), Failure>) -> fog_status {
    // What a panic leaves behind is either a handle of the facade, whose locks survive it, or a
    // local of the call.
    let failure = match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => return fog_status::Ok,
        Ok(Err(failure)) => failure,
        Err(panic) => Failure {
            status: fog_status::Panic,
            message: format!("the library panicked: {}", panic_text(&*panic)),
        },
    };
    LAST.set(c_string(&failure.message));
    failure.status
}

/// Reads a value from a handle that may be NULL, in a call that cannot fail.
///
/// # Safety
/// The handle is NULL or live.
pub(crate) unsafe fn read_or<T, V>(
    handle: *const T,
    otherwise: V,
    read: impl FnOnce(&T) -> V,
) -> V {
    let mut value = None;
    guard(|| {
        // SAFETY: as the caller promises.
        value = unsafe { handle.as_ref() }.map(read);
        Ok(())
    });
    value.unwrap_or(otherwise)
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        text
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text
    } else {
        "for an unknown reason"
    }
}

fn is_null(name: &str) -> Failure {
    Failure::argument(format!("{name} is NULL"))
}

/// What a pointer points to.
///
/// # Safety
/// The pointer is NULL or points to a `T` that lives, and is not written to, for `'a`.
pub(crate) unsafe fn reference<'a, T>(pointer: *const T, name: &str) -> Result<&'a T, Failure> {
    // SAFETY: as the caller promises.
    unsafe { pointer.as_ref() }.ok_or_else(|| is_null(name))
}

/// Where a result goes. Taken before the work, so that nothing is done in vain.
///
/// # Safety
/// The pointer is NULL or points to room for a `T` that nothing else uses during `'a`.
pub(crate) unsafe fn result<'a, T>(
    pointer: *mut T,
    name: &str,
) -> Result<&'a mut MaybeUninit<T>, Failure> {
    // SAFETY: as the caller promises; what is not initialised may be there.
    unsafe { pointer.cast::<MaybeUninit<T>>().as_mut() }.ok_or_else(|| is_null(name))
}

/// The same where the caller may not want the result.
///
/// # Safety
/// As [`result`].
pub(crate) unsafe fn optional_result<'a, T>(pointer: *mut T) -> Option<&'a mut MaybeUninit<T>> {
    // SAFETY: as the caller promises.
    unsafe { pointer.cast::<MaybeUninit<T>>().as_mut() }
}

/// Elements that the caller lends.
///
/// # Safety
/// The pointer points to `len` elements that live, and are not written to, for `'a`, or `len` is 0.
pub(crate) unsafe fn slice<'a, T>(
    pointer: *const T,
    len: usize,
    name: &str,
) -> Result<&'a [T], Failure> {
    if len == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() {
        return Err(is_null(name));
    }
    if len
        .checked_mul(size_of::<T>())
        .is_none_or(|bytes| bytes > isize::MAX as usize)
    {
        return Err(Failure::argument(format!(
            "{name} has an impossible length"
        )));
    }
    // SAFETY: neither NULL nor too long; the rest is as the caller promises.
    Ok(unsafe { std::slice::from_raw_parts(pointer, len) })
}

/// Bytes that the caller lends to be changed.
///
/// # Safety
/// The pointer points to `len` bytes that live, and are used by nothing else, for `'a`, or `len` is
/// 0.
pub(crate) unsafe fn bytes_mut<'a>(
    pointer: *mut u8,
    len: usize,
    name: &str,
) -> Result<&'a mut [u8], Failure> {
    if len == 0 {
        return Ok(&mut []);
    }
    // SAFETY: as the caller promises; this refuses what is NULL or too long.
    unsafe { slice(pointer, len, name) }?;
    // SAFETY: neither NULL nor too long, and the slice above is gone; the rest is as the caller
    // promises.
    Ok(unsafe { std::slice::from_raw_parts_mut(pointer, len) })
}

/// The bytes of a key.
///
/// # Safety
/// As [`slice`].
pub(crate) unsafe fn key_bytes(
    pointer: *const u8,
    len: usize,
    name: &str,
) -> Result<[u8; FOG_KEY_BYTES], Failure> {
    // SAFETY: as the caller promises.
    let bytes = unsafe { slice(pointer, len, name) }?;
    bytes
        .try_into()
        .map_err(|_| Failure::argument(format!("{name} has {len} bytes, not {FOG_KEY_BYTES}")))
}

/// Text that the caller lends.
///
/// # Safety
/// The pointer is NULL or points to a string that ends with NUL and lives for `'a`.
pub(crate) unsafe fn text<'a>(pointer: *const c_char, name: &str) -> Result<&'a str, Failure> {
    if pointer.is_null() {
        return Err(is_null(name));
    }
    // SAFETY: not NULL; the rest is as the caller promises.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str()
        .map_err(|_| Failure::argument(format!("{name} is not UTF-8")))
}

/// Text that the caller lends, read as something.
///
/// # Safety
/// As [`text`].
pub(crate) unsafe fn parsed<T>(pointer: *const c_char, name: &str) -> Result<T, Failure>
where
    T: FromStr,
    T::Err: Into<Error>,
{
    // SAFETY: as the caller promises.
    let text = unsafe { text(pointer, name) }?;
    parse(text, name)
}

/// What a text in an array of the caller says. The caller may have forgotten the NUL byte.
pub(crate) fn parsed_chars<T>(array: &[c_char], name: &str) -> Result<T, Failure>
where
    T: FromStr,
    T::Err: Into<Error>,
{
    parse(&read_chars(array), name)
}

/// The text in an array of the caller, up to the NUL byte, which the caller may have forgotten.
pub(crate) fn read_chars(array: &[c_char]) -> String {
    let text = array.iter().take_while(|&&byte| byte != 0);
    text.map(|&byte| char::from(byte as u8)).collect()
}

fn parse<T>(text: &str, name: &str) -> Result<T, Failure>
where
    T: FromStr,
    T::Err: Into<Error>,
{
    text.parse().map_err(|error: T::Err| {
        let failure = Failure::from(error);
        Failure {
            message: format!("{name}: {}", failure.message),
            ..failure
        }
    })
}

/// An address with a port.
pub(crate) fn parse_address(text: &str, name: &str) -> Result<SocketAddr, Failure> {
    text.parse().map_err(|_| {
        Failure::argument(format!(
            "{name} is not an IP address with a port, such as 127.0.0.1:9000"
        ))
    })
}

/// Copies `bytes` into a buffer of the caller, or says how large it must be.
///
/// # Safety
/// `out` has room for `capacity` bytes that nothing else uses now, or `capacity` is 0.
pub(crate) unsafe fn fill(
    bytes: &[u8],
    out: *mut u8,
    capacity: usize,
    out_len: &mut MaybeUninit<usize>,
) -> Result<(), Failure> {
    check_room(bytes.len(), capacity, out_len)?;
    if !bytes.is_empty() {
        if out.is_null() {
            return Err(is_null("out"));
        }
        // SAFETY: `out` has room for `capacity` bytes, and `bytes` is ours, so they do not overlap.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), out, bytes.len()) };
    }
    out_len.write(bytes.len());
    Ok(())
}

/// For results whose length is always the same, so that it need not be reported.
///
/// # Safety
/// As [`fill`].
pub(crate) unsafe fn fill_exactly(
    bytes: &[u8],
    out: *mut u8,
    capacity: usize,
) -> Result<(), Failure> {
    // SAFETY: as the caller promises.
    unsafe { fill(bytes, out, capacity, &mut MaybeUninit::uninit()) }
}

/// Says how large a buffer must be if it is too small: before the work, where that cannot be done
/// again.
pub(crate) fn check_room(
    needed: usize,
    capacity: usize,
    out_len: &mut MaybeUninit<usize>,
) -> Result<(), Failure> {
    if needed <= capacity {
        return Ok(());
    }
    out_len.write(needed);
    Err(Failure {
        status: fog_status::BufferTooSmall,
        message: format!("the buffer has room for {capacity}, {needed} are needed"),
    })
}

/// Copies structs into an array of the caller.
///
/// # Safety
/// `out` is NULL or has room for as many as there are `items`, which nothing else uses now.
pub(crate) unsafe fn fill_items<T: Copy>(
    items: &[T],
    out: *mut T,
    name: &str,
) -> Result<(), Failure> {
    if items.is_empty() {
        return Ok(());
    }
    if out.is_null() {
        return Err(is_null(name));
    }
    // SAFETY: as the caller promises, and `items` is ours, so they do not overlap.
    unsafe { std::ptr::copy_nonoverlapping(items.as_ptr(), out, items.len()) };
    Ok(())
}

/// Gives a new handle to the caller.
pub(crate) fn give<T>(out: &mut MaybeUninit<*mut T>, value: T) {
    out.write(Box::into_raw(Box::new(value)));
}

/// Takes a handle back and drops it.
///
/// # Safety
/// The pointer is NULL or came from [`give`] and is used by nothing else, now or later.
pub(crate) unsafe fn free<T>(handle: *mut T) {
    if !handle.is_null() {
        guard(|| {
            // SAFETY: not NULL; the rest is as the caller promises.
            drop(unsafe { Box::from_raw(handle) });
            Ok(())
        });
    }
}

/// Gives a string to the caller, who frees it with `fog_string_free`.
pub(crate) fn give_text(out: &mut MaybeUninit<*mut c_char>, text: &str) {
    out.write(c_string(text).into_raw());
}

/// Takes a string back.
///
/// # Safety
/// The pointer is NULL or came from [`give_text`] and is used by nothing else, now or later.
pub(crate) unsafe fn free_text(text: *mut c_char) {
    if !text.is_null() {
        // SAFETY: not NULL; the rest is as the caller promises.
        drop(unsafe { CString::from_raw(text) });
    }
}

/// A short text in an array, with NUL bytes behind it. The array is one byte larger than any text
/// that is put into it.
pub(crate) fn chars<const N: usize>(text: &str) -> [c_char; N] {
    debug_assert!(text.len() < N, "{text} does not fit {N} bytes");
    let mut array = [0; N];
    for (to, from) in array[..N - 1].iter_mut().zip(text.bytes()) {
        *to = from as c_char;
    }
    array
}

/// Bytes as hexadecimal text in an array.
pub(crate) fn hex<const N: usize>(bytes: &[u8]) -> [c_char; N] {
    chars(
        &bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>(),
    )
}

impl From<Amount> for fog_amount {
    fn from(amount: Amount) -> Self {
        Self {
            text: chars::<FOG_AMOUNT_SIZE>(&amount.to_string()),
        }
    }
}

impl fog_amount {
    /// The amount that C wrote, which may have forgotten the NUL byte.
    pub(crate) fn parse(&self, name: &str) -> Result<Amount, Failure> {
        parsed_chars(&self.text, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_buffers_are_told_the_needed_size() {
        let (mut buffer, mut len) = ([0; 4], MaybeUninit::uninit());
        // SAFETY: the buffer has four bytes.
        let failure = unsafe { fill(b"hello", buffer.as_mut_ptr(), 4, &mut len) }.unwrap_err();
        assert_eq!(failure.status, fog_status::BufferTooSmall);
        // SAFETY: `fill` wrote it.
        assert_eq!(unsafe { len.assume_init() }, 5);
        assert_eq!(buffer, [0; 4]);
        // SAFETY: nothing is written to NULL.
        unsafe { fill(b"", std::ptr::null_mut(), 0, &mut len) }.unwrap();
    }

    #[test]
    fn foreign_text_is_refused_not_trusted() {
        // SAFETY: NULL is allowed, and the others end with NUL.
        unsafe {
            assert!(text(std::ptr::null(), "path").is_err());
            assert!(text(c"\xff".as_ptr(), "path").is_err());
            assert_eq!(
                parsed::<Amount>(c"12".as_ptr(), "amount").unwrap(),
                Amount(12)
            );
            let failure = parsed::<Amount>(c"1.2".as_ptr(), "amount").unwrap_err();
            assert_eq!(
                failure.message,
                "amount: character 1 of the amount is not a decimal digit"
            );
        }
    }

    #[test]
    fn amounts_fit_their_array_and_need_no_end() {
        assert_eq!(
            fog_amount::from(Amount::MAX).parse("amount").unwrap(),
            Amount::MAX
        );
        let endless = fog_amount {
            text: [b'9' as c_char; FOG_AMOUNT_SIZE],
        };
        assert_eq!(
            endless.parse("price").unwrap_err().status,
            fog_status::InvalidArgument
        );
    }

    #[test]
    fn impossible_lengths_are_refused() {
        let number = 0_u64;
        // SAFETY: what is refused is not read.
        assert!(unsafe { slice(&raw const number, usize::MAX, "x") }.is_err());
        // SAFETY: no element is read.
        let nothing = unsafe { slice::<u8>(std::ptr::null(), 0, "x") };
        assert_eq!(nothing.unwrap(), b"");
    }

    #[test]
    fn messages_cannot_be_cut_by_a_nul_byte() {
        assert_eq!(c_string("a\0b").to_bytes(), b"a b");
    }
}
