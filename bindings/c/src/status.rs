use std::ffi::{CStr, c_char};

use fogcompute::ErrorCode;

use crate::support::{self, Failure, guard};

macro_rules! codes {
    ($($name:ident = $code:literal: $text:literal,)*) => {
        const fn status_name(status: i32) -> &'static CStr {
            match status {
                0 => c"Ok",
                $($code => $text,)*
                _ => c"Unknown",
            }
        }

        impl From<ErrorCode> for fog_status {
            fn from(code: ErrorCode) -> Self {
                match code {
                    $(ErrorCode::$name => Self::$name,)*
                    // A code that was added to the facade and forgotten here: a test fails then.
                    _ => Self::Panic,
                }
            }
        }

        #[cfg(test)]
        const LISTED: &[(fog_status, &CStr)] = &[$((fog_status::$name, $text),)*];
    };
}

/// Result of a call. The numbers never change; later versions may add some.
///
/// Hundreds say where: 1 arguments and bindings, 2 mixnet, 3 scheduling, 4 ledger, 5 harvesting,
/// 6 execution, 7 storage, 8 nodes and network.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum fog_status {
    /// Done.
    Ok = 0,
    /// An argument is out of its range or not well formed.
    InvalidArgument = 100,
    /// The library panicked: a defect of the library. The call had no effect that is known.
    Panic = 101,
    /// A callback of the host failed.
    HostCallback = 102,
    /// The call was cancelled.
    Cancelled = 103,
    /// The object was closed, or belongs to the process that this one was forked from.
    Closed = 104,
    /// A buffer of the caller is too small; the needed size is reported.
    BufferTooSmall = 105,
    /// A packet was refused: wrong length, version, tag, key or payload.
    InvalidPacket = 200,
    /// A route was refused: hop count, repeated node, weak key, delay too long.
    InvalidRoute = 201,
    /// A payload is larger than a packet carries.
    PayloadTooLarge = 202,
    /// A packet was processed before.
    Replayed = 203,
    /// A topology was refused: its signature, form, validity, nodes or packet sizes.
    InvalidTopology = 204,
    /// A reply block was refused: malformed, used before, or not the one a reply belongs to.
    InvalidReplyBlock = 205,
    /// A message was given up: not all of it was acknowledged.
    NotDelivered = 206,
    /// A message was not answered in time.
    NoAnswer = 207,
    /// A limit of what a mixnet client sends or a node remembers was reached. Try again later.
    MixnetBusy = 208,
    /// Parameters, bounds or genomes of an optimisation do not work.
    InvalidProblem = 300,
    /// An objective or violation is not a finite number.
    NotFinite = 301,
    /// No placement satisfies the constraints.
    Infeasible = 302,
    /// An account has less than needed.
    InsufficientFunds = 400,
    /// An account is not open.
    UnknownAccount = 401,
    /// An account is open already, with other properties.
    AccountExists = 402,
    /// An id was used before for something else.
    IdReused = 403,
    /// A reservation was posted, was voided or has expired.
    ReservationClosed = 404,
    /// An operation makes no sense: zero amount, one account twice, other assets, overflow.
    InvalidOperation = 405,
    /// A reservation is unknown: there never was one of that id.
    UnknownReservation = 406,
    /// A harvest policy contradicts itself or does not parse.
    InvalidPolicy = 500,
    /// A device could not be read.
    ProbeFailed = 501,
    /// A module is malformed, imports what is not offered, or does not export what it must.
    InvalidModule = 600,
    /// A task used up its fuel.
    OutOfFuel = 601,
    /// A task asked for more memory than its limit.
    OutOfMemory = 602,
    /// A task's output is over its limit or outside its memory.
    InvalidOutput = 603,
    /// A task trapped.
    Trap = 604,
    /// A task was given up after its last attempt, or the sandbox failed.
    TaskLost = 605,
    /// A file cannot be opened, read or written.
    Storage = 700,
    /// A file is in use by another handle or process.
    StorageLocked = 701,
    /// A file is damaged, or not what it should be.
    StorageCorrupt = 702,
    /// A node or coordinator cannot go on.
    Node = 800,
    /// An address cannot be listened on: it is in use, or not one of this machine.
    Listen = 801,
}

