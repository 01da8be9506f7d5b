use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(digits).collect()
}

/// Noise that is the same every time.
fn noise(seed: u64) -> impl Iterator<Item = u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
}

/// Three frames of a stream as zlib writes them with SPDY's dictionary: of an error stream, its data stream, and the next error stream.
const FRAMES: [&str; 3] = [
    "78f9e3c6a7c202253a703a2b294a4dcc851625aca9a0808614cb45e01c606160014a9f9c459068cc04256f460300000000ffff",
    "c2aa19540e2512d60b000000ffff",
    "a2c4624300000000ffff",
];

/// The squares below 60², with `;` after each, as zlib writes them without a dictionary.
const DYNAMIC: &str = "78da148ecb15003108025b8a9f35f1d17f5f3b9c4814708e42ad558cf2538d7a35ad178a73148976b3c5b158f0e487be5565e3278daf1b7dad2f57df1d0dbe412f\
    ffcbfcb15f7c3bee2518878608aac29d919447f94afbdce7bb638031c985285e9b01c23ca60813e759659d56f609c848e4f8753d7bde2ebe72a2e83734e4455f35cd3f000000ffff";

#[test]
fn each_frame_points_into_those_before_and_into_the_dictionary() {
    let mut stream = Inflater::default();
    let inflated = FRAMES.map(|frame| String::from_utf8_lossy(&stream.inflate(&bytes(frame)).unwrap()).into_owned());
    let block = |kind: &str, request: &str| {
        let length = char::from(u8::try_from(kind.len()).unwrap());
        format!("\0\0\0\x03\0\0\0\x0Astreamtype\0\0\0{length}{kind}\0\0\0\x04port\0\0\0\x048081\0\0\0\x09requestid\0\0\0\x01{request}")
    };
    assert_eq!(inflated, [block("error", "0"), block("data", "0"), block("error", "1")]);
}

#[test]
fn a_block_may_bring_codes_of_its_own() {
    let squares: String = (0..60).map(|number| format!("{};", number * number)).collect();
    assert_eq!(Inflater::default().inflate(&bytes(DYNAMIC)).unwrap(), squares.as_bytes());
}

#[test]
fn what_is_deflated_can_be_inflated() {
    let (mut there, mut here) = (Deflater::default(), Inflater::default());
    for length in [0, 1, 20_000, 40_000] {
        let data: Vec<u8> = noise(7).take(length).collect();
        assert_eq!(here.inflate(&there.deflate(&data)).unwrap(), data);
    }
    let too_long = there.deflate(&vec![0; LIMIT + 1]);
    assert_eq!(here.inflate(&too_long), Err(Broken::Headers("they are longer than 64 KiB")));
}

#[test]
fn neither_garbage_nor_a_damaged_stream_does_harm() {
    let whole: Vec<u8> = bytes(FRAMES[0]);
    for seed in 0..4_000 {
        let mut dice = noise(seed);
        // With a good head, so that the noise is taken for blocks.
        let garbage: Vec<u8> = bytes("78f9e3c6a7c2").into_iter().chain(dice.by_ref().take(200)).collect();
        let _refused_or_not = Inflater::default().inflate(&garbage);
        let mut damaged = whole.clone();
        let place = usize::from(dice.next().unwrap()) % damaged.len();
        damaged[place] ^= dice.next().unwrap() | 1;
        let _refused_or_not = Inflater::default().inflate(&damaged);
        let mut stream = Inflater::default();
        let _refused_or_not = stream.inflate(&whole[..usize::try_from(seed).unwrap() % whole.len()]);
    }
    assert!(Inflater::default().inflate(b"GET / HTTP/1.1").is_err());
    let other = bytes("78f9000000010000");
    assert_eq!(Inflater::default().inflate(&other), Err(Broken::Headers("they are compressed with another dictionary than SPDY's")));
}
