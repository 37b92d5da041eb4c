//! `apmatrix-qemu`: QEMU's command line with the passthrough device replaced by our plugin.
//!
//! libvirt, kata and scripts ask for `-device vfio-ap,sysfsdev=/sys/devices/vfio_ap/matrix/UUID` and for
//! AP features of the CPU model. Neither exists under TCG. Here the device becomes `-plugin
//! libapmatrix_qemu.so,socket=...`, the features move from `-cpu` to the plugin, and everything else,
//! capability probing too, passes through untouched.

mod cpu;
mod device;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::launch::poke::{self, Poke};

/// What the rewriting needs to know about this machine.
#[derive(Debug)]
pub(crate) struct Surroundings<'s> {
    /// The plugin; asked for only when a device is to be replaced.
    pub(crate) plugin: &'s dyn PluginFinder,
    /// The folder of the device channels.
    pub(crate) sockets: PathBuf,
    /// What wakes an idle guest, if there is something.
    pub(crate) poke: Option<Poke>,
}

/// Finds the plugin's file.
pub(crate) trait PluginFinder: std::fmt::Debug {
    /// The plugin's file.
    ///
    /// # Errors
    /// When it is nowhere; says where it was looked for.
    fn find(&self) -> Result<PathBuf>;
}

/// Rewrites QEMU's arguments.
///
/// # Errors
/// When a vfio-ap device names no mediated device, when there are two (QEMU allows one), or when the
/// plugin is missing.
pub(crate) fn rewrite(arguments: &[OsString], around: &Surroundings<'_>) -> Result<Vec<OsString>> {
    let mut rewritten = Vec::with_capacity(arguments.len() + 1);
    let mut uuid: Option<String> = None;
    let mut features: Option<Vec<&'static str>> = None;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let option = argument
            .to_str()
            .map(|text| text.strip_prefix('-').unwrap_or(text));
        let option = option.map(|text| text.strip_prefix('-').unwrap_or(text));
        match (
            option,
            argument.to_str().is_some_and(|text| text.starts_with('-')),
        ) {
            (Some("device"), true) => {
                let Some(value) = rest.next() else {
                    bail!("-device wants a value")
                };
                match value.to_str().and_then(device::parse_vfio_ap).transpose()? {
                    Some(_) if uuid.is_some() => {
                        bail!("a guest can have one vfio-ap device only")
                    }
                    Some(found) => uuid = Some(found),
                    None => rewritten.extend([argument.clone(), value.clone()]),
                }
            }
            (Some("cpu"), true) => {
                let Some(value) = rest.next() else {
                    bail!("-cpu wants a value")
                };
                rewritten.push(argument.clone());
                match value.to_str().map(cpu::split_features) {
                    Some((model, asked)) => {
                        features = asked;
                        rewritten.push(model.into());
                    }
                    None => rewritten.push(value.clone()),
                }
            }
            _ => rewritten.push(argument.clone()),
        }
    }
    if let Some(uuid) = uuid {
        let features = features.unwrap_or_else(|| cpu::DEFAULT_FEATURES.to_vec());
        let mut plugin = plugin_argument(&around.plugin.find()?, &around.sockets, &uuid, &features);
        // The first serial line is the guest's console, whatever that is.
        match (&around.poke, poke::conflict(&rewritten, 1)) {
            (Some(poke), None) => {
                let (name, value) = poke.plugin_argument();
                plugin.push(format!(",{name}={value}"));
                rewritten.extend(poke.qemu_arguments());
            }
            (_, Some(argument)) => poke::say_what_is_lost(argument),
            (None, None) => {}
        }
        rewritten.extend(["-plugin".into(), plugin]);
    }
    Ok(rewritten)
}

