//! What lives in a simulated world.

use std::fmt;

use fogcompute_base::{Instant, UnixMillis};

use crate::chance::Chance;
use crate::disk::{Disk, DiskError};
use crate::fingerprint::Fingerprint;

/// A process of a world, numbered in the order they were added.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ProcessId(pub u32);

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.0)
    }
}

/// What processes send each other.
pub trait Message: Clone + fmt::Debug {
    /// Its length on the way, in bytes.
    fn bytes(&self) -> u64;

    /// Adds all of it to the fingerprint of a run.
    fn fold(&self, fingerprint: &mut Fingerprint);
}

/// A program that runs in a world. It can die between any two calls and in any commit; what it is
/// made from again is its setup and its [`Disk`].
pub trait Process: Sized {
    /// What it sends and receives.
    type Message: Message;
    /// What it is started with, every time.
    type Setup;
    /// What its disk keeps.
    type Storage: Default;
    /// What it tells an onlooker, and nobody inside the world.
    type Fact;

    /// Begins: for the first time, or again with what its disk kept.
    fn boot(setup: &Self::Setup, context: &mut Context<'_, Self>) -> Self;

    /// A message has come.
    fn receive(&mut self, from: ProcessId, message: Self::Message, context: &mut Context<'_, Self>);

    /// The time it asked for with [`Context::wake_at`] has come.
    fn wake(&mut self, context: &mut Context<'_, Self>);

    /// A process that it was connected with is gone, and the connection was closed.
    fn hung_up(&mut self, peer: ProcessId, context: &mut Context<'_, Self>);
}

/// What a call did, in its order.
#[derive(Debug)]
pub(crate) enum Output<M, F> {
    Send { to: ProcessId, message: M },
    Fact(F),
}

/// What a process can reach while it is called.
pub struct Context<'a, P: Process> {
    pub(crate) me: ProcessId,
    pub(crate) now: Instant,
    pub(crate) wall: UnixMillis,
    pub(crate) rng: &'a mut Chance,
    pub(crate) disk: &'a mut Disk<P::Storage>,
    pub(crate) outputs: &'a mut Vec<Output<P::Message, P::Fact>>,
    pub(crate) wake: Option<Instant>,
}

impl<P: Process> fmt::Debug for Context<'_, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("me", &self.me)
            .field("now", &self.now)
            .field("wall", &self.wall)
            .finish_non_exhaustive()
    }
}

impl<P: Process> Context<'_, P> {
    /// Who it is.
    #[must_use]
    pub const fn me(&self) -> ProcessId {
        self.me
    }

    /// What its monotonic clock says: time since it began, by its own quartz.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// What its wall clock says, right or wrong.
    #[must_use]
    pub const fn wall(&self) -> UnixMillis {
        self.wall
    }

    /// Its own generator.
    pub fn rng(&mut self) -> &mut Chance {
        self.rng
    }

    /// Its generator and its disk, for calls that need both.
    pub fn parts(&mut self) -> (&mut Chance, &mut Disk<P::Storage>) {
        (self.rng, self.disk)
    }

    /// What its disk keeps.
    #[must_use]
    pub fn kept(&self) -> &P::Storage {
        self.disk.kept()
    }

    /// Changes what its disk keeps, as a whole or not at all.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn commit<T>(&mut self, change: impl FnOnce(&mut P::Storage) -> T) -> Result<T, DiskError> {
        self.disk.commit(change)
    }

    /// Sends a message. It leaves when the call returns, in the order of calls.
    pub fn send(&mut self, to: ProcessId, message: P::Message) {
        self.put(Output::Send { to, message });
    }

    /// Tells the onlooker something.
    pub fn tell(&mut self, fact: P::Fact) {
        self.put(Output::Fact(fact));
    }

    /// Asks for [`Process::wake`] at this time of its own clock, instead of what was asked for
    /// before. It is called once.
    pub fn wake_at(&mut self, at: Instant) {
        self.wake = Some(at);
    }

    /// The dead do nothing: what comes after a crash in a commit never happened.
    fn put(&mut self, output: Output<P::Message, P::Fact>) {
        if !self.disk.has_crashed() {
            self.outputs.push(output);
        }
    }
}
