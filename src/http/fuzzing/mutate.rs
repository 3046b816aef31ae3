//! Changes inputs, by chance that a seed repeats: for machines without a fuzzer, and for more inputs than one makes.

/// A stretch of pseudo-random numbers that a seed repeats (splitmix64).
#[derive(Debug)]
pub struct Seeded(u64);

// === impl Seeded ===

impl Seeded {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// An input of the corpus, changed a few times.
    #[must_use]
    pub fn changed(&mut self, corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut input = corpus[self.below(corpus.len())].clone();
        for _ in 0..=self.below(4) {
            self.change(&mut input, corpus);
        }
        input
    }

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
            b"\x1e",
            b"\x1ex\x1fy",
            b"content-length\x1f1",
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
