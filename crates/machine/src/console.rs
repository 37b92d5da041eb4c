//! The hardware console: what an operator does to the partition while it runs.
//!
//! Every operation is a change of the whole configuration, applied at once: the host sees the old or
//! the new hardware and nothing between. Guests keep their masks. Their queues that the hardware
//! loses answer 01, and when it gets them back they are plugged again, empty.

use arch::{ApType, Apid, Apqi, CardMode};

use crate::Machine;
use crate::partition::{AdapterConfig, ConfigError, PartitionConfig};
use crate::spec::SpecError;
use crate::sync::{lock, read, write};

/// Why the console refuses an operation. Nothing has changed then.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConsoleError {
    /// The adapter exists already.
    #[error("adapter {} exists already", .apid.0)]
    AdapterExists {
        /// The adapter.
        apid: Apid,
    },
    /// There is no such adapter.
    #[error("there is no adapter {}", .apid.0)]
    NoSuchAdapter {
        /// The adapter.
        apid: Apid,
    },
    /// The usage domain exists already.
    #[error("usage domain {} exists already", .apqi.0)]
    UsageDomainExists {
        /// The domain.
        apqi: Apqi,
    },
    /// There is no such usage domain.
    #[error("there is no usage domain {}", .apqi.0)]
    NoSuchUsageDomain {
        /// The domain.
        apqi: Apqi,
    },
    /// The control domain exists already.
    #[error("control domain {} exists already", .apqi.0)]
    ControlDomainExists {
        /// The domain.
        apqi: Apqi,
    },
    /// There is no such control domain.
    #[error("there is no control domain {}", .apqi.0)]
    NoSuchControlDomain {
        /// The domain.
        apqi: Apqi,
    },
    /// The configuration would not be one.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The SPEC is not one.
    #[error(transparent)]
    Spec(#[from] SpecError),
}

impl Machine {
    /// The configuration as it stands.
    #[must_use]
    pub fn config(&self) -> PartitionConfig {
        read(&self.hardware).config().clone()
    }

    /// Replaces the whole configuration. An adapter that stays with the same type and mode keeps its
    /// queues with what they hold.
    ///
    /// # Errors
    /// A number out of range, or other QCI flags than the machine was made with.
    pub fn replace(&self, config: PartitionConfig) -> Result<(), ConsoleError> {
        self.change(|current| {
            *current = config;
            Ok(())
        })
    }

    /// Replaces the whole configuration by a SPEC; the QCI flags stay.
    ///
    /// # Errors
    /// What is wrong with the SPEC.
    pub fn replace_by_spec(&self, spec: &str) -> Result<(), ConsoleError> {
        let mut config = PartitionConfig::parse_spec(spec)?;
        config.qci = self.qci_flags();
        self.replace(config)
    }

    /// Adds a configured adapter.
    ///
    /// # Errors
    /// The number is taken or out of range, or the type is 0.
    pub fn add_adapter(
        &self,
        apid: Apid,
        ap_type: ApType,
        mode: CardMode,
    ) -> Result<(), ConsoleError> {
        self.change(|config| {
            if config.adapters.contains_key(&apid) {
                return Err(ConsoleError::AdapterExists { apid });
            }
            let adapter = AdapterConfig::new(ap_type, mode);
            config.adapters.insert(apid, adapter);
            Ok(())
        })
    }

    /// Removes an adapter with all its queues.
    ///
    /// # Errors
    /// There is no such adapter.
    pub fn remove_adapter(&self, apid: Apid) -> Result<(), ConsoleError> {
        self.change(|config| match config.adapters.remove(&apid) {
            Some(_) => Ok(()),
            None => Err(ConsoleError::NoSuchAdapter { apid }),
        })
    }

    /// Adds a usage domain: every adapter gets a queue for it.
    ///
    /// # Errors
    /// The domain exists already or is out of range.
    pub fn add_domain(&self, apqi: Apqi) -> Result<(), ConsoleError> {
        self.change(|config| {
            if config.usage_domains.contains(apqi) {
                return Err(ConsoleError::UsageDomainExists { apqi });
            }
            config.usage_domains.insert(apqi);
            Ok(())
        })
    }

    /// Removes a usage domain with all its queues.
    ///
    /// # Errors
    /// There is no such usage domain.
    pub fn remove_domain(&self, apqi: Apqi) -> Result<(), ConsoleError> {
        self.change(|config| {
            if !config.usage_domains.contains(apqi) {
                return Err(ConsoleError::NoSuchUsageDomain { apqi });
            }
            config.usage_domains.remove(apqi);
            Ok(())
        })
    }

    /// Adds a control domain.
    ///
    /// # Errors
    /// The domain exists already or is out of range.
    pub fn add_control_domain(&self, apqi: Apqi) -> Result<(), ConsoleError> {
        self.change(|config| {
            if config.control_domains.contains(apqi) {
                return Err(ConsoleError::ControlDomainExists { apqi });
            }
            config.control_domains.insert(apqi);
            Ok(())
        })
    }

    /// Removes a control domain.
    ///
    /// # Errors
    /// There is no such control domain.
    pub fn remove_control_domain(&self, apqi: Apqi) -> Result<(), ConsoleError> {
        self.change(|config| {
            if !config.control_domains.contains(apqi) {
                return Err(ConsoleError::NoSuchControlDomain { apqi });
            }
            config.control_domains.remove(apqi);
            Ok(())
        })
    }

    /// Takes a deconfigured adapter back; nothing happens to a configured one.
    ///
    /// # Errors
    /// There is no such adapter.
    pub fn configure(&self, apid: Apid) -> Result<(), ConsoleError> {
        self.change_adapter(apid, |adapter| adapter.deconfigured = false)
    }

    /// Deconfigures an adapter: its queues lose what they hold and answer 03.
    ///
    /// # Errors
    /// There is no such adapter.
    pub fn deconfigure(&self, apid: Apid) -> Result<(), ConsoleError> {
        self.change_adapter(apid, |adapter| adapter.deconfigured = true)
    }

    /// Stops an adapter as an error would: its queues lose what they hold and answer 04.
    ///
    /// # Errors
    /// There is no such adapter.
    pub fn checkstop(&self, apid: Apid) -> Result<(), ConsoleError> {
        self.change_adapter(apid, |adapter| adapter.checkstopped = true)
    }

    /// Brings a check-stopped adapter back; nothing happens to a healthy one.
    ///
    /// # Errors
    /// There is no such adapter.
    pub fn recover(&self, apid: Apid) -> Result<(), ConsoleError> {
        self.change_adapter(apid, |adapter| adapter.checkstopped = false)
    }

    fn change_adapter(
        &self,
        apid: Apid,
        edit: impl FnOnce(&mut AdapterConfig),
    ) -> Result<(), ConsoleError> {
        self.change(|config| {
            let adapter = config
                .adapters
                .get_mut(&apid)
                .ok_or(ConsoleError::NoSuchAdapter { apid })?;
            edit(adapter);
            Ok(())
        })
    }

    fn change(
        &self,
        edit: impl FnOnce(&mut PartitionConfig) -> Result<(), ConsoleError>,
    ) -> Result<(), ConsoleError> {
        let control = lock(&self.control);
        let mut hardware = write(&self.hardware);
        let mut config = hardware.config().clone();
        edit(&mut config)?;
        config.validate()?;
        if config.qci != self.qci_flags() {
            return Err(ConfigError::QciChanged.into());
        }
        hardware.change_to(config);
        // Guests lose the queues that are gone and get those that have come.
        for guest in control.guests.values() {
            guest.set_masks(guest.apcb(), &hardware);
        }
        Ok(())
    }
}
