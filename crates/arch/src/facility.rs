//! Facility indications that concern AP (spec 1.3).

use bitflags::bitflags;

bitflags! {
    /// The AP related facilities that a CPU model shows. The bit values are ours; the STFLE bit
    /// numbers are in [`Facilities::STFLE_BITS`].
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
    pub struct Facilities: u8 {
        /// STFLE.12 ("apqci"): PQAP(QCI) is available.
        const APQCI = 1 << 0;
        /// STFLE.15 ("apft"): the T bit of TAPQ is available.
        const APFT = 1 << 1;
        /// STFLE.65 ("apqi"): PQAP(AQIC) is available.
        const APQI = 1 << 2;
        /// STFLE.76 (MSA extension 3): decides the CRYCB format.
        const MSA3 = 1 << 3;
    }
}

impl Facilities {
    /// Each facility and its STFLE bit number, numbered from the left of the facility list.
    pub const STFLE_BITS: [(Self, u8); 4] = [
        (Self::APQCI, 12),
        (Self::APFT, 15),
        (Self::APQI, 65),
        (Self::MSA3, 76),
    ];
}
