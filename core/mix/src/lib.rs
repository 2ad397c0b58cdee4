//! Sphinx packets, reply blocks, mixnode and mix client state machines.
