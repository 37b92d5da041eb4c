//! Rows T01 to T54 of the specification's test table (section 9), through the tree. A test is named
//! after its row. Where a transcript says otherwise the row is adjusted, and says so. T55 to T71 are in
//! `guests.rs`, as far as they concern the host.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use common::{Fake, boot};
use sysfs::Session;

const F0: &str = "card 4 12 A; card 5 12 A; card 6 12 A; dom 4; dom 5; dom 6; dom 71; \
                  cdom 4; cdom 5; cdom 6; cdom 16; cdom 71; na 63; nd 84";
const M: &str = "62177883-f1bb-47f0-914d-32a22e3a8804";
const N: &str = "cef03c3c-903d-4ecc-9a83-40694cb8aee4";
const TYPE: &str = "devices/vfio_ap/matrix/mdev_supported_types/vfio_ap-passthrough";

/// A session that is written to and read from in the table's shorthand.
struct Row(Session<Fake>);

impl Row {
    fn f0() -> Self {
        Self(boot(F0))
    }

    /// F0, then `-5,-6` written to apmask.
    fn f1() -> Self {
        let mut row = Self::f0();
        row.w("apmask", "-5,-6", "ok");
        row
    }

    /// F1 with the fresh mdev M.
    fn m() -> Self {
        let mut row = Self::f1();
        row.w("create", M, "ok");
        row
    }

    /// F1 with the fresh mdevs M and N.
    fn mn() -> Self {
        let mut row = Self::m();
        row.w("create", N, "ok");
        row
    }

    /// M has {5} x {4}.
    fn m54() -> Self {
        let mut row = Self::mn();
        row.ok("A+5 D+4");
        row
    }

    fn path(file: &str) -> String {
        match file {
            "create" | "name" | "device_api" | "available_instances" => format!("{TYPE}/{file}"),
            "features/matrix" => String::from("devices/vfio_ap/matrix/features"),
            "matrix" | "guest_matrix" | "control_domains" | "ap_config" | "remove" => {
                format!("devices/vfio_ap/matrix/{M}/{file}")
            }
            _ => match file.strip_prefix("N/") {
                Some(file) => format!("devices/vfio_ap/matrix/{N}/{file}"),
                None if file.starts_with("bus/") || file.starts_with("devices/") => {
                    String::from(file)
                }
                None => format!("bus/ap/{file}"),
            },
        }
    }

    /// One write and its answer: `ok` or the name of the errno.
    #[track_caller]
    fn w(&mut self, file: &str, text: &str, answer: &str) {
        let result = self.0.write(&Self::path(file), text.as_bytes());
        let answered = result.map_or_else(|error| error.errno().name(), |_| "ok");
        assert_eq!(answered, answer, "{file} <- {text:?}");
    }

    /// Content of a file; lines end with `|` instead of newlines.
    #[track_caller]
    fn r(&mut self, file: &str, content: &str) {
        let text = String::from_utf8(self.0.read(&Self::path(file)).unwrap()).unwrap();
        assert_eq!(text.replace('\n', "|"), content, "{file}");
    }

    /// Assignments such as `A+5 D-0x47 N:C+4` with one answer for each.
    #[track_caller]
    fn a(&mut self, steps: &str, answers: &str) {
        let answers: Vec<&str> = answers.split(' ').collect();
        for (index, step) in steps.split(' ').enumerate() {
            let (prefix, step) = step
                .strip_prefix("N:")
                .map_or(("M", step), |step| ("N", step));
            let uuid = if prefix == "N" { N } else { M };
            let verb = if step[1..].starts_with('+') {
                "assign"
            } else {
                "unassign"
            };
            let kind = match &step[..1] {
                "A" => "adapter",
                "D" => "domain",
                _ => "control_domain",
            };
            let path = format!("devices/vfio_ap/matrix/{uuid}/{verb}_{kind}");
            self.w(
                &path,
                &step[2..],
                answers.get(index).copied().unwrap_or("ok"),
            );
        }
    }

    #[track_caller]
    fn ok(&mut self, steps: &str) {
        self.a(steps, "ok");
    }

