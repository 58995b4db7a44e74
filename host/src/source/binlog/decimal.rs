//! MySQL's packed DECIMAL as plain digits, as the server prints it.
//!
//! Format: `strings/decimal.cc` (`decimal2bin`): groups of nine digits in four bytes, the rest in as few as they need;
//! the first bit says the sign, negative numbers are inverted.

use super::frame::{Bytes, Short};

/// Bytes for 0 to 9 digits.
const BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];

/// Bytes of a DECIMAL(precision, scale).
pub fn size(precision: u8, scale: u8) -> usize {
    let whole = usize::from(precision.saturating_sub(scale));
    let fraction = usize::from(scale);
    whole / 9 * 4 + BYTES[whole % 9] + fraction / 9 * 4 + BYTES[fraction % 9]
}

pub fn write(out: &mut String, packed: &[u8], precision: u8, scale: u8) -> Result<(), Short> {
    let mut bytes = [0_u8; 64];
    let bytes = bytes.get_mut(..packed.len()).ok_or(Short)?;
    bytes.copy_from_slice(packed);
    let first = bytes.first_mut().ok_or(Short)?;
    let negative = *first & 0x80 == 0;
    *first ^= 0x80;
    if negative {
        bytes.iter_mut().for_each(|byte| *byte = !*byte);
    }
    let mut reader = Bytes(bytes);
    let whole = usize::from(precision.saturating_sub(scale));
    let fraction = usize::from(scale);
    let start = out.len();
    let mut zero = true;
    if negative {
        out.push('-');
    }
    let digits_from = out.len();
    let mut group = |out: &mut String, digits: usize| {
        let number = reader.be(BYTES[digits])?;
        zero &= number == 0;
        if digits > 0 {
            push_padded(out, number, digits);
        }
        Ok(())
    };
    group(out, whole % 9)?;
    for _ in 0..whole / 9 {
        group(out, 9)?;
    }
    let leading = out[digits_from..].bytes().take_while(|&digit| digit == b'0').count();
    out.replace_range(digits_from..digits_from + leading, "");
    if out.len() == digits_from {
        out.push('0');
    }
    if fraction > 0 {
        out.push('.');
        for _ in 0..fraction / 9 {
            group(out, 9)?;
        }
        group(out, fraction % 9)?;
    }
    if negative && zero {
        out.remove(start);
    }
    Ok(())
}

fn push_padded(out: &mut String, number: u64, digits: usize) {
    let mut text = [b'0'; 9];
    let mut rest = number;
    for digit in text[..digits].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend(text[..digits].iter().map(|&digit| digit as char));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(packed: &[u8], precision: u8, scale: u8) -> String {
        assert_eq!(packed.len(), size(precision, scale));
        let mut text = String::new();
        write(&mut text, packed, precision, scale).unwrap();
        text
    }

    #[test]
    fn decimals_are_written_as_the_server_prints_them() {
        // The example of MySQL's own source: 1234567890.1234 as DECIMAL(14,4).
        assert_eq!(text(&[0x81, 0x0d, 0xfb, 0x38, 0xd2, 0x04, 0xd2], 14, 4), "1234567890.1234");
        assert_eq!(text(&[0x7e, 0xf2, 0x04, 0xc7, 0x2d, 0xfb, 0x2d], 14, 4), "-1234567890.1234");
        assert_eq!(text(&[0x80, 0, 0, 0, 0], 10, 2), "0.00");
        assert_eq!(text(&[0x80, 0, 0, 0, 1], 10, 2), "0.01");
        assert_eq!(text(&[0x7f, 0xff, 0xff], 5, 0), "0");
        assert_eq!(text(&[0x80, 0, 1], 5, 0), "1");
        assert_eq!(text(&[0xbb, 0x9a, 0xc9, 0xff], 9, 9), "0.999999999");
    }
}
