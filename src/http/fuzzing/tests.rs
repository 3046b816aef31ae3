use super::*;
use proptest::prelude::*;
use std::{fs, path::Path};

/// How many changed inputs each target gets.
const ROUNDS: usize = 4000;

/// A stretch of pseudo-random numbers that a seed repeats (splitmix64).
struct Seeded(u64);

#[test]
fn targets_hold_for_their_corpora() {
    for (name, target) in TARGETS {
        for input in corpus(name) {
            target(&input);
        }
    }
}

#[test]
fn targets_hold_for_changed_inputs() {
    let seed = std::env::var("SERIN_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20);
    let mut seeded = Seeded(seed);
    for (name, target) in TARGETS {
        let corpus = corpus(name);
        for _ in 0..ROUNDS {
            let mut input = corpus[seeded.below(corpus.len())].clone();
            for _ in 0..=seeded.below(4) {
                seeded.change(&mut input, &corpus);
            }
            let text = input.escape_ascii().to_string();
            let held = std::panic::catch_unwind(|| target(&input));
            assert!(held.is_ok(), "{name} fails for b\"{text}\", with SERIN_SEED={seed}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn targets_hold_for_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for (_, target) in TARGETS {
            target(&bytes);
        }
    }

    #[test]
    fn heads_of_any_fields_are_read_and_written_alike(
        method in "[A-Z]{1,8}",
        path in "/[!-~&&[^#]]{0,20}",
        fields in proptest::collection::vec(("[a-zA-Z0-9_-]{1,12}", "[ -~\t]{0,30}"), 0..8),
    ) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: a.example\r\n");
        for (name, value) in &fields {
            head += &format!("{name}:{value}\r\n");
        }
        request((head + "\r\n").as_bytes());
    }

    #[test]
    fn any_body_survives_chunking(data in proptest::collection::vec(any::<u8>(), 1..600), size in 1_usize..200) {
        let mut encoded = vec![7];
        for chunk in data.chunks(size) {
            write_chunk_size(chunk.len(), &mut encoded);
            encoded.extend_from_slice(chunk);
            encoded.extend_from_slice(b"\r\n");
        }
        write_last_chunk(b"", &mut encoded);
        chunks(&encoded);
        let (decoded, payload, rest) = pass(&encoded[1..], Coding::Decode, 5).expect("the chunks are good");
        prop_assert_eq!((&decoded, payload, rest.len()), (&data, data.len() as u64, 0));
    }
}

/// The committed inputs of a target.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut paths: Vec<_> =
        fs::read_dir(&dir).expect("there is a corpus").map(|entry| entry.expect("it can be listed").path()).collect();
    paths.sort();
    let inputs: Vec<_> = paths.iter().map(|path| fs::read(path).expect("the input can be read")).collect();
    assert!(!inputs.is_empty(), "{} has inputs", dir.display());
    inputs
}

// === impl Seeded ===

impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    /// Changes an input in a way that readers may stumble over.
    fn change(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        const PIECES: &[&[u8]] = &[
            b"\r\n",
            b"\n",
            b"\r",
            b"\0",
            b" ",
            b"\t",
            b":",
            b"; ",
            b"%2e",
            b"%00",
            b"//",
            b"/../",
            b"_",
            b"\x80",
            b"chunked",
            b"Content-Length: 1\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"Connection: a\r\n",
            b"0\r\n\r\n",
        ];
        let at = self.below(input.len() + 1);
        match self.below(6) {
            0 if at < input.len() => input[at] = self.next() as u8,
            1 if at < input.len() => input[at] ^= 1 << self.below(8),
            2 => {
                let end = (at + self.below(8)).min(input.len());
                input.drain(at..end);
            }
            3 => {
                let other = &corpus[self.below(corpus.len())];
                let from = self.below(other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => {
                let piece = PIECES[self.below(PIECES.len())];
                input.splice(at..at, piece.iter().copied());
            }
        }
    }
}
