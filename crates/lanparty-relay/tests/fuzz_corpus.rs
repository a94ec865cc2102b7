//! Every input that fuzzing left in `fuzz/corpus/` for files that people write goes through the body of its target again, and so do many
//! slips of the pen from there.

#[expect(unreachable_pub, reason = "public in the fuzz crate, where the targets live")]
#[path = "../../../fuzz/src/files.rs"]
mod files;

use std::path::Path;

/// The committed corpus of a target is a memory, not an archive.
const FILES_MAX: usize = 60;
const FILE_LEN_MAX: usize = 4096;

/// With so many slips from each file.
fn replay(target: &str, slips_of_each: usize, body: fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files: Vec<_> = dir.read_dir().expect("the corpus is committed").map(|entry| entry.expect("readable").path()).collect();
    assert!((3..=FILES_MAX).contains(&files.len()), "{} files in {}", files.len(), dir.display());
    let mut slips = Slips(0x9e37_79b9_7f4a_7c15);
    for file in files {
        let input = std::fs::read(&file).expect("readable");
        assert!(input.len() <= FILE_LEN_MAX, "{} is too long", file.display());
        eprintln!("{}", file.display());
        body(&input);
        (0..slips_of_each).for_each(|_| body(&slips.of(&input)));
    }
}

/// A seed.
struct Slips(u64);

impl Slips {
    /// Below `end` (xorshift).
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }

    /// The text with a few pieces lost, written twice, or with a character that is another one.
    fn of(&mut self, text: &[u8]) -> Vec<u8> {
        const CHARACTERS: &[u8] = b"\"'[]{}()=#.,:/\\*+?-_ \n\r\t\0\x1b\x7f\xc3\xa909azAZ";
        let mut text = text.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(text.len() + 1);
            let end = (at + 1 + self.below(12)).min(text.len());
            match self.below(4) {
                0 => drop(text.drain(at..end)),
                1 => {
                    let piece = text[at..end].to_vec();
                    let to = self.below(text.len() + 1);
                    text.splice(to..to, piece);
                }
                kind => {
                    let character = CHARACTERS[self.below(CHARACTERS.len())];
                    let replaced = if kind == 2 { at..at } else { at..(at + 1).min(text.len()) };
                    text.splice(replaced, [character]);
                }
            }
        }
        text
    }
}

#[test]
fn the_rooms_corpus_replays_and_slips_are_told() {
    replay("rooms", 3_000, files::rooms);
}

#[test]
fn the_communities_corpus_replays_and_slips_become_rooms() {
    // Every expression is compiled, and read again.
    replay("communities", 60, files::communities);
}

#[test]
fn the_n3n_corpus_replays_and_slips_become_toml() {
    replay("n3n", 3_000, files::n3n);
}
