//! The character of a wire, and its text: `delay=20ms jitter=1ms rate=50M queue=64000 loss=5%`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// How often wandering jitter picks a new target unless told otherwise: slow enough that no frame overtakes another.
const WANDER: Duration = Duration::from_millis(20);

/// The character of one direction of a wire. Probabilities in 0..=1. The default is a perfect wire.
#[derive(Debug, Clone, PartialEq)]
pub struct Impairment {
    /// Time from end to end.
    pub delay: Duration,
    /// The delay varies by up to this much, both ways.
    pub jitter: Duration,
    /// How long the jitter takes to drift from one target to the next; order is kept. 0 draws it anew for every frame, which reorders most of them.
    pub wander: Duration,
    /// Bits per second; 0 is unlimited.
    pub rate: u64,
    /// Bytes that may wait for the rate; more is dropped. 0 is unlimited.
    pub queue: u64,
    /// Chance of loss: of every frame, or inside bursts when `ge_p` is set.
    pub loss: f64,
    /// Gilbert-Elliott: chance per frame that a burst begins. 0: no bursts.
    pub ge_p: f64,
    /// Gilbert-Elliott: chance per frame that a burst ends.
    pub ge_r: f64,
    /// Chance that a frame is held back.
    pub reorder: f64,
    /// By how much it is held back.
    pub reorder_by: Duration,
    /// Chance that a frame comes twice.
    pub dup: f64,
    /// Chance that one bit of a frame's payload is flipped.
    pub corrupt: f64,
    /// IP packets longer than this vanish without a word; 0 is none. Set the interface's own MTU for a wire that says so.
    pub mtu: usize,
    /// IPv4 fragments vanish, as in Hyper-V's NAT.
    pub drop_frags: bool,
    /// The wire is cut.
    pub down: bool,
}

impl Default for Impairment {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            wander: WANDER,
            rate: 0,
            queue: 0,
            loss: 0.0,
            ge_p: 0.0,
            ge_r: 0.0,
            reorder: 0.0,
            reorder_by: Duration::ZERO,
            dup: 0.0,
            corrupt: 0.0,
            mtu: 0,
            drop_frags: false,
            down: false,
        }
    }
}

/// A text that is no impairment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImpairmentError {
    /// A key that does not exist.
    #[error(
        "`{0}` is no property of a wire; there are delay jitter wander rate queue loss ge_p ge_r reorder reorder_by dup corrupt mtu drop_frags down"
    )]
    Key(String),
    /// A value that does not fit its key.
    #[error("`{key}={value}`: {wanted}")]
    Value {
        /// The key.
        key: String,
        /// The value as written.
        value: String,
        /// What would fit.
        wanted: &'static str,
    },
}

impl Impairment {
    /// Sets one property from its text.
    pub fn set(&mut self, key: &str, text: &str) -> Result<(), ImpairmentError> {
        let wrong = |wanted| ImpairmentError::Value { key: key.into(), value: text.into(), wanted };
        let time = || parse_time(text).ok_or_else(|| wrong("a time such as 500us, 20ms or 1.5s"));
        let chance = || parse_chance(text).ok_or_else(|| wrong("a chance such as 5% or 0.05"));
        let amount = || parse_amount(text).ok_or_else(|| wrong("a number, with k, M or G for thousands"));
        let flag = || parse_flag(text).ok_or_else(|| wrong("yes or no"));
        match key {
            "delay" => self.delay = time()?,
            "jitter" => self.jitter = time()?,
            "wander" => self.wander = time()?,
            "rate" => self.rate = amount()?,
            "queue" => self.queue = amount()?,
            "loss" => self.loss = chance()?,
            "ge_p" => self.ge_p = chance()?,
            "ge_r" => self.ge_r = chance()?,
            "reorder" => self.reorder = chance()?,
            "reorder_by" => self.reorder_by = time()?,
            "dup" => self.dup = chance()?,
            "corrupt" => self.corrupt = chance()?,
            "mtu" => self.mtu = usize::try_from(amount()?).map_err(|_| wrong("a length in bytes"))?,
            "drop_frags" => self.drop_frags = flag()?,
            "down" => self.down = flag()?,
            _ => return Err(ImpairmentError::Key(key.into())),
        }
        Ok(())
    }
}

impl FromStr for Impairment {
    type Err = ImpairmentError;

