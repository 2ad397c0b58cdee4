//! Registry, placement, dispatch, failover and settlement of jobs.
