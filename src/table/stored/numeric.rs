//! PostgreSQL's binary forms of decimals, times and dates.
//!
//! `numeric` is four 16-bit integers (digits, weight of the first digit, sign, displayed decimals)
//! and the digits in base 10,000: `numeric_send` in
//! <https://github.com/postgres/postgres/blob/master/src/backend/utils/adt/numeric.c>. Times count
//! microseconds, and dates days, from the year 2000.

use super::{Fit, Misfit};

pub(super) const NUMERIC: u32 = 1700;

const POSITIVE: u16 = 0x0000;
const NEGATIVE: u16 = 0x4000;

/// From 1970 to 2000.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// The Julian day number of 2000-01-01.
const EPOCH_DAY: i64 = 2_451_545;

const FORM: Misfit = Misfit::Stored("a decimal of another form than its column declares");

pub(super) fn micros_from_store(micros: i64) -> Fit<i64> {
    if micros == i64::MIN || micros == i64::MAX {
        return Err(Misfit::Stored("an infinite time"));
    }
    micros.checked_add(EPOCH_MICROS).ok_or(Misfit::Stored("a time out of range"))
}

/// `None` for a time before those that the store holds.
pub(crate) const fn micros_to_store(micros: i64) -> Option<i64> {
    micros.checked_sub(EPOCH_MICROS)
}

pub(super) fn days_from_store(days: i32) -> Fit<i64> {
    if days == i32::MIN || days == i32::MAX {
        return Err(Misfit::Stored("an infinite date"));
    }
    Ok(i64::from(days) + EPOCH_DAY)
}

/// `None` for a date outside those that the store holds.
pub(crate) fn days_to_store(julian: i32) -> Option<i32> {
    i32::try_from(i64::from(julian) - EPOCH_DAY).ok()
}

/// A `numeric` times ten to the scale.
pub(super) fn scaled_from_store(bytes: &[u8], scale: u8) -> Fit<i64> {
    let mut words = bytes.chunks_exact(2).map(|pair| match pair {
        [high, low] => u16::from_be_bytes([*high, *low]),
        _ => 0,
    });
    let mut header = || words.next().ok_or(FORM);
    let (digits, weight, sign, _) = (header()?, header()?, header()?, header()?);
    if sign != POSITIVE && sign != NEGATIVE {
        return Err(Misfit::Stored("a decimal that is no number"));
    }
    let mut exponent = i32::from(weight.cast_signed()) * 4 + i32::from(scale);
    let mut value: i128 = 0;
    for _ in 0..digits {
        let digit = i128::from(words.next().ok_or(FORM)?);
        let power = 10_i128.checked_pow(exponent.unsigned_abs()).ok_or(Misfit::Overflow)?;
        let part = if exponent >= 0 {
            digit.checked_mul(power).ok_or(Misfit::Overflow)?
        } else if digit % power == 0 {
            digit / power
        } else {
            return Err(Misfit::Stored("a decimal with more places than its column declares"));
        };
        value = value.checked_add(part).ok_or(Misfit::Overflow)?;
        exponent -= 4;
    }
    let value = if sign == NEGATIVE { -value } else { value };
    i64::try_from(value).map_err(|_| Misfit::Overflow)
}

/// The binary form of `scaled` divided by ten to the scale.
pub(crate) fn scaled_to_store(scaled: i64, scale: u8) -> Vec<u8> {
    let groups = usize::from(scale).div_ceil(4);
    let padding = u32::try_from(groups * 4 - usize::from(scale)).unwrap_or(0);
    let mut rest = u128::from(scaled.unsigned_abs()) * 10_u128.pow(padding);
    let mut digits: Vec<u16> = Vec::new();
    while rest > 0 {
        digits.push(u16::try_from(rest % 10_000).unwrap_or(0));
        rest /= 10_000;
    }
    digits.reverse();
    // A store without digits is zero, whose weight means nothing.
    let weight = i16::try_from(digits.len()).unwrap_or(0) - i16::try_from(groups).unwrap_or(0) - 1;
    let weight = if digits.is_empty() { 0 } else { weight };
    while digits.last() == Some(&0) {
        digits.pop();
    }
    let sign = if scaled < 0 { NEGATIVE } else { POSITIVE };
    let mut bytes = Vec::with_capacity(8 + digits.len() * 2);
    let count = u16::try_from(digits.len()).unwrap_or(0);
    for word in [count, weight.cast_unsigned(), sign, u16::from(scale)].into_iter().chain(digits) {
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_come_back_at_every_scale() {
        for scale in 0..=18 {
            for scaled in [0, 1, -1, 9, 10, 9_999, 10_000, -10_001, 123_456_789, i64::MAX, i64::MIN]
            {
                let bytes = scaled_to_store(scaled, scale);
                assert_eq!(scaled_from_store(&bytes, scale), Ok(scaled), "{scaled} at {scale}");
            }
        }
    }

    #[test]
    fn a_decimal_that_would_be_altered_is_refused() {
        let tenth = scaled_to_store(1, 1);
        assert_eq!(scaled_from_store(&tenth, 1), Ok(1));
        assert!(matches!(scaled_from_store(&tenth, 0), Err(Misfit::Stored(_))));
        assert_eq!(scaled_from_store(&scaled_to_store(i64::MAX, 0), 1), Err(Misfit::Overflow));
        let not_a_number = [0, 0, 0, 0, 0xC0, 0, 0, 0];
        assert!(matches!(scaled_from_store(&not_a_number, 0), Err(Misfit::Stored(_))));
        for length in 0..scaled_to_store(10_001, 0).len() {
            let cut = &scaled_to_store(10_001, 0)[..length];
            assert!(matches!(scaled_from_store(cut, 0), Err(Misfit::Stored(_))), "{length}");
        }
    }

    #[test]
    fn times_and_dates_begin_with_the_year_2000() {
        assert_eq!(micros_to_store(946_684_800_000_000), Some(0));
        assert_eq!(micros_from_store(1), Ok(946_684_800_000_001));
        assert!(micros_from_store(i64::MAX).is_err() && micros_from_store(i64::MIN).is_err());
        assert_eq!((days_to_store(2_451_546), days_from_store(1)), (Some(1), Ok(2_451_546)));
        assert!(days_from_store(i32::MAX).is_err() && days_from_store(i32::MIN).is_err());
    }
}
