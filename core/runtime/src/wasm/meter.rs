//! Counts a guest's memory and holds it to its limit.

use wasmi::ResourceLimiter;
use wasmi::errors::{MemoryError, TableError};
use wasmi_core::LimiterError;

/// What a table element counts, in bytes. wasmi takes 4; engines with pointers take 8, and the
/// same task must fit everywhere or nowhere.
const TABLE_ELEMENT_BYTES: usize = 8;

/// Linear memory and tables of one guest, in bytes.
///
/// wasmi's own `StoreLimits` bounds each memory and table by itself and does not count.
#[derive(Debug)]
pub(super) struct Meter {
    limit: u64,
    held: u64,
    peak: u64,
    /// `held` and `peak` before the growth that is under way.
    before: (u64, u64),
    /// The tables are made, and stay as they are.
    tables_fixed: bool,
    /// Tables that instantiation has yet to make, for engines that make the memory first.
    #[cfg(feature = "wasmtime")]
    pub(super) tables_left: u32,
    denial: Option<Denial>,
}

/// Why growth was denied.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Denial {
    /// The task's limit.
    Limit,
    /// The device has no more.
    Host,
}

impl Meter {
    pub(super) const fn new(limit: u64) -> Self {
        Self {
            limit,
            held: 0,
            peak: 0,
            before: (0, 0),
            tables_fixed: false,
            #[cfg(feature = "wasmtime")]
            tables_left: 0,
            denial: None,
        }
    }

    /// Most bytes held at once.
    pub(super) const fn peak(&self) -> u64 {
        self.peak
    }

    /// Why the guest was stopped, if it was for memory.
    pub(super) const fn denial(&self) -> Option<Denial> {
        self.denial
    }

    /// Counts `bytes` more, or says that the guest must end.
    pub(super) fn count(&mut self, bytes: usize) -> Result<(), Denial> {
        self.before = (self.held, self.peak);
        let held = self.held.saturating_add(bytes as u64);
        if held > self.limit {
            self.denial = Some(Denial::Limit);
            return Err(Denial::Limit);
        }
        self.held = held;
        self.peak = self.peak.max(held);
        Ok(())
    }

    /// Counts a table's elements.
    #[cfg(feature = "wasmtime")]
    pub(super) fn count_elements(&mut self, elements: usize) -> Result<(), Denial> {
        self.count(elements.saturating_mul(TABLE_ELEMENT_BYTES))
    }

    /// The device has no more: the growth that was counted last did not happen.
    #[cfg(feature = "wasmtime")]
    pub(super) fn host_has_no_more(&mut self) {
        self.undo();
        self.denial = Some(Denial::Host);
    }

    fn grow(&mut self, bytes: usize) -> Result<bool, LimiterError> {
        self.count(bytes)
            .map(|()| true)
            .map_err(|_| LimiterError::ResourceLimiterDeniedAllocation)
    }

    /// Takes back the growth that was counted last: it did not happen.
    fn undo(&mut self) {
        (self.held, self.peak) = self.before;
    }

    fn deny(&mut self, denial: Denial) -> LimiterError {
        self.denial = Some(denial);
        LimiterError::ResourceLimiterDeniedAllocation
    }
}

impl ResourceLimiter for Meter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool, LimiterError> {
        // Instantiation makes tables first and then the memory that every task has, so from here
        // on it is the guest that asks.
        self.tables_fixed = true;
        self.grow(desired.saturating_sub(current))
    }

    fn memory_grow_failed(&mut self, error: &MemoryError) -> Result<(), LimiterError> {
        self.undo();
        match error {
            // To the guest it would look as if its limit were lower on this device than on others.
            MemoryError::OutOfSystemMemory => Err(self.deny(Denial::Host)),
            // Out of fuel: asked again when the guest goes on.
            _ => Ok(()),
        }
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool, LimiterError> {
        if self.tables_fixed {
            // wasmi 2.0.0 does not save its place when `table.grow` runs out of fuel, so a resumed
            // guest would go on at a wrong instruction. Refused growth is not charged.
            return Ok(false);
        }
        self.grow(
            desired
                .saturating_sub(current)
                .saturating_mul(TABLE_ELEMENT_BYTES),
        )
    }

    fn table_grow_failed(&mut self, error: &TableError) -> Result<(), LimiterError> {
        self.undo();
        match error {
            TableError::OutOfSystemMemory => Err(self.deny(Denial::Host)),
            _ => Ok(()),
        }
    }

    fn instances(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        // The module's own number is bounded when it is compiled.
        usize::MAX
    }

    fn memories(&self) -> usize {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_memory_count_together() {
        let mut meter = Meter::new(1_000);
        assert!(matches!(meter.table_growing(0, 100, None), Ok(true)));
        assert!(matches!(meter.memory_growing(0, 200, None), Ok(true)));
        assert_eq!(meter.peak(), 1_000);
        assert!(meter.memory_growing(200, 201, None).is_err());
        assert_eq!(meter.denial(), Some(Denial::Limit));
        assert_eq!(meter.peak(), 1_000);
    }

    #[test]
    fn growth_that_did_not_happen_is_not_counted() {
        let mut meter = Meter::new(1_000);
        assert!(matches!(meter.memory_growing(0, 400, None), Ok(true)));
        for _ in 0..3 {
            assert!(matches!(meter.memory_growing(400, 900, None), Ok(true)));
            let error = MemoryError::OutOfFuel { required_fuel: 8 };
            assert!(meter.memory_grow_failed(&error).is_ok());
        }
        assert_eq!(meter.peak(), 400);
        assert_eq!(meter.denial(), None);
    }

    #[test]
    fn device_without_memory_is_told_from_the_limit() {
        let mut meter = Meter::new(1_000);
        assert!(matches!(meter.memory_growing(0, 400, None), Ok(true)));
        assert!(
            meter
                .memory_grow_failed(&MemoryError::OutOfSystemMemory)
                .is_err()
        );
        assert_eq!(meter.denial(), Some(Denial::Host));

        let mut meter = Meter::new(1_000);
        assert!(matches!(meter.table_growing(0, 10, None), Ok(true)));
        assert!(
            meter
                .table_grow_failed(&TableError::OutOfSystemMemory)
                .is_err()
        );
        assert_eq!(meter.denial(), Some(Denial::Host));
        assert_eq!(meter.peak(), 0);
    }

    #[test]
    fn tables_are_fixed_once_the_memory_is_made() {
        let mut meter = Meter::new(1_000_000);
        assert!(matches!(meter.table_growing(0, 1, None), Ok(true)));
        assert!(matches!(meter.memory_growing(0, 65_536, None), Ok(true)));
        assert!(matches!(meter.table_growing(1, 2, None), Ok(false)));
        assert_eq!(meter.denial(), None);
    }
}