    /// Words separated by blanks or commas; a flag stands alone. The empty text is the perfect wire.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut impairment = Self::default();
        for word in text.split([' ', ',', '\t', '\n']).filter(|word| !word.is_empty()) {
            let (key, value) = word.split_once('=').unwrap_or((word, "yes"));
            impairment.set(key, value)?;
        }
        Ok(impairment)
    }
}

impl fmt::Display for Impairment {
    /// Only what differs from the perfect wire, in words that [`FromStr`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let perfect = Self::default();
        let times = [
            ("delay", self.delay, perfect.delay),
            ("jitter", self.jitter, perfect.jitter),
            ("wander", self.wander, perfect.wander),
            ("reorder_by", self.reorder_by, perfect.reorder_by),
        ];
        let amounts = [("rate", self.rate), ("queue", self.queue), ("mtu", self.mtu as u64)];
        let chances = [
            ("loss", self.loss),
            ("ge_p", self.ge_p),
            ("ge_r", self.ge_r),
            ("reorder", self.reorder),
            ("dup", self.dup),
            ("corrupt", self.corrupt),
        ];
        let flags = [("drop_frags", self.drop_frags), ("down", self.down)];
        let words = (times
            .iter()
            .filter(|(_, time, usual)| time != usual)
            .map(|(key, time, _)| format!("{key}={}us", time.as_nanos() as f64 / 1e3)))
        .chain(amounts.iter().filter(|(_, amount)| *amount > 0).map(|(key, amount)| format!("{key}={amount}")))
        .chain(chances.iter().filter(|(_, chance)| *chance > 0.0).map(|(key, chance)| format!("{key}={chance}")))
        .chain(flags.iter().filter(|(_, flag)| *flag).map(|(key, _)| (*key).to_owned()));
        f.write_str(&words.collect::<Vec<_>>().join(" "))
    }
}

fn parse_time(text: &str) -> Option<Duration> {
    let units = [("ns", 1e-9), ("us", 1e-6), ("ms", 1e-3), ("s", 1.0)];
    let (number, factor) = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)))?;
    let seconds = positive(number)? * factor;
    // Nanoseconds are enough, and rounding to them undoes what binary fractions do to decimal ones.
    Some(Duration::from_nanos((seconds * 1e9).round() as u64))
}

fn parse_chance(text: &str) -> Option<f64> {
    let chance = match text.strip_suffix('%') {
        Some(percent) => positive(percent)? / 100.0,
        None => positive(text)?,
    };
    (chance <= 1.0).then_some(chance)
}

fn parse_amount(text: &str) -> Option<u64> {
    let units = [('k', 1e3), ('M', 1e6), ('G', 1e9)];
    let scaled = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(*unit)?, *factor)));
    let (number, factor) = scaled.unwrap_or((text, 1.0));
    Some((positive(number)? * factor).round() as u64)
}

fn parse_flag(text: &str) -> Option<bool> {
    match text {
        "yes" | "true" | "1" | "on" => Some(true),
        "no" | "false" | "0" | "off" => Some(false),
        _ => None,
    }
}

fn positive(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_the_guide_is_understood() {
        let wire: Impairment = "delay=20ms jitter=1.5ms wander=30ms rate=50M queue=64000 loss=5% ge_p=0.8% ge_r=0.2 \
             reorder=1% reorder_by=5ms dup=1% corrupt=0.1% mtu=1280 drop_frags down=no"
            .parse()
            .unwrap();
        let expected = Impairment {
            delay: Duration::from_millis(20),
            jitter: Duration::from_micros(1_500),
            wander: Duration::from_millis(30),
            rate: 50_000_000,
            queue: 64_000,
            loss: 0.05,
            ge_p: 0.008,
            ge_r: 0.2,
            reorder: 0.01,
            reorder_by: Duration::from_millis(5),
            dup: 0.01,
            corrupt: 0.001,
            mtu: 1280,
            drop_frags: true,
            down: false,
        };
        assert_eq!(wire, expected);
        assert_eq!(wire.to_string().parse(), Ok(expected));
    }

    #[test]
    fn the_perfect_wire_is_the_empty_text() {
        assert_eq!("".parse(), Ok(Impairment::default()));
        assert_eq!(Impairment::default().to_string(), "");
    }

    #[test]
    fn nonsense_is_named() {
        for (text, part) in
            [("dealy=2ms", "dealy"), ("delay=2", "20ms"), ("loss=120%", "5%"), ("rate=-5M", "number"), ("down=perhaps", "yes or no")]
        {
            let error = text.parse::<Impairment>().unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
