//! How the device reaches others.

use fogcompute_harvest::Network;

use super::tree::Tree;

/// Link type of the loopback interface (`ARPHRD_LOOPBACK`, linux/if_arp.h).
const TYPE_LOOPBACK: u32 = 772;

/// Link type of Ethernet and of what looks like it (`ARPHRD_ETHER`).
const TYPE_ETHERNET: u32 = 1;

/// Flag of a usable route, and flag of a route through a gateway (linux/route.h).
const ROUTE_UP: u32 = 1;

/// The network behind the default route, else the best that is up.
///
/// Bridges, tunnels and the like are not looked at: what they run over is. A machine that has only
/// such interfaces, as a container has, is unknown, because they do not tell what is outside.
///
/// With its speed in bits per second, where the driver tells one; those of wireless networks do not.
pub(super) fn read(tree: &Tree) -> (Network, Option<u64>) {
    let Some(names) = tree.entries("sys/class/net") else {
        return (Network::Unknown, None);
    };
    let mut up = Vec::new();
    let mut unclear = false;
    for name in names {
        let file = |file: &str| format!("sys/class/net/{name}/{file}");
        if name == "lo" || tree.number(&file("type")) == Some(TYPE_LOOPBACK) {
            continue;
        }
        match (kind(tree, &name), is_up(tree, &name)) {
            (Some(kind), Some(true)) => up.push((name, kind)),
            (Some(_), None) | (None, Some(true)) => unclear = true,
            // Down, or virtual and silent about itself.
            (_, Some(false)) | (None, None) => {}
        }
    }
    let default = default_interface(tree);
    let routed = up.iter().find(|(name, _)| Some(name) == default.as_ref());
    match routed.or_else(|| up.iter().min_by_key(|(_, kind)| *kind)) {
        Some((name, kind)) => (*kind, speed(tree, name)),
        None if unclear => (Network::Unknown, None),
        None => (Network::Offline, None),
    }
}

/// Bits per second. The file holds megabits, and -1 where the driver does not know.
fn speed(tree: &Tree, name: &str) -> Option<u64> {
    let megabits: u64 = tree.number(&format!("sys/class/net/{name}/speed"))?;
    megabits
        .checked_mul(1_000_000)
        // The kernel's own word for unknown, read as unsigned.
        .filter(|bits| (1..u64::from(u32::MAX) * 1_000_000).contains(bits))
}

/// What an interface is, if it is hardware.
fn kind(tree: &Tree, name: &str) -> Option<Network> {
    let file = |file: &str| format!("sys/class/net/{name}/{file}");
    let uevent = tree.text(&file("uevent")).unwrap_or_default();
    let is_devtype = |kind: &str| {
        uevent
            .lines()
            .any(|line| line.strip_prefix("DEVTYPE=") == Some(kind))
    };
    // Android's modems name themselves; elsewhere the driver says it.
    let is_modem = ["rmnet", "ccmni", "wwan"]
        .iter()
        .any(|prefix| name.starts_with(prefix));
    if is_modem || is_devtype("wwan") {
        Some(Network::Cellular)
    } else if tree.exists(&file("wireless")) || tree.exists(&file("phy80211")) || is_devtype("wlan")
    {
        Some(Network::Wifi)
    } else if tree.number(&file("type")) == Some(TYPE_ETHERNET) && tree.exists(&file("device")) {
        // Only hardware has a device behind it.
        Some(Network::Ethernet)
    } else {
        None
    }
}

fn is_up(tree: &Tree, name: &str) -> Option<bool> {
    let file = |file: &str| format!("sys/class/net/{name}/{file}");
    match tree.text(&file("operstate"))?.as_str() {
        "up" => Some(true),
        "down" | "notpresent" | "lowerlayerdown" | "dormant" | "testing" => Some(false),
        // Drivers that do not keep the state, modems above all, still tell whether there is a
        // carrier.
        "unknown" => match tree.text(&file("carrier"))?.as_str() {
            "1" => Some(true),
            "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// The interface of the IPv4 default route with the lowest metric.
fn default_interface(tree: &Tree) -> Option<String> {
    let text = tree.text("proc/net/route")?;
    text.lines()
        .skip(1)
        .filter_map(|line| {
            // Iface Destination Gateway Flags RefCnt Use Metric Mask ..
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let hex = |at: usize| u32::from_str_radix(fields.get(at)?, 16).ok();
            let is_default = hex(1)? == 0 && hex(7)? == 0 && hex(3)? & ROUTE_UP != 0;
            let metric: u32 = fields.get(6)?.parse().ok()?;
            is_default.then(|| (metric, fields[0].to_owned()))
        })
        .min()
        .map(|(_, name)| name)
}
