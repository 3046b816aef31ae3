use super::{mutate::Seeded, *};
use proptest::prelude::*;
use std::{fs, path::Path};

/// How many changed inputs each target gets.
const ROUNDS: usize = 4000;

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
    let mut seeded = Seeded::new(seed);
    for (name, target) in TARGETS {
        let corpus = corpus(name);
        for _ in 0..ROUNDS {
            let input = seeded.changed(&corpus);
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
