//! Every input that fuzzing left in `fuzz/corpus/` goes through the body of its target again.

#[expect(unreachable_pub, reason = "public in the fuzz crate, where the targets live")]
#[path = "../../../fuzz/src/bodies.rs"]
mod bodies;
#[expect(unreachable_pub, reason = "public in the fuzz crate, where the targets live")]
#[path = "../../../fuzz/src/ladder.rs"]
mod ladder;

use std::path::Path;

/// The committed corpus of a target is a memory, not an archive.
const FILES_MAX: usize = 60;
const FILE_LEN_MAX: usize = 4096;

fn replay(target: &str, body: fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files: Vec<_> = dir.read_dir().expect("the corpus is committed").map(|entry| entry.expect("readable").path()).collect();
    assert!((3..=FILES_MAX).contains(&files.len()), "{} files in {}", files.len(), dir.display());
    for file in files {
        let input = std::fs::read(&file).expect("readable");
        assert!(input.len() <= FILE_LEN_MAX, "{} is too long", file.display());
        eprintln!("{}", file.display());
        body(&input);
    }
}

#[test]
fn the_frame_corpus_replays() {
    replay("frame", bodies::frame);
}

#[test]
fn the_datagram_header_corpus_replays() {
    replay("datagram_header", bodies::datagram_header);
}

#[test]
fn the_ladder_corpus_replays() {
    replay("ladder", ladder::ladder);
}

/// Recipes from a seed, without a fuzzer's eye for new paths: what a change breaks first.
#[test]
fn the_ladder_keeps_its_promises_on_seeded_recipes() {
    const RECIPES: usize = 30_000;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    for _ in 0..RECIPES {
        let input: Vec<u8> = (0..16 + next() % 48).flat_map(|_| next().to_le_bytes()).collect();
        ladder::ladder(&input);
    }
}

#[test]
fn the_control_corpus_replays() {
    replay("control", bodies::control);
}

#[test]
fn the_sequence_corpus_replays() {
    replay("sequence", bodies::sequence);
}

#[test]
fn the_bond_corpus_replays() {
    replay("bond", bodies::bond);
}
