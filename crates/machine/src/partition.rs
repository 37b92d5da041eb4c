//! The configuration of a partition: which AP hardware it has.

use std::collections::BTreeMap;

use arch::qci::{MAX_ADAPTER_WITHOUT_APXA, MAX_DOMAIN_WITHOUT_APXA};
use arch::{AdapterMask, ApType, Apid, Apqi, CardMode, ControlMask, QciBlock, QciFlags, UsageMask};

/// One adapter of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AdapterConfig {
    /// Hardware generation, 1..=255. Linux serves 10..=14.
    pub ap_type: ApType,
    /// Mode.
    pub mode: CardMode,
    /// Taken out of the configuration: its queues answer 03.
    pub deconfigured: bool,
    /// Stopped by an error: its queues answer 04, unless it is deconfigured too.
    pub checkstopped: bool,
}

impl AdapterConfig {
    /// A configured adapter in good health.
    #[must_use]
    pub const fn new(ap_type: ApType, mode: CardMode) -> Self {
        Self {
            ap_type,
            mode,
            deconfigured: false,
            checkstopped: false,
        }
    }
}

/// The AP hardware of one partition. Its text form is SPEC, see [`crate::spec`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionConfig {
    /// The adapters by number.
    pub adapters: BTreeMap<Apid, AdapterConfig>,
    /// Usage domains. Each adapter has a queue for each of them.
    pub usage_domains: UsageMask,
    /// Control domains. A usage domain is none by itself.
    pub control_domains: ControlMask,
    /// Highest adapter number.
    pub na: u8,
    /// Highest domain number.
    pub nd: u8,
    /// The flags of the QCI block; `None` when the machine has no QCI (facility 12).
    pub qci: Option<QciFlags>,
}

impl Default for PartitionConfig {
    /// No adapter and no domain, numbers up to 255 and the QCI flags of the recorded hardware.
    fn default() -> Self {
        Self {
            adapters: BTreeMap::new(),
            usage_domains: UsageMask::EMPTY,
            control_domains: ControlMask::EMPTY,
            na: 255,
            nd: 255,
            qci: Some(
                QciFlags::APSC | QciFlags::APXA | QciFlags::QACT | QciFlags::RC8A | QciFlags::APSB,
            ),
        }
    }
}

/// Why a configuration is not one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// An adapter number is too high.
    #[error("adapter {} is above the highest adapter number {max}", .apid.0)]
    AdapterTooHigh {
        /// The adapter.
        apid: Apid,
        /// Na, or 63 without APXA.
        max: u8,
    },
    /// A usage domain number is too high.
    #[error("usage domain {} is above the highest domain number {max}", .apqi.0)]
    UsageDomainTooHigh {
        /// The domain.
        apqi: Apqi,
        /// Nd, or 15 without APXA.
        max: u8,
    },
    /// A control domain number is too high.
    #[error("control domain {} is above the highest domain number {max}", .apqi.0)]
    ControlDomainTooHigh {
        /// The domain.
        apqi: Apqi,
        /// Nd, or 15 without APXA.
        max: u8,
    },
    /// Type 0 means that there is no adapter.
    #[error("adapter {} has type 0; types are 1 to 255", .apid.0)]
    TypeZero {
        /// The adapter.
        apid: Apid,
    },
    /// The machine's QCI facility and flags are those that it was made with.
    #[error("the QCI facility and its flags cannot change while the machine runs")]
    QciChanged,
}

impl PartitionConfig {
    /// Whether extended addressing is installed: numbers above 63 and 15 can be named.
    #[must_use]
    pub fn apxa(&self) -> bool {
        self.qci.is_some_and(|flags| flags.contains(QciFlags::APXA))
    }

    /// The highest adapter number: Na, and at most 63 without APXA (spec 1.4).
    #[must_use]
    pub fn max_adapter(&self) -> u8 {
        self.na.min(if self.apxa() {
            u8::MAX
        } else {
            MAX_ADAPTER_WITHOUT_APXA
        })
    }

    /// The highest domain number: Nd, and at most 15 without APXA (spec 1.4).
    #[must_use]
    pub fn max_domain(&self) -> u8 {
        self.nd.min(if self.apxa() {
            u8::MAX
        } else {
            MAX_DOMAIN_WITHOUT_APXA
        })
    }

