//! What gRPC says in a head (gRPC over HTTP2, Requests).

use std::time::Duration;

/// How long a call may take from now on, as `grpc-timeout` says: one to eight digits, and a unit from hours to nanoseconds.
///
/// What is written otherwise is no timeout. The protocol does not say what is to be done about it, and servers differ:
/// here it sets no deadline, and the endpoint, which is sent it as it came, judges. `0n` is what clients send whose
/// deadline has passed already, so that it means no time at all.
#[must_use]
pub fn timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_timeout_is_digits_and_a_unit() {
        for (value, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("250m", Some(Duration::from_millis(250))),
            ("1000u", Some(Duration::from_millis(1))),
            ("1n", Some(Duration::from_nanos(1))),
            ("0n", Some(Duration::ZERO)),
            ("007S", Some(Duration::from_secs(7))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
        ] {
            assert_eq!(timeout(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn what_is_written_otherwise_is_no_timeout() {
        for value in ["", "S", "1", "1s", "1h", "123456789S", "-1S", "+1S", "1.5S", "1 S", " 1S", "1S ", "0x1S", "1SS"]
        {
            assert_eq!(timeout(value.as_bytes()), None, "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_timeout_or_none(value in proptest::collection::vec(any::<u8>(), 0..12)) {
            if timeout(&value).is_some() {
                let text = std::str::from_utf8(&value).expect("digits and a letter");
                let (digits, unit) = text.split_at(text.len() - 1);
                prop_assert!(digits.parse::<u32>().is_ok_and(|number| number < 100_000_000));
                prop_assert!("HMSmun".contains(unit));
            }
        }

        /// Whatever a client can say comes to the same in each unit that can say it.
        #[test]
        fn units_agree(number in 0_u64..10_000) {
            let said = |number: u64, unit| timeout(format!("{number}{unit}").as_bytes());
            for (great, small, times) in [('H', 'M', 60), ('M', 'S', 60), ('S', 'm', 1000), ('m', 'u', 1000), ('u', 'n', 1000)] {
                prop_assert_eq!(said(number, great), said(number * times, small));
            }
        }
    }
}