/// `FILE,socket=PATH,cpu-features=ap+apft+apqci`; QEMU wants a comma in a value doubled.
pub(crate) fn plugin_argument(
    plugin: &Path,
    sockets: &Path,
    uuid: &str,
    features: &[&str],
) -> OsString {
    let socket = sockets.join(format!("{uuid}.sock"));
    let double = |path: &Path| path.display().to_string().replace(',', ",,");
    format!(
        "{},socket={},cpu-features={}",
        double(plugin),
        double(&socket),
        features.join("+")
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "62177883-f1bb-47f0-914d-32a22e3a8804";

    #[derive(Debug)]
    struct At(&'static str);

    impl PluginFinder for At {
        fn find(&self) -> Result<PathBuf> {
            Ok(self.0.into())
        }
    }

    fn run(arguments: &[&str]) -> Result<Vec<String>> {
        let around = Surroundings {
            plugin: &At("/p/plugin.so"),
            sockets: "/run/x/mdev".into(),
            poke: None,
        };
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        let rewritten = rewrite(&arguments, &around)?;
        Ok(rewritten
            .into_iter()
            .map(|argument| argument.into_string().unwrap())
            .collect())
    }

    #[test]
    fn probing_passes_through_untouched() {
        for line in [
            &["-machine", "none", "-nodefaults", "-qmp", "unix:/x"][..],
            &["--version"],
            &["-device", "virtio-net-ccw,netdev=n"],
            &["-cpu", "max"],
            &["-append", "console=ttysclp0 -device"],
        ] {
            assert_eq!(run(line).unwrap(), line);
        }
    }

    #[test]
    fn the_device_becomes_the_plugin_and_features_move() {
        let device = format!("vfio-ap,id=hostdev0,sysfsdev=/sys/devices/vfio_ap/matrix/{UUID}");
        let rewritten = run(&[
            "-cpu",
            "qemu,ap=on,apft=on,vx=off",
            "-device",
            &device,
            "-m",
            "512",
        ])
        .unwrap();
        let plugin = format!("/p/plugin.so,socket=/run/x/mdev/{UUID}.sock,cpu-features=ap+apft");
        assert_eq!(
            rewritten,
            ["-cpu", "qemu,vx=off", "-m", "512", "-plugin", &plugin]
        );
    }

    #[test]
    fn libvirts_json_form() {
        let device = format!(
            r#"{{"driver":"vfio-ap","id":"hostdev0","sysfsdev":"/sys/bus/mdev/devices/{UUID}"}}"#
        );
        let rewritten = run(&["-device", &device]).unwrap();
        let plugin =
            format!("/p/plugin.so,socket=/run/x/mdev/{UUID}.sock,cpu-features=ap+apft+apqci");
        assert_eq!(rewritten, ["-plugin", &plugin]);
    }

    #[test]
    fn the_guest_gets_a_console_that_wakes_it_unless_it_has_one() {
        let device = format!("vfio-ap,sysfsdev=/sys/devices/vfio_ap/matrix/{UUID}");
        let rewritten = |more: &[&str]| {
            let around = Surroundings {
                plugin: &At("/p/plugin.so"),
                sockets: "/run/x/mdev".into(),
                poke: Some(Poke::new().unwrap()),
            };
            let words = [&["-device", &device, "-serial", "stdio"], more].concat();
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            let rewritten = rewrite(&words, &around).unwrap();
            let words = rewritten.iter().map(|word| word.to_str().unwrap());
            words.collect::<Vec<_>>().join(" ")
        };
        let with = rewritten(&[]);
        assert!(
            with.contains("-device sclplmconsole,") && with.contains(",poke="),
            "{with}"
        );
        let without = rewritten(&["-serial", "null"]);
        assert!(
            !without.contains("sclplm") && !without.contains("poke"),
            "{without}"
        );
    }

    #[test]
    fn a_second_or_nameless_device_is_refused() {
        let device = format!("vfio-ap,sysfsdev=/sys/devices/vfio_ap/matrix/{UUID}");
        assert!(run(&["-device", &device, "-device", &device]).is_err());
        assert!(run(&["-device", "vfio-ap"]).is_err());
        assert!(
            run(&[
                "-device",
                "vfio-ap,sysfsdev=/sys/devices/vfio_ap/matrix/none"
            ])
            .is_err()
        );
        assert!(run(&["-device"]).is_err());
    }
}