    /// Checks that every number is in range.
    ///
    /// # Errors
    /// The first number that is not: adapters first, then usage and control domains, ascending.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let max = self.max_adapter();
        for (&apid, adapter) in &self.adapters {
            if apid.0 > max {
                return Err(ConfigError::AdapterTooHigh { apid, max });
            }
            if adapter.ap_type.0 == 0 {
                return Err(ConfigError::TypeZero { apid });
            }
        }
        let max = self.max_domain();
        if let Some(apqi) = self.usage_domains.iter().find(|apqi| apqi.0 > max) {
            return Err(ConfigError::UsageDomainTooHigh { apqi, max });
        }
        if let Some(apqi) = self.control_domains.iter().find(|apqi| apqi.0 > max) {
            return Err(ConfigError::ControlDomainTooHigh { apqi, max });
        }
        Ok(())
    }

    /// The partition's adapters. Deconfigured and check-stopped ones belong to it too.
    #[must_use]
    pub fn adapter_mask(&self) -> AdapterMask {
        self.adapters.keys().copied().collect()
    }

    /// What QCI answers to the partition's host. Na and Nd are stored with APXA only, as they mean
    /// nothing without it (spec 1.4).
    #[must_use]
    pub fn qci_block(&self) -> QciBlock {
        let [na, nd] = self.stored_maxima();
        QciBlock {
            flags: self.qci.unwrap_or(QciFlags::empty()),
            na,
            nd,
            apm: self.adapter_mask(),
            aqm: self.usage_domains,
            adm: self.control_domains,
        }
    }

    /// Na and Nd as QCI stores them.
    pub(crate) fn stored_maxima(&self) -> [u8; 2] {
        if self.apxa() {
            [self.na, self.nd]
        } else {
            [0, 0]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_adapter(apid: u8, ap_type: u8) -> PartitionConfig {
        let mut config = PartitionConfig::default();
        let adapter = AdapterConfig::new(ApType(ap_type), CardMode::Accelerator);
        config.adapters.insert(Apid(apid), adapter);
        config
    }

    #[test]
    fn numbers_must_be_in_range() {
        assert_eq!(with_adapter(255, 15).validate(), Ok(()));
        let mut config = with_adapter(64, 14);
        config.na = 63;
        let too_high = Err(ConfigError::AdapterTooHigh {
            apid: Apid(64),
            max: 63,
        });
        assert_eq!(config.validate(), too_high);
        config.na = 255;
        config.qci = Some(QciFlags::APSC);
        assert_eq!(config.validate(), too_high);
        config.qci = None;
        assert_eq!(config.validate(), too_high);
        assert_eq!(
            with_adapter(3, 0).validate(),
            Err(ConfigError::TypeZero { apid: Apid(3) })
        );

        let mut config = PartitionConfig {
            nd: 84,
            ..PartitionConfig::default()
        };
        config.usage_domains.insert(Apqi(84));
        assert_eq!(config.validate(), Ok(()));
        config.control_domains.insert(Apqi(85));
        let too_high = Err(ConfigError::ControlDomainTooHigh {
            apqi: Apqi(85),
            max: 84,
        });
        assert_eq!(config.validate(), too_high);
        config.nd = 83;
        let too_high = Err(ConfigError::UsageDomainTooHigh {
            apqi: Apqi(84),
            max: 83,
        });
        assert_eq!(config.validate(), too_high);
    }

    #[test]
    fn errors_name_the_number_and_the_limit() {
        let error = ConfigError::AdapterTooHigh {
            apid: Apid(64),
            max: 63,
        };
        assert_eq!(
            error.to_string(),
            "adapter 64 is above the highest adapter number 63"
        );
    }

    #[test]
    fn maxima_are_stored_with_apxa_only() {
        let mut config = with_adapter(3, 14);
        config.nd = 84;
        let block = config.qci_block();
        assert_eq!(block.flags.bits(), 0xf080_0000);
        assert_eq!((block.na, block.nd), (255, 84));
        config.qci = Some(QciFlags::APSC);
        let block = config.qci_block();
        assert_eq!((block.na, block.nd), (0, 0));
        assert_eq!(
            (block.max_adapter(), block.max_domain()),
            (Apid(63), Apqi(15))
        );
    }
}