    #[track_caller]
    fn both(&mut self, content: &str) {
        self.r("matrix", content);
        self.r("guest_matrix", content);
    }

    fn drivers(&self, driver: &str) -> String {
        let names = self.0.list(&format!("bus/ap/drivers/{driver}")).unwrap();
        let queues: Vec<String> = names
            .iter()
            .filter_map(|name| name.strip_suffix('@'))
            .map(String::from)
            .collect();
        queues.join(" ")
    }
}

fn hex(start: &str) -> String {
    format!("0x{start:0<64}")
}

fn ones(start: &str) -> String {
    format!("0x{start:f<64}|")
}

#[test]
fn t01() {
    let mut row = Row::f0();
    row.r("apmask", &ones(""));
    row.r("bindings", "12/12 (complete)|");
    row.r("features", "APSC APXA QACT RC8A APSB|");
    row.r("ap_max_adapter_id", "63|");
    row.r("ap_max_domain_id", "84|");
}

#[test]
fn t02() {
    let mut row = Row::f0();
    row.r("ap_adapter_mask", &(hex("0e") + "|"));
    row.r("ap_usage_domain_mask", &(hex("0e0000000000000001") + "|"));
    row.r("ap_control_domain_mask", &(hex("0e0080000000000001") + "|"));
}

#[test]
fn t03() {
    let mut row = Row::f1();
    row.r("apmask", &ones("f9"));
    assert_eq!(
        row.drivers("vfio_ap"),
        "05.0004 05.0005 05.0006 05.0047 06.0004 06.0005 06.0006 06.0047"
    );
    row.r("bindings", "12/12 (complete)|");
}

#[test]
fn t04() {
    let mut row = Row::f0();
    row.w("aqmask", "-4,-0x47", "ok");
    row.r("aqmask", &ones("f7fffffffffffffffe"));
    assert_eq!(
        row.drivers("vfio_ap"),
        "04.0004 04.0047 05.0004 05.0047 06.0004 06.0047"
    );
}

#[test]
fn t05() {
    let mut row = Row::f0();
    row.w("apmask", "0x41", "ok");
    row.r("apmask", &(hex("41") + "|"));
    assert_eq!(row.drivers("cex4queue"), "");
}

#[test]
fn t06_t07_t08_t11() {
    let mut row = Row::f0();
    let long = "f".repeat(65);
    for text in [
        &long, "+256", "+5-3", "+1 +2", "+", "5,6x", "0Xff", "-5,+300",
    ] {
        row.w("apmask", text, "EINVAL");
        row.r("apmask", &ones(""));
    }
    row.w("aqmask", "\n", "ok");
    row.r("aqmask", &(hex("") + "|"));
}

#[test]
fn t09_t10_t12() {
    let mut row = Row::f0();
    row.w("apmask", "+1,-1", "ok");
    row.r("apmask", &ones("b"));
    row.w("apmask", "-0-255,+0-15", "ok");
    row.r("apmask", &(hex("ffff") + "|"));
    row.w("drivers/vfio_ap/unbind", "05.0004", "ENODEV");
    row.w("aqmask", "-4", "ok");
    row.w("drivers/vfio_ap/unbind", "05.0004", "ok");
    row.w("apmask", "0xffff", "ok");
    row.r("bindings", "11/12|");
}

#[test]
fn t13() {
    let mut row = Row::f1();
    row.w("drivers/vfio_ap/bind", "04.0004", "EBUSY");
    row.w("drivers/cex4queue/unbind", "04.0004", "ok");
    row.w("drivers/vfio_ap/bind", "04.0004", "ENODEV");
}

#[test]
fn t14_t15() {
    let mut row = Row::f0();
    for (text, answer) in [
        ("4", "EINVAL"),
        ("121", "EINVAL"),
        ("abc", "EINVAL"),
        ("5", "ok"),
    ] {
        row.w("config_time", text, answer);
    }
    for (text, answer) in [("85", "EINVAL"), ("-1", "EINVAL"), ("6", "ok")] {
        row.w("ap_domain", text, answer);
    }
    row.w("aqmask", "-6", "ok");
    row.w("ap_domain", "6", "EINVAL");
}

