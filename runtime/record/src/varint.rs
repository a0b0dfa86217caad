//! Zigzag varints of the record format, at most 5 bytes for 32 bits and 10 for 64.

/// Takes a 32 bit zigzag varint off the front of `buf`; `None` when it is cut off or too long.
#[inline]
pub(crate) fn take_i32(buf: &mut &[u8]) -> Option<i32> {
    // One and two bytes cover every delta and length of ordinary records.
    match **buf {
        [a, ref rest @ ..] if a < 0x80 => {
            *buf = rest;
            Some(unzigzag_32(u32::from(a)))
        }
        [a, b, ref rest @ ..] if b < 0x80 => {
            *buf = rest;
            Some(unzigzag_32(u32::from(a & 0x7f) | u32::from(b) << 7))
        }
        _ => {
            let wide = take_long(buf, 5)?;
            u32::try_from(wide).ok().map(unzigzag_32)
        }
    }
}

/// Takes a 64 bit zigzag varint off the front of `buf`; `None` when it is cut off or too long.
#[inline]
pub(crate) fn take_i64(buf: &mut &[u8]) -> Option<i64> {
    match **buf {
        [a, ref rest @ ..] if a < 0x80 => {
            *buf = rest;
            Some(unzigzag_64(u64::from(a)))
        }
        [a, b, ref rest @ ..] if b < 0x80 => {
            *buf = rest;
            Some(unzigzag_64(u64::from(a & 0x7f) | u64::from(b) << 7))
        }
        [a, b, c, ref rest @ ..] if c < 0x80 => {
            *buf = rest;
            let low = u64::from(a & 0x7f) | u64::from(b & 0x7f) << 7;
            Some(unzigzag_64(low | u64::from(c) << 14))
        }
        _ => take_long(buf, 10).map(unzigzag_64),
    }
}

#[inline]
pub(crate) fn put_i32(out: &mut Vec<u8>, value: i32) {
    put(out, u64::from(((value << 1) ^ (value >> 31)) as u32));
}

#[inline]
pub(crate) fn put_i64(out: &mut Vec<u8>, value: i64) {
    put(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Bytes that `put_i32` writes.
pub(crate) fn len_i32(value: i32) -> usize {
    len(u64::from(((value << 1) ^ (value >> 31)) as u32))
}

/// Bytes that `put_i64` writes.
pub(crate) fn len_i64(value: i64) -> usize {
    len(((value << 1) ^ (value >> 63)) as u64)
}

#[cold]
fn take_long(buf: &mut &[u8], max_bytes: usize) -> Option<u64> {
    let mut value = 0u64;
    for (i, &byte) in buf.iter().take(max_bytes).enumerate() {
        let bits = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit of 64.
        if i == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * i);
        if byte < 0x80 {
            *buf = buf.get(i + 1..)?;
            return Some(value);
        }
    }
    None
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

fn unzigzag_32(value: u32) -> i32 {
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

fn unzigzag_64(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_cut_and_overlong_varints() {
        assert_eq!(take_i32(&mut &[][..]), None);
        assert_eq!(take_i32(&mut &[0x80][..]), None);
        assert_eq!(take_i32(&mut &[0xff; 6][..]), None);
        assert_eq!(take_i32(&mut &[0xff, 0xff, 0xff, 0xff, 0x10][..]), None);
        assert_eq!(
            take_i32(&mut &[0xff, 0xff, 0xff, 0xff, 0x0f][..]),
            Some(i32::MIN)
        );
        assert_eq!(take_i64(&mut &[0xff; 11][..]), None);
        let mut largest = [0xff; 10];
        largest[9] = 1;
        assert_eq!(take_i64(&mut &largest[..]), Some(i64::MIN));
        largest[9] = 2;
        assert_eq!(take_i64(&mut &largest[..]), None);
    }

    proptest! {
        #[test]
        fn round_trips(a: i32, b: i64) {
            let mut out = Vec::new();
            put_i32(&mut out, a);
            prop_assert_eq!(out.len(), len_i32(a));
            put_i64(&mut out, b);
            prop_assert_eq!(out.len(), len_i32(a) + len_i64(b));
            let mut buf = &out[..];
            prop_assert_eq!(take_i32(&mut buf), Some(a));
            prop_assert_eq!(take_i64(&mut buf), Some(b));
            prop_assert!(buf.is_empty());
        }
    }
}
