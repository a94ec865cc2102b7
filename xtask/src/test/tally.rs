//! Reads the lines of `cargo test` and of `cargo nextest run`: what to count, what to show.
//!
//! Tests that passed are counted and not shown, nor is what they printed; that one skipped itself is known from just that, though.

use std::collections::BTreeSet;

/// Whose output is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// `cargo test -- --show-output`
    Libtest,
    /// `cargo nextest run --success-output=immediate --failure-output=final`
    Nextest,
}

/// What the test programs reported.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) ignored: usize,
    /// The lines of the tests that skipped themselves.
    pub(super) skipped: Vec<String>,
    /// What was declined, each in one line.
    pub(super) left_out: BTreeSet<String>,
    /// A command ended with an error.
    pub(super) trouble: bool,
    /// Inside what a test printed that passed.
    inside_passed: bool,
    /// Below nextest's summary, where failed tests are shown.
    below_summary: bool,
}

impl Tally {
    /// Another command begins.
    pub(super) fn begin(&mut self) {
        (self.inside_passed, self.below_summary) = (false, false);
    }

    /// Takes a line; true when it is worth showing.
    pub(super) fn note(&mut self, line: &str, format: Format) -> bool {
        let words = line.trim();
        if words.starts_with("skipped: ") {
            self.skipped.push(words.to_owned());
            return true;
        }
        if words.starts_with("left out: ") {
            return self.left_out.insert(words.to_owned());
        }
        match format {
            Format::Libtest => self.note_libtest(words),
            Format::Nextest => self.note_nextest(line, words),
        }
    }

    fn note_libtest(&mut self, words: &str) -> bool {
        if words == "successes:" {
            self.inside_passed = true;
        } else if words == "failures:" {
            self.inside_passed = false;
        } else if let Some(result) = words.strip_prefix("test result: ") {
            self.inside_passed = false;
            self.passed += number_before(result, "passed");
            self.failed += number_before(result, "failed");
            self.ignored += number_before(result, "ignored");
            // An empty test program is not worth a line.
            return number_before(result, "passed") + number_before(result, "failed") > 0;
        }
        let dull = words.is_empty() || words.starts_with("running ") || (words.starts_with("test ") && words.ends_with(" ... ok"));
        !self.inside_passed && !dull
    }

    fn note_nextest(&mut self, line: &str, words: &str) -> bool {
        if self.below_summary {
            return true;
        }
        if let Some((_, result)) = words.strip_prefix("Summary [").and_then(|rest| rest.split_once(" run: ")) {
            self.below_summary = true;
            self.passed += number_before(result, "passed");
            self.failed += number_before(result, "failed") + number_before(result, "timed out");
            self.ignored += number_before(result, "skipped");
        } else if words.starts_with("stdout ─") || words.starts_with("stderr ─") {
            self.inside_passed = true;
        } else if is_nextest_status(line) {
            self.inside_passed = false;
        }
        self.below_summary || (!self.inside_passed && !words.is_empty() && !words.starts_with("PASS ["))
    }
}

/// The number that stands before `word`, 0 without it.
fn number_before(text: &str, word: &str) -> usize {
    let before = text.split(['.', ',', ';', '(']).find_map(|part| part.trim().strip_suffix(word));
    before.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

/// `        PASS [   0.012s] crate test`: right-aligned to the same column, so that a test's own output is hardly ever taken for one.
fn is_nextest_status(line: &str) -> bool {
    let Some((word, _)) = line.split_once(" [") else { return false };
    let capitals = word.trim().chars().all(|c| c.is_ascii_uppercase() || c == ' ' || c == '-') || word.trim() == "Summary";
    word.len() == 12 && word.starts_with(' ') && capitals
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, format: Format) -> (Tally, Vec<&str>) {
        let mut tally = Tally::default();
        let shown = text.lines().filter(|line| tally.note(line, format)).collect();
        (tally, shown)
    }

    #[test]
    fn libtest_is_counted_and_output_of_passing_tests_is_left_out() {
        let text = "running 3 tests\ntest a ... ok\ntest b ... ok\ntest c ... FAILED\n\nsuccesses:\n\n---- b stdout ----\nnoise\n    skipped: not root\n\nsuccesses:\n    a\n    b\n\nfailures:\n\n---- c stdout ----\nboom\n\ntest result: FAILED. 2 passed; 1 failed; 4 ignored; 0 measured; 0 filtered out; finished in 0.10s\n";
        let (tally, shown) = read(text, Format::Libtest);
        assert_eq!((tally.passed, tally.failed, tally.ignored), (2, 1, 4));
        assert_eq!(tally.skipped, ["skipped: not root"]);
        assert!(shown.contains(&"boom") && shown.contains(&"test c ... FAILED"), "{shown:?}");
        assert!(!shown.contains(&"noise") && !shown.contains(&"test a ... ok"), "{shown:?}");
    }

    #[test]
    fn nextest_is_counted_by_its_summary_alone() {
        let text = "        PASS [   0.004s] (1/3) proto a\n  stdout ───\n\n    running 1 test\n    test result: ok. 1 passed; 0 failed; 0 ignored\n\n  stderr ───\n    skipped: this machine lacks ip\n\n        FAIL [   0.012s] (2/3) core c\n────────────\n     Summary [   1.204s] 3 tests run: 2 passed (1 slow), 1 failed, 5 skipped\n        FAIL [   0.012s] (2/3) core c\n  stdout ───\n    boom\n    test result: FAILED. 0 passed; 1 failed\n";
        let (tally, shown) = read(text, Format::Nextest);
        assert_eq!((tally.passed, tally.failed, tally.ignored, tally.skipped.len()), (2, 1, 5, 1));
        assert!(shown.contains(&"    boom") && shown.contains(&"        FAIL [   0.012s] (2/3) core c"), "{shown:?}");
        assert!(!shown.iter().any(|line| line.contains("PASS") || line.contains("running")), "{shown:?}");
    }

    #[test]
    fn what_several_tests_leave_out_is_shown_once() {
        let text = "        PASS [   0.004s] (1/2) lab a\n  stderr ───\n    left out: Windows\n        PASS [   0.004s] (2/2) lab b\n  stderr ───\n    left out: Windows\n";
        let (tally, shown) = read(text, Format::Nextest);
        assert_eq!((tally.left_out.len(), tally.skipped.len(), shown), (1, 0, vec!["    left out: Windows"]));
    }

    #[test]
    fn a_summary_without_failures_has_none() {
        let (tally, _) = read("     Summary [   1.204s] 12 tests run: 12 passed, 0 skipped\n", Format::Nextest);
        assert_eq!((tally.passed, tally.failed, tally.ignored), (12, 0, 0));
    }
}
