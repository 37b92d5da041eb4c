//! `-device vfio-ap,...` in QEMU's key=value form and in the JSON form that libvirt uses.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::admin::parse_uuid;

/// The UUID of the mediated device, if this is a vfio-ap device at all.
pub(super) fn parse_vfio_ap(value: &str) -> Option<Result<String>> {
    if value.trim_start().starts_with('{') {
        let device: Value = serde_json::from_str(value).ok()?;
        return (device["driver"] == "vfio-ap").then(|| uuid_of(device["sysfsdev"].as_str()));
    }
    let mut words = value.split(',');
    let driver = words.next()?;
    if driver != "vfio-ap" && driver != "driver=vfio-ap" {
        return None;
    }
    Some(uuid_of(
        words.find_map(|word| word.strip_prefix("sysfsdev=")),
    ))
}

fn uuid_of(sysfsdev: Option<&str>) -> Result<String> {
    let path = sysfsdev.context("the vfio-ap device has no sysfsdev= (an mdev's directory)")?;
    let name = path
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default();
    parse_uuid(name).with_context(|| format!("sysfsdev={path} is no mediated device"))
}
