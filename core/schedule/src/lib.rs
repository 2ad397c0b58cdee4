//! NSGA-II, placement of jobs on nodes, reputation.