#[test]
fn t16_t18() {
    let mut row = Row::m54();
    row.w("apmask", "+5", "EBUSY");
    row.r("apmask", &ones("f9"));
    row.w("apmask", "-4", "ok");
}

#[test]
fn t17() {
    let mut row = Row::m();
    row.ok("A+5");
    row.w("apmask", "+5", "ok");
    assert!(row.drivers("cex4queue").contains("05.0004 05.0005"));
}

#[test]
fn t19_as_since_6_19() {
    let mut row = Row::f0();
    row.w("aqmask", "-4", "ok");
    row.w("create", M, "ok");
    row.ok("A+4 D+4");
    row.w("apmask", "-4", "ok");
    row.w("apmask", "+4", "EBUSY");
}

#[test]
fn t20_t21_t22() {
    let mut row = Row::f1();
    row.r("name", "VFIO AP Passthrough Device|");
    row.r("device_api", "vfio-ap|");
    row.r("available_instances", "65536|");
    row.r("features/matrix", "guest_matrix hotplug ap_config|");
    row.w("create", &M.to_uppercase(), "ok");
    row.r("available_instances", "65535|");
    row.both("");
    row.r("control_domains", "");
    row.r(
        "ap_config",
        &format!("{},{},{}|", hex(""), hex(""), hex("")),
    );
    row.w("create", M, "EEXIST");
    for text in ["foo", &M[1..], &format!("{M}xx")] {
        row.w("create", text, "EINVAL");
    }
}

#[test]
fn t23() {
    let mut row = Row::m();
    row.w("remove", "0", "ok");
    row.w("remove", "x", "EINVAL");
    row.w("remove", "1", "ok");
    row.r("available_instances", "65536|");
}

#[test]
fn t24_t25_t26() {
    let mut row = Row::m();
    row.ok("A+5");
    row.both("05.|");
    row.ok("A-5 D+4");
    row.both(".0004|");
    row.ok("A+5 A+6 D+0x47");
    row.both("05.0004|05.0047|06.0004|06.0047|");
    let config = format!("{},{},{}|", hex("06"), hex("080000000000000001"), hex(""));
    row.r("ap_config", &config);
}

#[test]
fn t27_t28_t29_t30_t31() {
    let mut row = Row::m();
    row.a("A+64 D+85 C+85 A-64", "ENODEV ENODEV ENODEV ENODEV");
    let assign = format!("devices/vfio_ap/matrix/{M}/assign_adapter");
    for text in ["abc", "\n", "-1", "5 ", " 5", "08", "0x", "1e"] {
        row.w(&assign, text, "EINVAL");
    }
    row.w(&assign, "18446744073709551616", "ERANGE");
    row.ok("A+0x5 A++6 A+010 A+5");
    row.r("matrix", "05.|06.|08.|");
}

#[test]
fn t32_t33() {
    let mut row = Row::m();
    row.a("D+4 A+4", "ok EADDRNOTAVAIL");
    row.r("matrix", ".0004|");
    row.a("D-4 A+4 D+4", "ok ok EADDRNOTAVAIL");
    row.r("matrix", "04.|");
}

#[test]
fn t34() {
    let mut row = Row::m54();
    row.a("N:A+5 N:D+4 N:D+5", "ok EADDRINUSE ok");
    row.r("N/matrix", "05.0005|");
}

#[test]
fn t35() {
    let mut row = Row::m54();
    row.a("N:D+4 N:A+4 N:A+5", "ok EADDRNOTAVAIL EADDRINUSE");
}

#[test]
fn t36() {
    let mut row = Row::m54();
    row.a("N:A+4 N:A+5 N:D+4", "ok ok EADDRNOTAVAIL");
    row.r("N/matrix", "04.|05.|");
}

