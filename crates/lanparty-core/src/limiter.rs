//! Rate limits of one member: total bandwidth with a burst, and what it makes the room flood, by class.
//!
//! Broadcast, multicast and unknown unicast are charged once per member that would get a copy, because that is what
//! they cost. Each class has a bucket of its own, so that a game's search never starves ARP, and an mDNS burst trips
//! nothing.

use std::time::{Duration, Instant};

use lanparty_proto::{Role, TrafficClass};

/// A rate with its burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Tokens (bytes, or frame copies) gained per second.
    pub per_second: u64,
    /// Tokens that may be saved up.
    pub burst: u64,
}

impl Rate {
    /// Frame copies: two seconds of them may be saved up.
    #[must_use]
    pub const fn of_copies(per_second: u64) -> Self {
        Self { per_second, burst: 2 * per_second }
    }
}

/// A token bucket (RFC 2697's committed bucket). Time comes from the caller.
#[derive(Clone, Debug)]
pub struct TokenBucket {
    rate: Rate,
    /// Token-nanoseconds: tokens times 10^9, so that no fraction is lost between two calls.
    level: u128,
    at: Instant,
}

const NANOS: u128 = 1_000_000_000;

impl TokenBucket {
    /// A full bucket.
    #[must_use]
    pub fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, level: u128::from(rate.burst) * NANOS, at: now }
    }

    /// What may be saved up.
    #[must_use]
    pub const fn burst(&self) -> u64 {
        self.rate.burst
    }

    /// Whole tokens left at `now`.
    #[must_use]
    pub fn tokens(&self, now: Instant) -> u64 {
        u64::try_from(self.level_at(now) / NANOS).unwrap_or(u64::MAX)
    }

    /// Takes `tokens`, or nothing when fewer are left.
    pub fn take(&mut self, tokens: u64, now: Instant) -> bool {
        // Frames of a batch have one time.
        if now > self.at {
            self.level = self.level_at(now);
            self.at = now;
        }
        match self.level.checked_sub(u128::from(tokens) * NANOS) {
            Some(left) => {
                self.level = left;
                true
            }
            None => false,
        }
    }

    /// Takes back that tokens were taken.
    pub fn give_back(&mut self, tokens: u64) {
        let cap = u128::from(self.rate.burst) * NANOS;
        self.level = cap.min(self.level + u128::from(tokens) * NANOS);
    }

    fn level_at(&self, now: Instant) -> u128 {
        let elapsed: Duration = now.saturating_duration_since(self.at);
        let cap = u128::from(self.rate.burst) * NANOS;
        cap.min(self.level + elapsed.as_nanos() * u128::from(self.rate.per_second))
    }
}

/// Limits of flooded traffic by class, in frame copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BumLimits {
    /// ARP and neighbour discovery.
    pub arp_nd: Rate,
    /// DHCP and DHCPv6.
    pub dhcp: Rate,
    /// mDNS, SSDP, name services, game browsers.
    pub discovery: Rate,
    /// Everything else that is flooded.
    pub other: Rate,
}

/// The limits of one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of frames per second, all kinds together.
    pub bandwidth: Rate,
    /// Flooded traffic.
    pub bum: BumLimits,
}

impl Default for Limits {
    /// Generous for play, far below what hurts a room of 16 (THREATS A12: a storm of 20,000 frames a second passes about
    /// 130 of them): 10 Gbit/s, more than a member sends, with 8 MiB at once; per second 1,000 copies of ARP/ND, 200 of DHCP, 2,000 each of
    /// discovery and the rest, with two seconds' worth saved up.
    fn default() -> Self {
        let copies = Rate::of_copies;
        Self {
            bandwidth: Rate { per_second: 10_000_000_000 / 8, burst: 8 << 20 },
            bum: BumLimits { arp_nd: copies(1000), dhcp: copies(200), discovery: copies(2000), other: copies(2000) },
        }
    }
}

impl Limits {
    /// A gateway speaks for a whole LAN: its flooded traffic may be this many times a client's.
    pub const GATEWAY_FACTOR: u64 = 8;

    /// These limits for a member of that role.
    #[must_use]
    pub fn for_role(self, role: Role) -> Self {
        let factor = if role == Role::Gateway { Self::GATEWAY_FACTOR } else { 1 };
        let times = |r: Rate| Rate { per_second: r.per_second.saturating_mul(factor), burst: r.burst.saturating_mul(factor) };
        let b = self.bum;
        let bum = BumLimits { arp_nd: times(b.arp_nd), dhcp: times(b.dhcp), discovery: times(b.discovery), other: times(b.other) };
        Self { bum, ..self }
    }
}

/// The buckets of one member.
pub struct MemberLimiter {
    bandwidth: TokenBucket,
    bum: [TokenBucket; 4],
}

impl MemberLimiter {
    /// Full buckets.
    #[must_use]
    pub fn new(limits: Limits, now: Instant) -> Self {
        let b = limits.bum;
        Self {
            bandwidth: TokenBucket::new(limits.bandwidth, now),
            bum: [b.arp_nd, b.dhcp, b.discovery, b.other].map(|rate| TokenBucket::new(rate, now)),
        }
    }

    /// Whether a frame of `len` bytes is within the member's bandwidth. Takes its tokens when it is.
    pub fn admits_bytes(&mut self, len: usize, now: Instant) -> bool {
        self.bandwidth.take(len as u64, now)
    }

    /// Whether a flooded frame of `class` may go to `fan_out` members. Takes a token for each when it may, and a whole
    /// burst in a room larger than that: there it passes seldom, but not never.
    pub fn admits_flood(&mut self, class: TrafficClass, fan_out: usize, now: Instant) -> bool {
        let index = match class {
            TrafficClass::ArpNd => 0,
            TrafficClass::Dhcp => 1,
            TrafficClass::Discovery => 2,
            TrafficClass::Other => 3,
        };
        let bucket = &mut self.bum[index];
        bucket.take((fan_out as u64).min(bucket.rate.burst), now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_second: 1000, burst: 500 };

    #[test]
    fn a_bucket_gives_its_burst_then_its_rate() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(RATE, start);
        assert!(bucket.take(500, start) && !bucket.take(1, start));
        let taken = (1..=10_000u64).filter(|us| bucket.take(1, start + Duration::from_micros(us * 100))).count();
        assert_eq!(taken, 1000, "one second at 1,000 a second");
    }

    #[test]
    fn a_bucket_never_saves_more_than_its_burst() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(RATE, start);
        let later = start + Duration::from_secs(3600);
        assert!(bucket.take(500, later) && !bucket.take(1, later));
    }

    #[test]
    fn classes_do_not_starve_each_other_and_fan_out_is_charged() {
        let now = Instant::now();
        let mut limiter = MemberLimiter::new(Limits::default(), now);
        let passed = (0..10_000).filter(|_| limiter.admits_flood(TrafficClass::Other, 15, now)).count();
        assert_eq!(passed, 4000 / 15);
        assert!(limiter.admits_flood(TrafficClass::ArpNd, 15, now));
        assert!(limiter.admits_flood(TrafficClass::Discovery, 15, now));
    }

    #[test]
    fn ordinary_mdns_never_trips() {
        let start = Instant::now();
        let mut limiter = MemberLimiter::new(Limits::default(), start);
        for tick in 0..600u32 {
            let now = start + tick * Duration::from_millis(100);
            assert!(limiter.admits_flood(TrafficClass::Discovery, 100, now), "ten a second in a room of a hundred");
        }
    }
}
