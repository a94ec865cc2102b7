//! Every input that fuzzing left in `fuzz/corpus/` goes through the body of its target again.

#[expect(unreachable_pub, reason = "public in the fuzz crate, where the targets live")]
#[path = "../../../fuzz/src/bodies.rs"]
mod bodies;

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
fn the_control_corpus_replays() {
    replay("control", bodies::control);
}
