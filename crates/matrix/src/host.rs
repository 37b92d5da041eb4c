//! [`Host`]: the AP bus and `vfio_ap` together.

use std::time::Duration;

use arch::{Apid, MaskEdit, ResponseCode};
use bus::{Bus, BusConfig, BusError, Device};

use crate::command::Command;
use crate::driver::Driver;
use crate::effect::{Effect, Effects, Outcome};
use crate::error::HostError;
use crate::platform::Platform;
use crate::state::State;

/// How a host boots.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BootConfig {
    /// `ap.apmask`, applied on an all-zero mask (spec 2.2); `None`: all ones. A text that does not
    /// parse is an all-zero mask: `MaskEdit::absolute(Mask256::EMPTY)`.
    pub apmask: Option<MaskEdit>,
    /// `ap.aqmask`, likewise.
    pub aqmask: Option<MaskEdit>,
    /// `ap.useirq`: the bus uses AP interrupts when the facility is there.
    pub use_interrupts: bool,
    /// Absolute address of the notification bytes that the host's default driver names in AQIC.
    pub notification_area: Option<u64>,
    /// Whether unassign re-filters the guest's view. Linux does not (quirk K2).
    pub refilter_on_unassign: bool,
}

impl Default for BootConfig {
    fn default() -> Self {
        Self {
            apmask: None,
            aqmask: None,
            use_interrupts: true,
            notification_area: Some(0x1_0000),
            refilter_on_unassign: false,
        }
    }
}

impl BootConfig {
    /// The parameters of the bus.
    pub(crate) fn bus(&self) -> BusConfig {
        BusConfig {
            apmask: self.apmask,
            aqmask: self.aqmask,
            use_interrupts: self.use_interrupts,
            notification_area: self.notification_area,
            plugged: Some("vfio_ap"),
            ..BusConfig::default()
        }
    }
}

/// A host. `Clone` copies a few pointers; equality compares everything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host {
    pub(crate) bus: Bus,
    pub(crate) matrix: State,
}

impl Host {
    /// Boots: bus, first scan, then `vfio_ap`.
    #[must_use]
    pub fn boot(config: &BootConfig, platform: &mut dyn Platform) -> Self {
        let mut bus = Bus::new(config.bus(), &mut &mut *platform);
        let mut matrix = State::new(config.refilter_on_unassign);
        let mut effects = Vec::new();
        let mut driver = Driver {
            state: &mut matrix,
            platform,
            effects: &mut effects,
            began: Vec::new(),
        };
        bus.scan(&mut driver);
        if let Some(qci) = bus.qci() {
            driver.state.config = *qci;
        }
        bus.plug(&mut driver);
        Self { bus, matrix }
    }

    /// Boots again on the hardware as it is now: everything as after [`boot`](Self::boot), but
    /// mediated devices are counted on, so that no number names two of them in one platform's life.
    #[must_use]
    pub fn reboot(&self, config: &BootConfig, platform: &mut dyn Platform) -> Self {
        let mut host = Self::boot(config, platform);
        host.matrix.next_serial = self.matrix.next_serial;
        host
    }

    /// The AP bus.
    #[must_use]
    pub const fn bus(&self) -> &Bus {
        &self.bus
    }

    /// The matrix device.
    #[must_use]
    pub const fn matrix(&self) -> &State {
        &self.matrix
    }

    /// When queues in reset are to be looked at: [`Command::TimePassed`] is due after this time at the
    /// latest. `None` while no reset takes time.
    #[must_use]
    pub fn next_look(&self) -> Option<Duration> {
        let looks = [self.bus.next_look(), self.matrix.next_look()];
        looks.into_iter().flatten().min()
    }

    /// Applies a command.
    ///
    /// On `Err` the platform was not asked for anything that changes it, but `self` may have changed
    /// in part: apply to a clone and keep it only on success.
    ///
    /// # Errors
    /// [`HostError`], with the errno that Linux answers.
    pub fn apply(
        &mut self,
        command: Command,
        platform: &mut dyn Platform,
    ) -> Result<Effects, HostError> {
        let mut list = Vec::new();
        let outcome = self.perform(command, platform, &mut list)?;
        Ok(Effects { outcome, list })
    }

