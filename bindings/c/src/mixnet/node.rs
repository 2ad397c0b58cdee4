use std::ffi::{CStr, c_char};
use std::time::Duration;

use fogcompute::mix::Geometry;
use fogcompute::{MixnetNode, MixnetNodeConfig};

use super::{fog_descriptor, fog_engine_stats, fog_topology};
use crate::fog_status;
use crate::support::{
    Failure, free, give, guard, key_bytes, optional_result, parse_address, reference, result, text,
};

/// How a mixnode is made. Fill it with fog_mixnet_node_config_default() and change what should
/// differ.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct fog_mixnet_node_config {
    /// The UDP address it listens on, such as 127.0.0.1:9000; port 0 is any that is free.
    pub listen: *const c_char,
    /// Where others reach it, if that is not where it listens; or NULL.
    pub address: *const c_char,
    /// FOG_KEY_BYTES bytes of the secret key of its identity.
    pub identity: *const u8,
    /// FOG_KEY_BYTES, or 0 for a new identity.
    pub identity_len: usize,
    /// The epoch its mix key is of. The key itself is always new, so that packets which somebody
    /// recorded before a restart cannot be replayed after it.
    pub epoch: u64,
    /// Most hops of a route in the network, 1 to 7.
    pub hops_max: usize,
    /// Bytes of message one packet of the network carries: a multiple of 1024 up to 64512, for the
    /// packets must fit datagrams.
    pub payload_bytes: usize,
    /// Threads that process packets; 0 is one for each processor.
    pub workers: usize,
    /// Packets of the mix key there is room for, 5 bytes each, taken from the system as they come.
    pub replay_tags_max: usize,
}

/// The address of the facade's default, as C reads it.
const LISTEN: &CStr = c"127.0.0.1:0";

/// A mixnode that runs on threads of this program, over UDP.
///
/// It relays for everybody who opens a link to it, as soon as it knows the network: start the
/// mixnodes, put their descriptors into a topology, and give that to each of them.
///
/// A child of fork() has none of its threads: there calls fail with FOG_STATUS_CLOSED, and
/// fog_mixnet_node_free() stops nothing.
pub struct fog_mixnet_node(MixnetNode);

/// Puts the usual configuration into a struct: any free port of the loopback, a new identity, one
/// thread.
///
/// Thread safety: any thread.
/// @param out receives the configuration
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_node_config_default(
    out: *mut fog_mixnet_node_config,
) -> fog_status {
    guard(|| {
        let config = MixnetNodeConfig::default();
        // SAFETY: the caller gives room for the struct.
        unsafe { result(out, "out") }?.write(fog_mixnet_node_config {
            listen: LISTEN.as_ptr(),
            address: std::ptr::null(),
            identity: std::ptr::null(),
            identity_len: 0,
            epoch: config.epoch,
            hops_max: config.geometry.hops_max(),
            payload_bytes: config.geometry.payload_bytes(),
            workers: config.workers,
            replay_tags_max: config.replay_tags_max,
        });
        Ok(())
    })
}

/// The secret key of an identity, if there is one.
///
/// # Safety
/// The pointer is to as many bytes as the length says.
pub(super) unsafe fn read_identity(
    identity: *const u8,
    len: usize,
) -> Result<Option<[u8; 32]>, Failure> {
    if len == 0 {
        return Ok(None);
    }
    // SAFETY: as the caller promises.
    unsafe { key_bytes(identity, len, "identity") }.map(Some)
}

/// # Safety
/// The texts are strings or NULL, and the identity is as long as is said.
unsafe fn read_config(config: &fog_mixnet_node_config) -> Result<MixnetNodeConfig, Failure> {
    // SAFETY: as the caller promises.
    let (listen, address, identity) = unsafe {
        let address = if config.address.is_null() {
            None
        } else {
            Some(parse_address(text(config.address, "address")?, "address")?)
        };
        (
            parse_address(text(config.listen, "listen")?, "listen")?,
            address,
            read_identity(config.identity, config.identity_len)?,
        )
    };
    let geometry = Geometry::new(config.hops_max, config.payload_bytes)?;
    Ok(MixnetNodeConfig {
        listen,
        address,
        identity,
        epoch: config.epoch,
        geometry,
        workers: config.workers,
        replay_tags_max: config.replay_tags_max,
    })
}

