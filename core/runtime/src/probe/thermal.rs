//! How hot the device is.

use super::tree::Tree;

/// The hottest plausible reading in degrees Celsius, batteries excepted: they have a limit of
/// their own.
///
/// Which sensor is the processor's has no common name, so all count: the hottest part is the one
/// that more work would harm.
pub(super) fn hottest(tree: &Tree) -> Option<f64> {
    let mut hottest: Option<f64> = None;
    let mut take = |sensor: Option<String>, path: String| {
        if sensor.is_some_and(|sensor| is_of_battery(&sensor)) {
            return;
        }
        let celsius = tree.number::<f64>(&path).map(|milli| milli / 1_000.0);
        if let Some(celsius) = celsius.filter(|celsius| is_plausible(*celsius)) {
            hottest = Some(hottest.map_or(celsius, |hottest| hottest.max(celsius)));
        }
    };
    for zone in tree.entries("sys/class/thermal").unwrap_or_default() {
        if zone.starts_with("thermal_zone") {
            let file = |file: &str| format!("sys/class/thermal/{zone}/{file}");
            take(tree.text(&file("type")), file("temp"));
        }
    }
    for chip in tree.entries("sys/class/hwmon").unwrap_or_default() {
        let folder = format!("sys/class/hwmon/{chip}");
        for file in tree.entries(&folder).unwrap_or_default() {
            if file.starts_with("temp") && file.ends_with("_input") {
                take(
                    tree.text(&format!("{folder}/name")),
                    format!("{folder}/{file}"),
                );
            }
        }
    }
    hottest
}

fn is_of_battery(sensor: &str) -> bool {
    let sensor = sensor.to_ascii_lowercase();
    sensor.contains("bat") || sensor.contains("bms")
}

/// Sensors without a part behind them report 0, -273 or 127 degrees and more.
fn is_plausible(celsius: f64) -> bool {
    celsius != 0.0 && (-40.0..=125.0).contains(&celsius)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_sensors_without_a_part_are_not_plausible() {
        for celsius in [
            0.0,
            -0.0,
            -273.2,
            -127.0,
            127.0,
            255.0,
            f64::NAN,
            f64::INFINITY,
        ] {
            assert!(!is_plausible(celsius), "{celsius}");
        }
        for celsius in [-20.0, 0.1, 45.0, 105.0] {
            assert!(is_plausible(celsius), "{celsius}");
        }
    }

    #[test]
    fn battery_sensors_are_known_by_their_names() {
        for sensor in ["battery", "BAT0", "batt_therm", "bms"] {
            assert!(is_of_battery(sensor), "{sensor}");
        }
        for sensor in ["x86_pkg_temp", "acpitz", "cpu-0-0", "k10temp"] {
            assert!(!is_of_battery(sensor), "{sensor}");
        }
    }
}