#[test]
fn t37_t38_t39() {
    let mut row = Row::m54();
    row.a("A+20", "EADDRNOTAVAIL");
    row.w("apmask", "-20", "ok");
    row.ok("A+20");
    row.r("matrix", "05.0004|14.0004|");
    row.r("guest_matrix", "05.0004|");
    row.ok("A-20 D+20");
    row.r("matrix", "05.0004|05.0014|");
    row.r("guest_matrix", "05.0004|");
}

#[test]
fn t40_t41() {
    let mut row = Row::m54();
    row.ok("A+6");
    row.w("drivers/vfio_ap/unbind", "06.0004", "ok");
    row.r("matrix", "05.0004|06.0004|");
    row.r("guest_matrix", "05.0004|");
    row.w("drivers/vfio_ap/bind", "06.0004", "ok");
    row.both("05.0004|06.0004|");
}

#[test]
fn t42_t43() {
    let mut row = Row::m54();
    row.ok("A+6 D+0x47");
    row.w("drivers/vfio_ap/unbind", "05.0047", "ok");
    row.r("guest_matrix", "06.0004|06.0047|");
    row.ok("D-0x47");
    row.r("matrix", "05.0004|06.0004|");
    row.r("guest_matrix", "06.0004|");
    let config = row.0.read(&Row::path("ap_config")).unwrap();
    row.w("ap_config", &String::from_utf8(config).unwrap(), "ok");
    row.r("guest_matrix", "05.0004|06.0004|");
}

#[test]
fn t44_t45() {
    let mut row = Row::m54();
    row.ok("A+6 D-4");
    row.both("05.|06.|");
    row.ok("A-5 A-6 A-7");
    row.both("");
}

#[test]
fn t46_t47() {
    let mut row = Row::mn();
    row.ok("C+0x10 C+7 C+0x10 C+4 N:C+4");
    row.r("control_domains", "0004|0007|0010|");
}

#[test]
fn t48_t49() {
    let mut row = Row::m();
    row.w("ap_config", "0x06,0x08,0x00008", "ok");
    row.both("05.0004|06.0004|");
    row.r("control_domains", "0010|");
    row.w("ap_config", "06,08,0", "ok");
    row.both("05.0004|06.0004|");
}

#[test]
fn t50() {
    let mut row = Row::m54();
    row.ok("C+4");
    let long = format!("0x{},0x08,0x0", "0".repeat(65));
    for text in ["0x06,0x08", "\n", "0x06\n", "0x06,zz,0x0", &long] {
        row.w("ap_config", text, "EINVAL");
        row.both("05.0004|");
    }
    row.w("ap_config", "0x06,0x08\n", "ok");
    row.both("05.0004|06.0004|");
    row.r("control_domains", "");
}

#[test]
fn t51() {
    for text in [",,", ",\n", "0x0,0x0,0x0,junk"] {
        let mut row = Row::m54();
        row.w("ap_config", text, "ok");
        row.both("");
    }
}

#[test]
fn t52_t53() {
    let mut row = Row::m54();
    row.w("ap_config", "0x0c,0x08,0x0", "EADDRNOTAVAIL");
    row.both("05.0004|");
    row.w("N/ap_config", "0x06,0x08,0x0", "EADDRINUSE");
    row.r("N/matrix", "");
}

#[test]
fn t54() {
    let mut row = Row::m();
    let text = format!("{},0x08,0x0", hex("00000000000000008"));
    row.w("ap_config", &text, "EADDRNOTAVAIL");
    row.w("apmask", "-64", "ok");
    row.w("ap_config", &text, "ENODEV");
    row.both("");
}

#[test]
fn t79_limits_without_qci() {
    let mut fake = Fake::new("card 3 14 A; dom 6");
    fake.hardware.remove_qci();
    let mut row = Row(Session::boot(&matrix::BootConfig::default(), fake));
    row.w("create", M, "ok");
    row.a("A+64 A+63 D+16", "ENODEV ok ENODEV");
    row.w("apmask", "0x", "ok");
    row.ok("A+3 D+6");
    row.r("matrix", "03.0006|3f.0006|");
    row.r("guest_matrix", "");
    row.r("ap_adapter_mask", "not supported|");
    row.r("features", "-|");
}