/// Starts a mixnode that knows no other yet.
///
/// Thread safety: any thread.
/// @param config the configuration, or NULL for the usual
/// @param out    receives the mixnode; free it with fog_mixnet_node_free()
/// @return FOG_STATUS_INVALID_ARGUMENT; FOG_STATUS_LISTEN if the address is in use or not one of
///         this machine; FOG_STATUS_NODE if the system gives no socket or thread, or packets do not
///         fit datagrams
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_node_start(
    config: *const fog_mixnet_node_config,
    out: *mut *mut fog_mixnet_node,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a configuration of strings and bytes or NULL, and room for a
        // handle.
        let (config, out) = unsafe {
            let config = config.as_ref().map(|config| read_config(config));
            (config.transpose()?, result(out, "out")?)
        };
        let node = MixnetNode::start(config.unwrap_or_default())?;
        give(out, fog_mixnet_node(node));
        Ok(())
    })
}

/// Puts what others must know of a mixnode into a struct.
///
/// Thread safety: any thread, at the same time as other calls but fog_mixnet_node_free().
/// @param node the mixnode
/// @param out  receives the descriptor
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_node_descriptor(
    node: *const fog_mixnet_node,
    out: *mut fog_descriptor,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for the struct.
        let (node, out) = unsafe { (reference(node, "node")?, result(out, "out")?) };
        out.write(node.0.descriptor().into());
        Ok(())
    })
}

/// Tells a mixnode of the others. It sends packets to those and to whoever opened a link to it.
///
/// Thread safety: any thread, at the same time as other calls but fog_mixnet_node_free().
/// @param node     the mixnode
/// @param topology the network
/// @return FOG_STATUS_INVALID_TOPOLOGY if its packets are of other sizes or its nodes cannot be
///         told apart; FOG_STATUS_CLOSED. Then what was known before stays.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_node_set_topology(
    node: *const fog_mixnet_node,
    topology: *const fog_topology,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes live handles.
        let (node, topology) =
            unsafe { (reference(node, "node")?, reference(topology, "topology")?) };
        Ok(node.0.set_topology(&topology.0)?)
    })
}

/// Puts what a mixnode counted since its start into a struct.
///
/// Thread safety: any thread, at the same time as other calls but fog_mixnet_node_free().
/// @param node the mixnode
/// @param out  receives the figures
/// @return FOG_STATUS_CLOSED
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_node_stats(
    node: *const fog_mixnet_node,
    out: *mut fog_engine_stats,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle and room for the struct.
        let (node, out) = unsafe { (reference(node, "node")?, result(out, "out")?) };
        out.write(node.0.stats()?.into());
        Ok(())
    })
}

/// Takes no further packets, sends what is held when it is due, and ends: when nothing is held any
/// more, or after a while. Waits until then.
///
/// Thread safety: any thread, at the same time as other calls but fog_mixnet_node_free().
/// @param node      the mixnode
/// @param within_ns how long it may take at most, in nanoseconds
/// @param out       receives what it counted, or NULL
/// @return FOG_STATUS_CLOSED
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_node_drain(
    node: *const fog_mixnet_node,
    within_ns: u64,
    out: *mut fog_engine_stats,
) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle, and NULL or room for the struct.
        let (node, out) = unsafe { (reference(node, "node")?, optional_result(out)) };
        let stats = node.0.drain(Duration::from_nanos(within_ns))?;
        if let Some(out) = out {
            out.write(stats.into());
        }
        Ok(())
    })
}

/// Ends a mixnode at once; what it holds is lost. Closing again does nothing.
///
/// Thread safety: any thread, at the same time as other calls but fog_mixnet_node_free().
/// @param node the mixnode
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_node_close(node: *const fog_mixnet_node) -> fog_status {
    guard(|| {
        // SAFETY: the caller passes a live handle.
        unsafe { reference(node, "node") }?.0.close();
        Ok(())
    })
}

/// Closes a mixnode and frees it.
///
/// Thread safety: no other call may use it.
/// @param node the mixnode, or NULL
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fog_mixnet_node_free(node: *mut fog_mixnet_node) {
    // SAFETY: the caller passes a handle of ours, once, or NULL.
    unsafe { free(node) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_address_is_the_facades() {
        let listen = parse_address(LISTEN.to_str().unwrap(), "listen").unwrap();
        assert_eq!(listen, MixnetNodeConfig::default().listen);
    }
}
