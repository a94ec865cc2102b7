//! What the developer reads.

use std::io::Write;
use std::time::Duration;

/// Prints a line.
pub(crate) fn say(line: &str) {
    // A closed pipe (`cargo xtask test | head`) is no failure of the task.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// `8.3 s`, `4 min 07 s`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 { format!("{:.1} s", time.as_secs_f64()) } else { format!("{} min {:02} s", seconds / 60, seconds % 60) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_say_them() {
        assert_eq!(duration(Duration::from_millis(8_320)), "8.3 s");
        assert_eq!(duration(Duration::from_secs(247)), "4 min 07 s");
    }
}
