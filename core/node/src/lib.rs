//! A running fog node, the in-process fog, and the fogcompute command.
