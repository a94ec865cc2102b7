//! Numbers and times as people read them.

/// `1 packet`, `2 packets`.
pub(crate) fn count(n: u64, thing: &str) -> String {
    format!("{n} {thing}{}", if n == 1 { "" } else { "s" })
}

/// `` `a`, `b` ``; the conjunction is left out because the list may be of any length.
pub(crate) fn list<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A span in the unit that fits: `45 s`, `3 min`, `5 h`, `12 days`.
pub(crate) fn span(seconds: i64) -> String {
    let seconds = seconds.unsigned_abs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// The UTC day of a time in seconds since 1970, as `2026-03-01`.
pub(crate) fn day(seconds: i64) -> String {
    // Days since 0000-03-01 in eras of 400 years, so that the leap day is the last of its year.
    let days = seconds.div_euclid(86_400) + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let (day, month_of_year) = (of_year - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    format!("{:04}-{month_of_year:02}-{day:02}", year + era * 400 + i64::from(month_of_year <= 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        let known = [(0, "1970-01-01"), (951_782_400, "2000-02-29"), (1_767_225_599, "2025-12-31"), (4_107_542_400, "2100-03-01")];
        for (seconds, text) in known {
            assert_eq!(day(seconds), text);
        }
    }

    #[test]
    fn a_span_has_one_unit() {
        assert_eq!([span(45), span(-200), span(10_000), span(1_000_000)], ["45 s", "3 min", "2 h", "11 days"]);
        assert_eq!([count(1, "packet"), count(2, "packet")], ["1 packet", "2 packets"]);
    }
}