    fn perform(
        &mut self,
        command: Command,
        platform: &mut dyn Platform,
        effects: &mut Vec<Effect>,
    ) -> Result<Outcome, HostError> {
        let bus = &mut self.bus;
        let mut driver = Driver {
            state: &mut self.matrix,
            platform,
            effects,
            began: Vec::new(),
        };
        let driver = &mut driver;
        match command {
            Command::Nothing => {}
            Command::Rescan | Command::HardwareChanged => bus.scan(driver),
            Command::EditMask { mask, edit } => bus.edit_mask(mask, &edit, driver)?,
            Command::SetDefaultDomain(domain) => bus.set_default_domain(domain)?,
            Command::SetConfigTime(seconds) => bus.set_config_time(seconds)?,
            Command::SetPollThread(run) => bus.set_poll_thread(run),
            Command::SetPollTimeout(nanoseconds) => bus.set_poll_timeout(nanoseconds)?,
            Command::SetAutoprobe(autoprobe) => bus.set_autoprobe(autoprobe),
            Command::ProbeDevice(device) => bus.probe(&device, driver)?,
            Command::Bind {
                driver: taker,
                device,
            } => bus.bind(taker, &device, driver)?,
            Command::Unbind {
                driver: holder,
                device,
            } => bus.unbind(holder, &device, driver)?,
            Command::SetOverride { apqn, driver } => bus.set_override(apqn, driver.as_deref())?,
            Command::SetCardOnline(apid, online) => bus.set_card_online(apid, online, driver)?,
            Command::SetQueueOnline(apqn, online) => bus.set_queue_online(apqn, online, driver)?,
            Command::ConfigureAdapter(apid, config) => configure(bus, driver, apid, config)?,
            Command::ClearCardRequests(apid) => bus.clear_card_requests(apid)?,
            Command::ClearQueueRequests(apqn) => bus.clear_queue_requests(apqn)?,
            Command::ResetQueue(apqn) => bus.reset_queue(apqn, driver)?,
            Command::CreateMdev(mdev) => driver.create(mdev)?,
            Command::RemoveMdev(mdev) => return Ok(driver.remove_mdev(mdev)?),
            Command::Assign { mdev, kind, number } => driver.assign(bus, mdev, kind, number)?,
            Command::Unassign { mdev, kind, number } => driver.unassign(mdev, kind, number)?,
            Command::Configure { mdev, masks } => driver.configure(bus, mdev, &masks)?,
            Command::Open { mdev, vm } => driver.open(mdev, vm)?,
            Command::Close(mdev) => driver.close(mdev)?,
            Command::ResetDevice(mdev) => driver.reset_device(mdev)?,
            Command::RepeatReleaseRequest(mdev) => driver.request_release(mdev)?,
            Command::TimePassed(passed) => {
                bus.pass_time(passed, driver);
                driver.pass_time(passed, &|apqn| bus.is_host_driven(apqn));
            }
            Command::Filter(mdev) => driver.refilter_queues(mdev),
        }
        Ok(driver.outcome())
    }
}

impl Driver<'_> {
    /// Whether the command is complete: it is when the resets that it asked for have ended.
    fn outcome(&self) -> Outcome {
        let state = &self.state;
        let (queues, ended): (Vec<_>, Vec<_>) = self
            .began
            .iter()
            .copied()
            .partition(|apqn| state.is_resetting(*apqn));
        let codes = ended
            .iter()
            .filter_map(|apqn| Some((*apqn, state.reset_status(*apqn)?)));
        let failed = codes
            .filter(|(_, code)| *code != ResponseCode::NORMAL)
            .min();
        match failed {
            _ if !queues.is_empty() => Outcome::Resetting {
                queues,
                failed: failed.is_some(),
            },
            Some((apqn, code)) => Outcome::ResetFailed { apqn, code },
            None => Outcome::Done,
        }
    }
}

/// A write to a card's `config` (spec 2.6): asks the firmware unless the card is so already. The
/// firmware's notification makes the bus rescan.
fn configure(
    bus: &mut Bus,
    driver: &mut Driver<'_>,
    apid: Apid,
    config: bool,
) -> Result<(), HostError> {
    let card = bus.card(apid).ok_or(BusError::Gone(Device::Card(apid)))?;
    if card.config == config {
        return Ok(());
    }
    let answer = driver.platform.configure_adapter(apid, config);
    answer.map_err(|errno| HostError::Firmware { apid, errno })?;
    bus.set_card_config(apid, config, driver)?;
    bus.scan(driver);
    Ok(())
}
