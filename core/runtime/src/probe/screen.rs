//! Whether anybody can see anything.

use super::tree::Tree;

/// Whether a display is lit: connected, driven, and not asleep. Unknown without displays, and if one
/// that is connected does not tell.
pub(super) fn is_lit(tree: &Tree) -> Option<bool> {
    let mut any = false;
    let mut unclear = false;
    for connector in tree.entries("sys/class/drm").unwrap_or_default() {
        let text = |file: &str| tree.text(&format!("sys/class/drm/{connector}/{file}"));
        if text("status").as_deref() != Some("connected") {
            continue;
        }
        any = true;
        match (text("enabled").as_deref(), text("dpms").as_deref()) {
            (Some("disabled"), _) | (_, Some("Off" | "Standby" | "Suspend")) => {}
            (Some("enabled") | None, Some("On")) => return Some(true),
            _ => unclear = true,
        }
    }
    (any && !unclear).then_some(false)
}