codes! {
    InvalidArgument = 100: c"InvalidArgument",
    Panic = 101: c"Panic",
    HostCallback = 102: c"HostCallback",
    Cancelled = 103: c"Cancelled",
    Closed = 104: c"Closed",
    BufferTooSmall = 105: c"BufferTooSmall",
    InvalidPacket = 200: c"InvalidPacket",
    InvalidRoute = 201: c"InvalidRoute",
    PayloadTooLarge = 202: c"PayloadTooLarge",
    Replayed = 203: c"Replayed",
    InvalidTopology = 204: c"InvalidTopology",
    InvalidReplyBlock = 205: c"InvalidReplyBlock",
    NotDelivered = 206: c"NotDelivered",
    NoAnswer = 207: c"NoAnswer",
    MixnetBusy = 208: c"MixnetBusy",
    InvalidProblem = 300: c"InvalidProblem",
    NotFinite = 301: c"NotFinite",
    Infeasible = 302: c"Infeasible",
    InsufficientFunds = 400: c"InsufficientFunds",
    UnknownAccount = 401: c"UnknownAccount",
    AccountExists = 402: c"AccountExists",
    IdReused = 403: c"IdReused",
    ReservationClosed = 404: c"ReservationClosed",
    InvalidOperation = 405: c"InvalidOperation",
    UnknownReservation = 406: c"UnknownReservation",
    InvalidPolicy = 500: c"InvalidPolicy",
    ProbeFailed = 501: c"ProbeFailed",
    InvalidModule = 600: c"InvalidModule",
    OutOfFuel = 601: c"OutOfFuel",
    OutOfMemory = 602: c"OutOfMemory",
    InvalidOutput = 603: c"InvalidOutput",
    Trap = 604: c"Trap",
    TaskLost = 605: c"TaskLost",
    Storage = 700: c"Storage",
    StorageLocked = 701: c"StorageLocked",
    StorageCorrupt = 702: c"StorageCorrupt",
    Node = 800: c"Node",
    Listen = 801: c"Listen",
}

/// Version of the library that is linked, such as "0.1.0". Static, not to be freed.
///
/// Thread safety: any thread.
#[unsafe(no_mangle)]
pub extern "C" fn fog_version() -> *const c_char {
    support::VERSION.as_ptr()
}

/// Name of a status, the same in every language, such as "InsufficientFunds". "Unknown" for a
/// number that is no status. Static, not to be freed.
///
/// Thread safety: any thread.
#[unsafe(no_mangle)]
pub extern "C" fn fog_status_name(status: i32) -> *const c_char {
    status_name(status).as_ptr()
}

/// What went wrong in the last call of this thread that failed, for people. Empty if none has.
/// Valid until the next call of this thread fails or the thread ends; not to be freed.
///
/// Thread safety: any thread; each has its own.
#[unsafe(no_mangle)]
pub extern "C" fn fog_last_error_message() -> *const c_char {
    support::last_message()
}

/// Frees a string that the library gave to the caller. Nothing else may be passed, and none twice.
///
/// Thread safety: any thread.
/// @param text the string, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_string_free(text: *mut c_char) {
    // SAFETY: the caller passes a string of `support::give_text`, once, or NULL.
    unsafe { support::free_text(text) }
}

/// Panics inside the library. For the tests that prove that a panic becomes an error.
///
/// Thread safety: any thread.
/// @return FOG_STATUS_PANIC
#[unsafe(no_mangle)]
pub extern "C" fn fog_test_panic() -> fog_status {
    guard(|| {
        fogcompute::panic_on_purpose();
        Ok::<(), Failure>(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_the_facades_codes() {
        assert_eq!(LISTED.len(), ErrorCode::ALL.len());
        for (code, (status, name)) in ErrorCode::ALL.iter().zip(LISTED) {
            assert_eq!(fog_status::from(*code), *status, "{code:?}");
            assert_eq!(*code as i32, *status as i32, "{code:?}");
            assert_eq!(name.to_str(), Ok(code.name()));
            assert_eq!(status_name(*status as i32), *name);
        }
        assert_eq!(status_name(0), c"Ok");
        assert_eq!(status_name(-1), c"Unknown");
    }

    #[test]
    fn version_is_the_facades() {
        assert_eq!(support::VERSION.to_str(), Ok(fogcompute::version()));
    }

    #[test]
    fn panics_become_a_status_with_a_message() {
        assert_eq!(fog_test_panic(), fog_status::Panic);
        // SAFETY: the message is a C string of this thread.
        let message = unsafe { CStr::from_ptr(fog_last_error_message()) };
        assert_eq!(
            message.to_str(),
            Ok("the library panicked: panic on purpose")
        );
    }
}
