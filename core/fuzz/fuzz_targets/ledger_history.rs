//! Histories that somebody else wrote: they are a book or are refused.

#![no_main]

use fogcompute_ledger::{Account, Book, Entry, verify_chain};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok((entries, accounts)) = serde_json::from_slice::<(Vec<Entry>, Vec<Account>)>(bytes)
    else {
        return;
    };
    let chained = verify_chain(Default::default(), &entries);
    if let Ok(book) = Book::restore(entries, accounts) {
        assert_eq!(book.check(), Ok(()));
        assert_eq!(chained, Ok(book.head()));
    }
});
