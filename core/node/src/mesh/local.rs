//! A link between two nodes of one program.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Bytes that wait in one direction, but for the last frame.
const BYTES_MAX: usize = 1 << 20;

#[derive(Debug, Default)]
struct Direction {
    frames: VecDeque<Vec<u8>>,
    bytes: usize,
    /// The sender was told that there is no room.
    is_full: bool,
}

#[derive(Debug, Default)]
struct Wire {
    directions: [Direction; 2],
    is_closed: bool,
}

/// One of two ends.
#[derive(Debug)]
pub(super) struct LocalEnd {
    wire: Arc<Mutex<Wire>>,
    end: usize,
    /// Who drives each end.
    wakes: [Arc<Notify>; 2],
}

impl LocalEnd {
    pub(super) fn pair(wakes: [Arc<Notify>; 2]) -> [Self; 2] {
        let wire = Arc::new(Mutex::new(Wire::default()));
        [0, 1].map(|end| Self {
            wire: Arc::clone(&wire),
            end,
            wakes: wakes.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Wire> {
        self.wire.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake_other(&self) {
        self.wakes[1 - self.end].notify_one();
    }

    /// Sends a frame; says whether there is room for another.
    pub(super) fn send(&self, frame: Vec<u8>) -> bool {
        let mut wire = self.lock();
        let direction = &mut wire.directions[self.end];
        direction.bytes += frame.len();
        direction.frames.push_back(frame);
        direction.is_full = direction.bytes >= BYTES_MAX;
        let has_room = !direction.is_full;
        drop(wire);
        self.wake_other();
        has_room
    }

    /// Whether there is room for a frame.
    pub(super) fn has_room(&self) -> bool {
        self.lock().directions[self.end].bytes < BYTES_MAX
    }

    /// The next frame. `Err` when the other end has gone and nothing is left.
    pub(super) fn receive(&self) -> Result<Option<Vec<u8>>, ()> {
        let mut wire = self.lock();
        let direction = &mut wire.directions[1 - self.end];
        let Some(frame) = direction.frames.pop_front() else {
            return if wire.is_closed { Err(()) } else { Ok(None) };
        };
        direction.bytes -= frame.len();
        let wakes = direction.is_full && direction.bytes < BYTES_MAX / 2;
        if wakes {
            direction.is_full = false;
        }
        drop(wire);
        if wakes {
            self.wake_other();
        }
        Ok(Some(frame))
    }
}

impl Drop for LocalEnd {
    fn drop(&mut self) {
        self.lock().is_closed = true;
        self.wake_other();
    }
}
