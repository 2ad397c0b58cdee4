//! The battery.

use fogcompute_harvest::Battery;

use super::tree::Tree;

/// What the power supplies say together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Power {
    pub(super) battery: Battery,
    /// There is a battery, even if it could not be read.
    pub(super) has_battery: bool,
    pub(super) temperature_celsius: Option<f64>,
}

/// Names that the kernel gives to supplies which are no battery (`POWER_SUPPLY_TYPE_TEXT`,
/// linux/drivers/power/supply/power_supply_sysfs.c). A UPS does not make a device portable.
const OTHER_SUPPLIES: [&str; 12] = [
    "UPS",
    "Mains",
    "USB",
    "USB_DCP",
    "USB_CDP",
    "USB_ACA",
    "USB_C",
    "USB_PD",
    "USB_PD_DRP",
    "BrickID",
    "Wireless",
    "Unknown",
];

impl Power {
    pub(super) fn read(tree: &Tree) -> Self {
        let Some(names) = tree.entries("sys/class/power_supply") else {
            return Self::UNKNOWN;
        };
        let mut cells = Vec::new();
        let mut online = None;
        let mut unclear = false;
        for name in names {
            let file = |file: &str| format!("sys/class/power_supply/{name}/{file}");
            match tree.text(&file("type")).as_deref() {
                Some("Battery") => {
                    // A mouse has a battery too, and a bay may be empty.
                    let of_accessory = tree.text(&file("scope")).as_deref() == Some("Device");
                    let is_absent = tree.text(&file("present")).as_deref() == Some("0");
                    if !of_accessory && !is_absent {
                        cells.push(Cell::read(tree, &name));
                    }
                }
                Some(kind) if OTHER_SUPPLIES.contains(&kind) => {
                    if let Some(state) = tree.number::<u8>(&file("online")) {
                        // 1 and 2 are online, fixed and programmable.
                        online = Some(online.unwrap_or(false) || state > 0);
                    }
                }
                _ => unclear = true,
            }
        }
        if cells.is_empty() {
            let battery = if unclear {
                Battery::Unknown
            } else {
                Battery::Absent
            };
            return Self {
                battery,
                ..Self::UNKNOWN
            };
        }
        Self {
            battery: level_percent(&cells).map_or(Battery::Unknown, |level_percent| {
                Battery::Present {
                    level_percent,
                    charging: is_connected(&cells, online),
                }
            }),
            has_battery: true,
            temperature_celsius: cells
                .iter()
                .filter_map(|cell| cell.temperature_celsius)
                .reduce(f64::max),
        }
    }

    const UNKNOWN: Self = Self {
        battery: Battery::Unknown,
        has_battery: false,
        temperature_celsius: None,
    };
}

/// One battery of the device.
struct Cell {
    level_percent: Option<f64>,
    /// Energy when full, in microwatt hours: how much its level weighs.
    energy_full: Option<f64>,
    status: Option<String>,
    temperature_celsius: Option<f64>,
}

impl Cell {
    fn read(tree: &Tree, name: &str) -> Self {
        let file = |file: &str| format!("sys/class/power_supply/{name}/{file}");
        Self {
            level_percent: tree
                .number::<f64>(&file("capacity"))
                .filter(|level| (0.0..=100.0).contains(level)),
            energy_full: tree
                .number::<f64>(&file("energy_full"))
                .filter(|energy| energy.is_finite() && *energy > 0.0),
            status: tree.text(&file("status")),
            // Tenths of a degree.
            temperature_celsius: tree
                .number::<f64>(&file("temp"))
                .map(|tenths| tenths / 10.0)
                .filter(|celsius| (-40.0..=120.0).contains(celsius)),
        }
    }
}

/// The level over all batteries, by energy where every one tells it. Unknown if one is: it may be
/// the empty one.
fn level_percent(cells: &[Cell]) -> Option<f64> {
    let by_energy = cells.iter().all(|cell| cell.energy_full.is_some());
    let (mut sum, mut weights) = (0.0, 0.0);
    for cell in cells {
        let weight = if by_energy { cell.energy_full? } else { 1.0 };
        sum += weight * cell.level_percent?;
        weights += weight;
    }
    Some((sum / weights).clamp(0.0, 100.0))
}

/// Whether the device is connected to power. If nothing tells, it is not: the safe side.
fn is_connected(cells: &[Cell], online: Option<bool>) -> bool {
    let has = |status: &str| {
        cells
            .iter()
            .any(|cell| cell.status.as_deref() == Some(status))
    };
    if has("Discharging") {
        false
    } else if has("Charging") || has("Full") || has("Not charging") {
        // "Not charging" is connected and held, for example at a charge limit.
        true
    } else {
        online.unwrap_or(false)
    }
}
